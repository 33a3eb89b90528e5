"""A network for several tasks in files that load without running code.

One file holds the config as plain values and the weights as tensors, is replaced at once, and is read with
``weights_only=True``; the checksums in it tell what a disk has damaged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from agentnn.errors import ConfigError, CorruptDataError, NotFoundError, StoreUnavailable, UsageError
from agentnn.nn_models.multi_task.network import MultiTaskConfig, MultiTaskNetwork
from agentnn.nn_models.multi_task.tasks import output_places
from agentnn.training.loop.checkpoints import FORMAT, read_state, write_state

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

FILE = "multi_task_network.pt"
"""What the file is called in a run."""

_KIND = "agentnn-multi-task-1"


class MainTask(nn.Module):
    """A network for several tasks that gives the outputs of one.

    Args:
        network: Of several tasks.
        task: The name of the one.

    Raises:
        UsageError: There is no such task.
    """

    LOADER = __name__
    """The module that reads the files of one."""

    def __init__(self, network: MultiTaskNetwork, task: str) -> None:
        super().__init__()
        names = [one.name for one in network.config.tasks]
        if task not in names:
            raise UsageError(f"the network has no task {task!r}", hint=f"one of {', '.join(names)}")
        self.network = network
        self.task = task
        place = output_places(network.config.tasks)[names.index(task)]
        self._columns = (place.start, place.stop)

    def forward(self, inputs: Tensor) -> Tensor:
        """From raw features to the outputs of the task, shape (batch, outputs)."""
        start, stop = self._columns
        outputs: Tensor = self.network(inputs)[:, start:stop]
        return outputs

    def predict(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """What the network says of the task; see :meth:`MultiTaskNetwork.predict`."""
        return self.network.predict(inputs)[self.task]

    def save(self, directory: Path) -> None:
        """Write it into a directory, as it is kept in a run."""
        save_network(directory / FILE, self.network, self.task)


def save_network(path: str | Path, network: MultiTaskNetwork, main: str | None = None) -> None:
    """Write a network into a file, in the place of one that is there.

    Args:
        path: The file; its folder is made if it is not there.
        network: What to save.
        main: The task that :func:`load_main_task` gives; the first one without it.

    Raises:
        StoreUnavailable: It can't be written; one that was there is there still.
    """
    path = Path(path)
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    config = json.dumps(network.config.to_dict())
    state = {"format": FORMAT, "kind": _KIND, "config": config, "main": main or "", "weights": weights}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_state(path, state)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError when a disk is full
        raise StoreUnavailable(f"the network can't be saved as {path}: {error}") from error


def load_network(path: str | Path) -> MultiTaskNetwork:
    """Read the network that :func:`save_network` wrote, on the CPU and in evaluation mode; no code in it is ever run.

    Raises:
        NotFoundError: There is no such file.
        CorruptDataError: It is damaged, or holds something else.
        UnsafeError: It would run code.
    """
    return load_main_task(path).network


def load_main_task(path: str | Path) -> MainTask:
    """The network of :func:`load_network`, which gives the outputs of its main task."""
    path = Path(path)
    try:
        state = read_state(path, torch.device("cpu"))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no network in {path}") from error
    if state.get("kind") != _KIND:
        raise CorruptDataError(f"{path} does not hold a network for several tasks")
    try:
        network = MultiTaskNetwork(MultiTaskConfig.from_dict(json.loads(state["config"])))
        network.load_state_dict(state["weights"])
        return MainTask(network, state["main"] or network.config.tasks[0].name).eval()
    except (ConfigError, UsageError, KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CorruptDataError(f"{path} is damaged: {reason}") from error


class MainTaskModel:
    """What MLflow's pyfunc flavor loads; see :func:`_load_pyfunc`."""

    def __init__(self, model: MainTask) -> None:
        self.model = model

    def predict(self, inputs: ArrayLike, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """:meth:`MainTask.predict`; ``params`` is MLflow's and has no effect."""
        return self.model.predict(inputs)


def _load_pyfunc(data_path: str) -> MainTaskModel:
    """The loader that MLflow calls by this name, with the directory that :meth:`MainTask.save` wrote."""
    return MainTaskModel(load_main_task(Path(data_path) / FILE))
