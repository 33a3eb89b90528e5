"""What the training of several tasks came to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from agentnn.nn_models.multi_task.network import MultiTaskNetwork
    from agentnn.training.loop.history import History


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiTaskResult:
    """What came of it.

    Attributes:
        network: With the weights of the best epoch, where these are kept, in evaluation mode.
        history: The values of every epoch.
        device: Where the network is.
        run_id: The run's id in the store; ``None`` while the store has not answered, or where nothing is tracked.
        uuid: Our own id of the run; empty where nothing is tracked.
    """

    network: MultiTaskNetwork = field(repr=False)
    history: History = field(repr=False)
    device: torch.device
    run_id: str | None
    uuid: str

    @property
    def best(self) -> dict[str, float]:
        """The values of the best epoch; empty while there was none."""
        place = self.history.best_epoch - 1
        return {name: values[place] for name, values in self.history.items()} if place >= 0 else {}

    @property
    def weights(self) -> dict[str, float]:
        """What each task's loss was multiplied by at the end of the last epoch; empty while there was none."""
        names = [task.name for task in self.network.config.tasks]
        return {name: self.history[f"weight_{name}"][-1] for name in names} if self.history.epochs else {}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run_id": self.run_id,
            "uuid": self.uuid,
            "epochs": self.history.epochs,
            "best_epoch": self.history.best_epoch,
            "stopped_early": self.history.stopped_early,
            "resumed_from": self.history.resumed_from,
            "best": {name: value if math.isfinite(value) else None for name, value in self.best.items()},
            "weights": self.weights,
            "n_parameters": self.network.n_parameters,
            "tasks": [task.to_dict() for task in self.network.config.tasks],
        }
