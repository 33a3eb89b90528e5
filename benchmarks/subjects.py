"""What the benchmarks run: stores, environments and commands, so that all scripts measure the same things."""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from timing import Command, CommandFailed

HERE = Path(__file__).resolve().parent
METRIC = "sharpe_ratio"
HIDDEN = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "PYTHONSTARTUP")
HIDDEN_PREFIXES = ("MLFLOW_", "AGENTNN_", "COMP_", "_AGENTNN_")


@dataclass(frozen=True, slots=True)
class Subjects:
    """The environment to measure, and one store in it."""

    python: str
    store: Path
    cwd: str

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.store}"

    def at(self, store: Path) -> Subjects:
        """Give the same subjects on another store."""
        return replace(self, store=store)

    def agentnn(self, *arguments: str, **variables: str) -> Command:
        """Give an ``agentnn`` command, as it is installed next to the interpreter."""
        return self._command([self._executable("agentnn"), *arguments], variables)

    def mlflow(self, *arguments: str) -> Command:
        """Give a command of MLflow's own command line."""
        return self._command([self._executable("mlflow"), *arguments], {})

    def script(self, name: str, *arguments: str) -> Command:
        """Give one of the scripts of this folder."""
        return self._command([self.python, str(HERE / name), *arguments], {})

    def floor(self) -> Command:
        """Give the floor program, asking for the best run."""
        return self.script("floor.py", str(self.store), "--metric", METRIC)

    def peer_best(self) -> Command:
        """Give the script that asks ``MlflowClient`` for the best run."""
        return self.script("peer_best.py", METRIC)

    def _executable(self, name: str) -> str:
        # Not resolved: in a virtual environment the interpreter is a link to one that has no such neighbour.
        path = Path(self.python).absolute().parent / name
        if not path.exists():
            raise SystemExit(f"error: {path} is not there\nhint: pass --python of an environment that has it")
        return str(path)

    def _command(self, argv: list[str], variables: dict[str, str]) -> Command:
        return Command(argv, {**clean_environment(), "MLFLOW_TRACKING_URI": self.uri, **variables}, self.cwd)


def clean_environment() -> dict[str, str]:
    """Give an environment in which Python may keep compiled files and no setting of the caller's has a say.

    MLflow's telemetry is off, which makes the peer a little faster.
    """
    kept = {
        key: value for key, value in os.environ.items() if key not in HIDDEN and not key.startswith(HIDDEN_PREFIXES)
    }
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true"}


def store_of(runs: int, *, analysed: bool = True, points: int = 0) -> Path:
    """Return a store with so many runs, and so many earlier points of each curve, made first if need be.

    Another process makes it: memory that this one takes would show in the peaks of the commands it measures.
    """
    argv = [sys.executable, str(HERE / "make_store.py"), "--runs", str(runs), "--points", str(points)]
    made = subprocess.run([*argv, "--analysed"] if analysed else argv, check=True, stdout=subprocess.PIPE, text=True)
    return Path(made.stdout.strip())


def output_of(command: Command) -> str:
    """Run a command once, unmeasured, and return what it prints, to see that both sides answer the question.

    Raises:
        CommandFailed: It exited with another code than 0.
    """
    done = subprocess.run(
        command.argv, env=dict(command.env), cwd=command.cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandFailed(f"exit code {done.returncode}: {' '.join(command.argv)}\n{done.stderr[-2000:]}")
    return done.stdout


def same(question: str, own: object, peer: object) -> None:
    """Stop when the two sides do not answer the same: a fast wrong answer is no figure."""
    if own != peer:
        raise SystemExit(f"error: {question}: ours is {own!r}, theirs is {peer!r}")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Give a parser with the options that all scripts share."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "--python",
        default=sys.executable,
        help="interpreter of the environment where agentnn is installed (see install_wheel.py)",
    )
    result.add_argument("--rounds", type=int, default=7, help="pairs against a slow peer")
    return result


def subjects(python: str, store: Path) -> Subjects:
    """Give the subjects, to be run in an empty directory, where no ``.env`` or ``mlruns`` is found."""
    empty = tempfile.mkdtemp(prefix="agentnn-bench-")
    atexit.register(shutil.rmtree, empty, ignore_errors=True)
    return Subjects(python, store, empty)
