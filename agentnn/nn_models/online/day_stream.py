"""Days as a stream, with labels that come late: a label takes part in no prediction before it is known."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agentnn.nn_models.online_learning import OnlineLearner
    from agentnn.training.data.datasets import Part


class _Awaited(NamedTuple):
    """A label that is not known before a day."""

    day: int
    ticket: int
    label: NDArray[np.generic]


class DayStream:
    """Gives a learner one day after the other, and each label on the day on which it is known.

    On each day the labels that are known by then are learnt first, and then the day is predicted.

    Args:
        learner: What predicts and learns; without a thread of its own.
        delay: Days from a sample to its label; at least one, since a day is predicted before it is learnt.
    """

    def __init__(self, learner: OnlineLearner, delay: int) -> None:
        self._learner, self._delay = learner, max(1, delay)
        self._day = 0
        self._awaited: deque[_Awaited] = deque()

    def pass_over(self, days: int) -> None:
        """Let days go by that nobody looks at."""
        self._day += days

    def predict(self, part: Part) -> NDArray[np.float32]:
        """The learner's outputs for the next days, each one before its label is learnt; shape (n, outputs)."""
        outputs = []
        for inputs, label in zip(part.inputs, part.targets, strict=True):
            self._learn_what_is_known()
            ticket, output = self._learner.observe(inputs)
            assert ticket is not None  # its queue is worked off at once
            self._awaited.append(_Awaited(self._day + self._delay, ticket, label))
            outputs.append(output)
            self._day += 1
        if not outputs:
            return np.empty((0, 1), np.float32)
        found: NDArray[np.float32] = torch.stack(outputs).float().cpu().numpy().reshape(len(outputs), -1)
        return found

    def _learn_what_is_known(self) -> None:
        while self._awaited and self._awaited[0].day <= self._day:
            awaited = self._awaited.popleft()
            self._learner.learn(awaited.ticket, awaited.label)
