"""Build the wheel and install it, compiled, in a fresh environment; print that environment's interpreter.

An editable checkout is slower to import from than an installed wheel, so that is not what a user waits for.

    PYTHON=$(python benchmarks/install_wheel.py)
    python benchmarks/run_all.py --small --python "$PYTHON"
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
SOURCES = ("agentnn", "pyproject.toml", "README.md", "LICENSE")


def run(*argv: str | Path) -> None:
    """Run a step; what it says goes to standard error, since the last line of ours is for a script."""
    # Without PYTHONDONTWRITEBYTECODE, or the compiled files that are timed would be missing.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([str(part) for part in argv], check=True, stdout=sys.stderr, env=env)


def build_wheel(python: Path, folder: Path) -> Path:
    """Build from a copy: a ``build`` folder left in the checkout could put deleted modules into the wheel."""
    copy = folder / "source"
    copy.mkdir()
    for name in SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy / name)
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, copy)
    return next(folder.glob("agentnn-*.whl"))


def install(environment: Path, constraints: Path) -> Path:
    """Make the environment anew and return its interpreter."""
    run(sys.executable, "-m", "venv", "--clear", environment)
    python = environment / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="agentnn-wheel-") as folder:
        wheel = build_wheel(python, Path(folder))
        pinned = ["-c", constraints] if constraints.exists() else []
        # The old reader of TOML is a peer; databases are read through drivers.
        run(python, "-m", "pip", "install", "--quiet", *pinned, wheel, "toml", "psycopg[binary]", "pymysql")
    libraries = environment / "lib"
    # Unchecked: some packages ship files that are no Python 3, and compileall then ends with 1.
    argv = [str(python), "-m", "compileall", "-q", "-q", str(libraries)]
    subprocess.run(argv, check=False, stdout=sys.stderr)
    return python


def main() -> None:
    """Build, install, compile."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--environment", type=Path, default=HERE / ".data" / "venv")
    parser.add_argument("--constraints", type=Path, default=PROJECT / "constraints.txt")
    options = parser.parse_args()
    options.environment.parent.mkdir(exist_ok=True)
    print(install(options.environment.absolute(), options.constraints))


if __name__ == "__main__":
    main()
