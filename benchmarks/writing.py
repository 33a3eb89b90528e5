"""What the writing benchmarks share: a folder for each measurement, its environment, and the process that measures.

A subject runs in a process of its own, in a folder of its own with a copy of the same store, and prints JSON. The
folders lie beside the data sets, on a disk, since a temporary directory may be memory, where a commit costs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import subjects as given
from trackers import STORE, TRACKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATA = given.HERE / ".data"
PEERS = DATA / "peers" / "bin" / "python"
TIME_LIMIT_S = 600
T = TypeVar("T")


def parser(description: str | None, *, trackers: Sequence[str] = tuple(TRACKERS)) -> argparse.ArgumentParser:
    """Give a parser with the options that the writing scripts share."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument(
        "--python",
        default=str(PEERS),
        help="interpreter of the environment where agentnn and its peers are installed (see install_peers.py)",
    )
    result.add_argument("--rounds", type=int, default=3, help="how often each tracker is measured")
    result.add_argument("--runs", type=int, default=1000, help="runs that the store holds before")
    if trackers:
        result.add_argument("--trackers", nargs="+", choices=list(TRACKERS), default=list(trackers), metavar="NAME")
    return result


def turns(subjects: Sequence[T], rounds: int) -> Iterator[list[T]]:
    """Give the subjects once a round, each time in the other direction: the speed of a shared machine drifts."""
    for turn in range(rounds):
        yield list(subjects) if turn % 2 == 0 else list(reversed(subjects))


def measured(
    options: argparse.Namespace, script: str, *arguments: object, kept_by: str = "", times: int = 1
) -> dict[str, Any]:
    """Run a script of this folder in a fresh folder with a fresh copy of a store; give the JSON that it prints.

    Args:
        options: Name the interpreter and the size of the store.
        script: The script.
        arguments: Its arguments.
        kept_by: A tracker; it is then an error when it did not keep as many values as the script ``logged``.
        times: How often the script is run in that folder; the last one counts.
    """
    if not Path(options.python).exists():
        raise SystemExit(f"error: there is no {options.python}\nhint: python benchmarks/install_peers.py")
    with workplace() as folder:
        shutil.copy(store_of(options.runs), folder / STORE)
        found: dict[str, Any] = [said(folder, options.python, script, *arguments) for _ in range(times)][-1]
        if kept_by:
            kept = said(folder, options.python, "kept.py", kept_by)
            given.same(f"{kept_by}: values kept and logged", kept, found["logged"])
    return found


@cache
def store_of(runs: int) -> Path:
    """Return a store with so many runs, as users have it."""
    return given.store_of(runs, analysed=False)


def said(folder: Path, python: str, script: str, *arguments: object) -> Any:
    """Run a script of this folder in another one and read the last line that it prints as JSON."""
    argv = [python, str(given.HERE / script), *map(str, arguments)]
    done = subprocess.run(
        argv,
        env=environment(folder),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"error: exit code {done.returncode}: {' '.join(argv)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def workplace() -> Iterator[Path]:
    """Give an empty folder; afterwards it is removed, and a sender of agentnn that still waits in it is told to go."""
    DATA.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="write-", dir=DATA))
    try:
        yield folder
    finally:
        for status in folder.glob("state/*/sender.json"):
            dismiss(int(json.loads(status.read_text())["pid"]))
        shutil.rmtree(folder, ignore_errors=True)


def dismiss(pid: int) -> None:
    """End a sender, if the process of this number is one, and wait until it is gone."""
    signals = [signal.SIGTERM, *[None] * 50, signal.SIGKILL, *[None] * 10]
    for number in signals:
        with suppress(OSError):
            if b"agentnn.tracking.sending.sender" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                return
            if number:
                os.kill(pid, number)
        time.sleep(0.1)


def environment(folder: Path) -> dict[str, str]:
    """Give an environment in which every tracker keeps to a folder and to itself."""
    return {
        **given.clean_environment(),
        "HOME": str(folder),
        "AGENTNN_STATE_DIR": str(folder / "state"),
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }


def duration(value: float) -> str:
    """Write seconds with three figures, in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a title and a Markdown table."""
    print(f"\n### {title}\n")
    for cells in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(cells)} |", flush=True)
