"""The trackers that the writing benchmarks compare: how each starts a run and logs.

Every one is used as its documentation shows, with its defaults. ``writing.environment`` keeps them off the network and
inside one folder.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Log = Callable[[dict[str, float], int], object]

PROJECT = "writing"
FLUSH_S = 300.0
PREFIX = "value_"
STORE = "mlflow.db"


def nothing() -> None:
    """Do nothing: there is nothing to wait for, or no way to."""


@dataclass(frozen=True, slots=True)
class Session:
    """A run that is open.

    Attributes:
        log: Logs values at a step.
        flush: Waits until what was logged has arrived, where the tracker offers that.
    """

    log: Log
    flush: Callable[[], object] = nothing


@dataclass(frozen=True, slots=True)
class Tracker:
    """A tracker.

    Attributes:
        label: What it is called in a table.
        module: What is imported to use it.
        start: Starts a run that is kept in a folder; leaving the context ends it.
    """

    label: str
    module: str
    start: Callable[[Path], AbstractContextManager[Session]]

    def load(self) -> None:
        """Import it."""
        importlib.import_module(self.module)


def keys(count: int) -> list[str]:
    """Give the names of so many metrics."""
    return [f"{PREFIX}{number}" for number in range(count)]


@contextmanager
def start_agentnn(folder: Path) -> Iterator[Session]:
    """Log into the journal; a sender process delivers to the SQLite store."""
    import agentnn

    with agentnn.start_run("run", experiment=PROJECT, tracking_uri=f"sqlite:///{folder / STORE}") as run:
        yield Session(run.log_metrics, lambda: delivered(run))


def delivered(run: Any) -> None:
    """Wait until the sender has delivered everything; a run that ends waits by itself."""
    if not run.flush(FLUSH_S):
        raise SystemExit(f"error: agentnn has not delivered everything within {FLUSH_S:g} s")


@contextmanager
def start_mlflow(folder: Path) -> Iterator[Session]:
    """Log into the SQLite store, call by call."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / STORE}")
    mlflow.set_experiment(PROJECT)
    with mlflow.start_run():
        yield Session(mlflow.log_metrics)


@contextmanager
def start_wandb(folder: Path) -> Iterator[Session]:
    """Log into an offline run, which wandb's own process writes."""
    import wandb

    with wandb.init(project=PROJECT, dir=str(folder)) as run:
        yield Session(run.log)


@contextmanager
def start_aim(folder: Path) -> Iterator[Session]:
    """Log into an Aim repository."""
    import aim

    run = aim.Run(repo=str(folder), experiment=PROJECT)

    def log(values: dict[str, float], step: int) -> None:
        run.track(values, step=step)

    yield Session(log)
    run.close()


@contextmanager
def start_trackio(_: Path) -> Iterator[Session]:
    """Log into Trackio's SQLite file, which a thread writes."""
    import trackio

    trackio.init(project=PROJECT)
    yield Session(trackio.log)
    trackio.finish()


@contextmanager
def start_tensorboard(folder: Path) -> Iterator[Session]:
    """Log into an event file with PyTorch's writer."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "events")) as writer:
        yield Session(scalars_of(writer.add_scalar), writer.flush)


@contextmanager
def start_tensorboardx(folder: Path) -> Iterator[Session]:
    """Log into an event file with tensorboardX."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "events")) as writer:
        yield Session(scalars_of(writer.add_scalar), writer.flush)


def scalars_of(add_scalar: Callable[[str, float, int], object]) -> Log:
    """Log several values with a function that takes one: ``add_scalars`` would open a file for each."""

    def log(values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            add_scalar(key, value, step)

    return log


TRACKERS = {
    "agentnn": Tracker("agentnn", "agentnn", start_agentnn),
    "mlflow": Tracker("MLflow, SQLite", "mlflow", start_mlflow),
    "wandb": Tracker("wandb, offline", "wandb", start_wandb),
    "aim": Tracker("Aim", "aim", start_aim),
    "trackio": Tracker("Trackio", "trackio", start_trackio),
    "tensorboard": Tracker("TensorBoard, torch", "torch.utils.tensorboard", start_tensorboard),
    "tensorboardx": Tracker("tensorboardX", "tensorboardX", start_tensorboardx),
}
