"""Log into the files of one run, in one of several ways, and print the nanoseconds of every call, as JSON.

    python benchmarks/peer_toml_write.py agentnn 500 10 0

The arguments: the way, the calls, the metrics of a call, and how many calls were made before, which makes a history.
Where a package is not installed, its name is printed. ``bench_toml_write.py`` runs this in a folder of its own.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackers import PROJECT, TRACKERS, Session, keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from trackers import Log

WARM_UP = 20


@contextmanager
def start_directory(folder: Path, *, with_steps: bool = True) -> Iterator[Session]:
    """Log into a run's files, and nothing else."""
    from agentnn.stores.toml.runs.run_directory import RunDirectory

    run = RunDirectory.create(folder, PROJECT, "run", {"lr": 0.001})
    yield Session(lambda values, step: run.add_metrics(values, step=step if with_steps else None))


@contextmanager
def start_mlrun(folder: Path) -> Iterator[Session]:
    """Log as users do, with wandb left out."""
    os.environ["WANDB_MODE"] = "disabled"
    from agentnn import MLRun

    with MLRun.create({"lr": 0.001}, folder, PROJECT) as run:
        yield Session(run.add_metrics)


@contextmanager
def start_naive(folder: Path) -> Iterator[Session]:
    """Write the whole file in place, as a loop by hand does; no step is kept."""
    import toml

    path, metrics = folder / "metrics.toml", {}

    def log(values: dict[str, float], _: int) -> None:
        metrics.update(values)
        with path.open("w") as file:
            toml.dump(metrics, file)

    yield Session(log)


@contextmanager
def start_atomic(folder: Path, *, sync: bool) -> Iterator[Session]:
    """Write a new file and rename it; waiting for the disk shows what that costs here, whoever does it."""
    import toml

    path, new, metrics = folder / "metrics.toml", folder / "metrics.new", {}
    directory = os.open(folder, os.O_RDONLY)

    def log(values: dict[str, float], _: int) -> None:
        metrics.update(values)
        with new.open("w") as file:
            toml.dump(metrics, file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
        if sync:
            os.fsync(directory)

    yield Session(log)
    os.close(directory)


WAYS: dict[str, Callable[[Path], AbstractContextManager[Session]]] = {
    "agentnn": start_directory,
    "final": lambda folder: start_directory(folder, with_steps=False),
    "mlrun": start_mlrun,
    "naive": start_naive,
    "atomic": lambda folder: start_atomic(folder, sync=False),
    "synced": lambda folder: start_atomic(folder, sync=True),
    "wandb": TRACKERS["wandb"].start,
    "mlflow": TRACKERS["mlflow"].start,
}


def measure(log: Log, calls: int, metrics: int, before: int) -> list[int]:
    """Make the calls one after the other; those before and those of the warm-up are left out."""
    values = random.Random(0)
    names = keys(metrics)
    times = []
    for step in range(before + WARM_UP + calls):
        given: dict[str, Any] = {name: values.random() for name in names}
        began = time.perf_counter_ns()
        log(given, step)
        times.append(time.perf_counter_ns() - began)
    return times[-calls:]


def main() -> None:
    """Measure one way; its own messages go to standard error."""
    way, calls, metrics, before = sys.argv[1], *map(int, sys.argv[2:5])
    with redirect_stdout(sys.stderr):
        try:
            with WAYS[way](Path.cwd()) as session:
                found: dict[str, Any] = {"times": measure(session.log, calls, metrics, before)}
        except ModuleNotFoundError as error:
            found = {"missing": error.name}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
