"""Make an environment and install into it: with uv, which takes half of pip's time or less, or else with pip.

    python .ci/install.py ENVIRONMENT WHAT...        WHAT as for pip install

pip's configuration says where packages come from, for uv too; where it says what uv can't be told, pip does it all. uv
is the one beside this interpreter, or the one that pip installs into the environment.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

UV = "uv>=0.5,<1"

SECTIONS = ("global", "install", ":env:")
"""Of pip's configuration, the later ones over the earlier."""

VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
OPTIONS = {"find-links": "--find-links", "trusted-host": "--allow-insecure-host"}
MEANINGLESS = frozenset({
    "cache-dir", "compile", "disable-pip-version-check", "exists-action", "log", "no-cache-dir", "no-color",
    "no-compile", "no-input", "no-python-version-warning", "progress-bar", "quiet", "require-virtualenv", "retries",
    "root-user-action", "verbose",
})  # fmt: skip
"""Settings of pip that change nothing in what is installed."""


class CannotSay(Exception):
    """uv has no word for a setting of pip's."""


class Installer(NamedTuple):
    """uv, as this machine's pip would be.

    Attributes:
        program: Its path.
        options: What it is told with every installation.
        environ: The environment it runs in.
    """

    program: Path
    options: tuple[str, ...]
    environ: dict[str, str]


def pip_settings(python: Path) -> dict[str, str]:
    """The settings that hold for ``pip install``, from its files and the environment."""
    argv = [str(python), "-m", "pip", "config", "list"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    by_section: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in by_section:
            by_section[section][key] = str(ast.literal_eval(value))
    return {key: value for section in SECTIONS for key, value in by_section[section].items()}


def as_uv(program: Path, settings: dict[str, str]) -> Installer:
    """uv with what pip is told.

    Raises:
        CannotSay: pip is told what uv can't be.
    """
    # pip takes the newest version from whatever index has it; uv must be told to.
    options, environ = ["--index-strategy", "unsafe-best-match"], dict(os.environ)
    for key, value in settings.items():
        if key in VARIABLES:
            environ[VARIABLES[key]] = " ".join(value.split())
        elif key in OPTIONS:
            options += [part for one in value.split() for part in (OPTIONS[key], one)]
        elif key == "no-index":
            options += ["--no-index"] * (value.lower() in ("1", "true", "yes", "on"))
        elif key not in MEANINGLESS:
            raise CannotSay(f"pip is told {key}")
    return Installer(program, tuple(options), environ)


def find_uv(environment: Path) -> Installer:
    """uv, installed by pip if need be.

    Raises:
        CannotSay: See :func:`as_uv`.
        subprocess.CalledProcessError: No package index has it.
    """
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return as_uv(beside, pip_settings(Path(sys.executable)))
    python = environment / "bin" / "python"
    make_environment(environment)
    run(str(python), "-m", "pip", "install", "--quiet", "--no-compile", UV)
    return as_uv(environment / "bin" / "uv", pip_settings(python))


def make_environment(environment: Path) -> None:
    """An environment with pip in it."""
    run(sys.executable, "-m", "venv", str(environment))


def run(*argv: str, environ: dict[str, str] | None = None) -> None:
    """A step; what goes wrong is on standard error."""
    subprocess.run(argv, check=True, env=environ)


def install(environment: Path, what: list[str]) -> None:
    """Make the environment if need be, and install.

    Raises:
        subprocess.CalledProcessError: pip can't do it either.
    """
    python = environment / "bin" / "python"
    try:
        uv = find_uv(environment)
        if not python.exists():
            run(str(uv.program), "venv", "--quiet", "--python", sys.executable, str(environment))
        run(
            str(uv.program), "pip", "install", "--quiet", "--python", str(python), *uv.options, *what,
            environ=uv.environ,
        )  # fmt: skip
    except (CannotSay, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"not by uv ({error}), so by pip\n")
        make_environment(environment)
        # Nothing is compiled that nobody imports: that is half of the time.
        run(str(python), "-m", "pip", "install", "--quiet", "--no-compile", *what)


def main() -> int:
    """Install; the exit code."""
    environment, *what = sys.argv[1:]
    try:
        install(Path(environment).absolute(), what)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{environment} could not be made: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
