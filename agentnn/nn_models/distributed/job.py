"""The folder by which the process that owns a run and the workers that train for it talk.

::

    <folder>/
    ├── job.json             the network's shape, the loss, and the sections of the configuration that the workers need
    ├── X_train.npy, …       the samples, which all workers map into their memory
    ├── told.jsonl           what the first worker tells: the values of each epoch, and notes
    ├── failure-<rank>.json  why a worker failed
    └── result.pt            the trained weights and the history
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agentnn import errors
from agentnn.errors import AgentNNError, TrainingError
from agentnn.nn_models.distributed.failures import Failure, WorkerLost
from agentnn.training.data.prices import Standardisation
from agentnn.training.loop.checkpoints import FORMAT, read_state, write_state
from agentnn.training.loop.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_ARRAYS = ("X_train", "y_train", "X_val", "y_val")
_STANDARDISATION = ("mean", "scale")
_PLAIN = ("config", "network", "loss", "checkpoint_dir", "log_every", "resume")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What the workers are to train.

    Attributes:
        config: The sections ``model``, ``training`` and ``distributed`` of the configuration, as far as they are set.
        network: The shape of the network, as JSON.
        loss: The name of the loss.
        samples: Inputs and targets to learn from, inputs and targets to choose by.
        standardisation: Of the features, which becomes part of the network.
        checkpoint_dir: Where checkpoints are kept; none are without it.
        log_every: Log every so many epochs.
        resume: Whether to go on from the last one.
    """

    config: dict[str, Any]
    network: dict[str, Any]
    loss: str
    samples: tuple[NDArray[Any], ...]
    standardisation: Standardisation | None
    checkpoint_dir: str | None
    log_every: int
    resume: bool


class Job:
    """The folder, as either side sees it.

    Args:
        folder: It is there, and private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told = folder / "told.jsonl"
        self._result = folder / "result.pt"
        self._read = 0

    # --- the owner of the run

    def give(self, task: Task) -> None:
        """Write what is to be trained."""
        for name, array in zip(_ARRAYS, task.samples, strict=True):
            np.save(self.folder / f"{name}.npy", array, allow_pickle=False)
        if task.standardisation is not None:
            for name in _STANDARDISATION:
                np.save(self.folder / f"{name}.npy", getattr(task.standardisation, name), allow_pickle=False)
        plain = {name: getattr(task, name) for name in _PLAIN}
        (self.folder / "job.json").write_text(json.dumps(plain), encoding="utf-8")
        self._told.touch()

    def told(self) -> Iterator[dict[str, Any]]:
        """What the first worker has told since the last time."""
        with self._told.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)

    def result(self) -> tuple[dict[str, torch.Tensor], History]:
        """The trained weights, and the values of every epoch.

        Raises:
            AgentNNError: The workers failed, and would fail again; the error of the one that was first.
        """
        failures = self.failures()
        if not self._result.exists():
            raise error_of(failures[0]) if failures else TrainingError("the workers ended without a result")
        state = read_state(self._result, torch.device("cpu"))
        history = History(state["history"])
        history.best_epoch, history.best_value = state["best"]["epoch"], state["best"]["value"]
        history.stopped_early, history.resumed_from = state["stopped_early"], state["resumed_from"]
        return state["weights"], history

    def failures(self) -> list[Failure]:
        """Why workers failed: first what says more than that another one was gone."""
        found = [Failure.from_json(path.read_text("utf-8")) for path in sorted(self.folder.glob("failure-*.json"))]
        return sorted(found, key=lambda one: (not one.is_lasting, one.kind == WorkerLost.__name__))

    # --- the workers

    def task(self) -> Task:
        """What is to be trained; the samples are mapped, and can't be written."""
        plain = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        samples = tuple(np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS)
        standardisation = None
        if (self.folder / "mean.npy").exists():
            mean, scale = (np.load(self.folder / f"{name}.npy", allow_pickle=False) for name in _STANDARDISATION)
            standardisation = Standardisation(mean, scale)
        return Task(samples=samples, standardisation=standardisation, **plain)

    def tell(self, **fact: Any) -> None:
        """Tell the owner of the run something."""
        with self._told.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fact) + "\n")

    def finish(self, weights: Mapping[str, torch.Tensor], history: History) -> None:
        """Hand over what was trained."""
        state = {
            "format": FORMAT,
            "weights": {name: value.cpu() for name, value in weights.items()},
            "history": {name: list(values) for name, values in history.items()},
            "best": {"epoch": history.best_epoch, "value": history.best_value},
            "stopped_early": history.stopped_early,
            "resumed_from": history.resumed_from,
        }
        write_state(self._result, state)

    def begin(self, rank: int) -> None:
        """Forget why this worker failed before."""
        self._failure(rank).unlink(missing_ok=True)

    def fail(self, failure: Failure, rank: int) -> None:
        """Say why a worker fails."""
        self._failure(rank).write_text(json.dumps(failure), encoding="utf-8")

    def _failure(self, rank: int) -> Path:
        return self.folder / f"failure-{rank}.json"


def error_of(failure: Failure) -> AgentNNError:
    """The error that a worker failed by: one of ours as it was, and anything else as one of training."""
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, AgentNNError):
        return kind(failure.text, hint=failure.hint)
    return TrainingError(f"worker {failure.rank} failed: {failure.text}", hint=failure.hint)
