"""What a training came to, epoch by epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_METRICS = ("train_loss", "val_loss", "learning_rate", "epoch_seconds")
"""What every epoch has a value of."""


class History(dict[str, list[float]]):
    """Values by name of the metric, one an epoch: :data:`OWN_METRICS`, and those of ``metrics``.

    Attributes:
        best_epoch: The epoch with the best value of what is monitored, from 1; 0 while no value was finite.
        best_value: That value.
        stopped_early: Whether patience ran out.
        resumed_from: The epoch of the checkpoint that training went on from; ``None`` for a start from the beginning.
    """

    best_epoch: int = 0
    best_value: float = math.nan
    stopped_early: bool = False
    resumed_from: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self["train_loss"])

    def at_best(self) -> dict[str, float]:
        """The values of the best epoch; NaN where there is none."""
        return {name: values[self.best_epoch - 1] if self.best_epoch else math.nan for name, values in self.items()}

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of an epoch."""
        for name, value in values.items():
            self[name].append(value)
