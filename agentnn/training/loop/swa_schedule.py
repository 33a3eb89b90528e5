"""The learning rate of a training whose last epochs are averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from agentnn.training.loop.optimisation import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.optim import Optimizer


class SwaSchedule(Schedule):
    """A schedule until some epoch, and from then on a learning rate that stays (Izmailov et al. 2018).

    It goes from where the schedule has left it to that rate along half a cosine, epoch by epoch, as torch's ``SWALR``
    does.

    Args:
        before: The schedule until then.
        optimizer: What is scheduled.
        rates: What the learning rate comes to, one for each group.
        after: Epochs until then.
        anneal_epochs: Epochs that it takes to get there; 0 for at once.
    """

    def __init__(
        self, before: Schedule, optimizer: Optimizer, rates: Sequence[float], after: int, anneal_epochs: int
    ) -> None:
        super().__init__()
        self._before, self._optimizer, self._rates = before, optimizer, list(rates)
        self._after, self._anneal_epochs = after, anneal_epochs
        self._epochs = 0
        self._left: list[float] = []
        self._anneal()

    def after_step(self) -> None:
        """Go on after a step of the optimizer."""
        if self._epochs < self._after:
            self._before.after_step()

    def after_epoch(self, monitored: float) -> None:
        """Go on after an epoch."""
        self._epochs += 1
        if self._epochs < self._after:
            self._before.after_epoch(monitored)
        self._anneal()

    def _anneal(self) -> None:
        """Set the learning rate of the next epoch, if it is no longer the schedule's."""
        passed = self._epochs - self._after
        if passed < 0:
            return
        groups = self._optimizer.param_groups
        if passed == 0:
            self._left = [float(group["lr"]) for group in groups]
        time = min(1.0, (passed + 1) / max(1, self._anneal_epochs))
        share = (1 - math.cos(math.pi * time)) / 2
        for group, left, rate in zip(groups, self._left, self._rates, strict=True):
            wanted = share * rate + (1 - share) * left
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(wanted)
            else:
                group["lr"] = wanted

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return {"before": self._before.state_dict(), "epochs": self._epochs, "left": list(self._left)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the rates themselves are in the state of the optimizer.

        Raises:
            KeyError: It is the state of another kind of schedule.
        """
        self._before.load_state_dict(state["before"])
        self._epochs, self._left = state["epochs"], list(state["left"])
