"""Prequential evaluation: each sample judges the model first, and is learned from afterwards."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Prequential:
    """The error of a model on a stream, in three views: over all of it, with a fading factor, and over a window.

    With errors ``e_1 … e_n``: the plain one is their mean; the faded one is ``S_n / B_n`` with
    ``S_n = e_n + a * S_{n-1}`` and ``B_n = 1 + a * B_{n-1}``; the windowed one the mean of the last few.

    J. Gama, R. Sebastião and P. P. Rodrigues, *On evaluating stream learning algorithms*, Machine Learning 90, 2013,
    https://doi.org/10.1007/s10994-012-5320-9.

    Args:
        fading: The factor ``a``, above 0 and at most 1; ``1 / (1 - a)`` errors count about half.
        window: Errors of the window.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(self, fading: float = 0.999, window: int = 1000) -> None:
        if not 0 < fading <= 1 or window < 1:
            raise UsageError(f"a fading factor is above 0 and at most 1, a window at least 1, not {fading}, {window}")
        self.fading = fading
        self.count = 0
        self._total = self._faded = self._weight = 0.0
        self._window: deque[float] = deque(maxlen=window)

    def update(self, errors: Sequence[float]) -> None:
        """Take the errors of the next samples, in their order."""
        total, faded, weight, fading = self._total, self._faded, self._weight, self.fading
        for error in errors:
            total += error
            faded = error + fading * faded
            weight = 1.0 + fading * weight
        self._total, self._faded, self._weight = total, faded, weight
        self.count += len(errors)
        self._window.extend(errors)

    @property
    def mean(self) -> float:
        """Over all samples; NaN before the first."""
        return self._total / self.count if self.count else math.nan

    @property
    def faded(self) -> float:
        """With the fading factor; NaN before the first."""
        return self._faded / self._weight if self.count else math.nan

    @property
    def windowed(self) -> float:
        """Over the last samples; NaN before the first."""
        return math.fsum(self._window) / len(self._window) if self._window else math.nan

    def values(self, name: str) -> dict[str, float]:
        """The three, by the names that the run gets them under."""
        return {
            f"prequential_{name}": self.mean,
            f"prequential_{name}_faded": self.faded,
            f"prequential_{name}_windowed": self.windowed,
        }

    def state(self) -> dict[str, Any]:
        """All that it remembers, as plain values."""
        return {
            "count": self.count,
            "total": self._total,
            "faded": self._faded,
            "weight": self._weight,
            "window": list(self._window),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self.count, self._total = state["count"], state["total"]
        self._faded, self._weight = state["faded"], state["weight"]
        self._window.clear()
        self._window.extend(state["window"])
