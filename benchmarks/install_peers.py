"""Install the peers of the writing benchmarks, and agentnn's wheel beside them; print that environment's interpreter.

All subjects share one environment, so that they run on the same interpreter with the same versions of what they have
in common. The versions are those of ``constraints.txt``, but for those that ``peers.txt`` names. Run it again after a
change in agentnn: only the wheel is then installed anew.

    python benchmarks/install_peers.py
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from install_wheel import HERE, PROJECT, build_wheel, run

PEERS = HERE / "peers.txt"


def install(environment: Path) -> Path:
    """Make the environment if need be, bring it up to date, compile it, and return its interpreter."""
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="agentnn-peers-") as name:
        folder = Path(name)
        wheel = build_wheel(python, folder)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(remaining_constraints()))
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
        run(*pip, "-c", constraints, "-r", PEERS, wheel)
        # The version of a wheel does not change with every change in its code, so that pip has to be told.
        run(*pip, "--no-deps", "--force-reinstall", wheel)
    # Unchecked: some packages ship files that are no Python 3, and compileall then ends with 1.
    subprocess.run([python, "-m", "compileall", "-q", "-q", environment / "lib"], check=False, stdout=sys.stderr)
    return python


def remaining_constraints() -> list[str]:
    """Give the lines of ``constraints.txt`` for packages that ``peers.txt`` does not name."""
    named = {package(line) for line in PEERS.read_text().splitlines()}
    return [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if package(line) not in named]


def package(line: str) -> str:
    """Give the package that a line of a requirements file is about, in its normalised form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", line.partition("==")[0]).strip().lower()


def main() -> None:
    """Install, and print the interpreter."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--environment", type=Path, default=HERE / ".data" / "peers")
    options = parser.parse_args()
    options.environment.parent.mkdir(exist_ok=True)
    print(install(options.environment.absolute()))


if __name__ == "__main__":
    main()
