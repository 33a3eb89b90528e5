"""ADWIN: a window over a sequence that shrinks by itself when the mean within it changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.nn_models.online.change import Change

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATE = ("_levels", "_width", "_total", "_spread", "_least", "_most", "_ticks")


class Adwin:
    """Keeps the longest window whose older and newer parts, cut anywhere, have the same mean as far as can be told.

    The window is an exponential histogram: level ``k`` holds up to ``most_buckets`` buckets of ``2**k`` values each, so
    that ``n`` values take the memory of ``O(log n)`` buckets. A cut into parts of ``n0`` and ``n1`` values with means
    that differ by more than ::

        sqrt(2 / m * v * L) + 2 / (3 * m) * r * L    with 1/m = 1/n0 + 1/n1, L = ln(2 * ln(n) / delta)

    shows a change, and the oldest buckets are dropped until no cut does; ``v`` is the variance of the window, ``n`` its
    width, and ``r`` the range of the values, which the paper takes as 1.

    A. Bifet and R. Gavaldà, *Learning from time-changing data with adaptive windowing*, SDM 2007,
    https://doi.org/10.1137/1.9781611972771.42 (ADWIN2; equation 3.1).

    Args:
        delta: The chance of a false alarm that is put up with, between 0 and 1.
        value_range: The greatest value minus the least that there can be. Without it the range seen so far is taken,
            so that the unit of the values does not matter.
        clock: Values between two looks for a cut.
        most_buckets: Of a level; more are finer and slower.
        least_part: Values that a part must have.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        delta: float = 0.002,
        *,
        value_range: float | None = None,
        clock: int = 32,
        most_buckets: int = 5,
        least_part: int = 5,
    ) -> None:
        if not 0 < delta < 1:
            raise UsageError(f"ADWIN's delta lies between 0 and 1, and is {delta!r}")
        if min(clock, least_part) < 1 or most_buckets < 2 or (value_range is not None and not value_range > 0):
            raise UsageError("ADWIN needs a range above 0, clock and least_part of at least 1, most_buckets of 2")
        self.delta, self.value_range, self.clock = delta, value_range, clock
        self.most_buckets, self.least_part = most_buckets, least_part
        self._levels: list[list[tuple[float, float]]] = [[]]
        """By level, oldest first: the sum of a bucket's values, and the sum of their squared distances to its mean."""
        self._width, self._total, self._spread, self._ticks = 0, 0.0, 0.0, 0
        self._least, self._most = math.inf, -math.inf

    def __len__(self) -> int:
        return self._width

    @property
    def mean(self) -> float:
        """Of the window; 0 while it is empty."""
        return self._total / self._width if self._width else 0.0

    @property
    def variance(self) -> float:
        """Of the window, with its width as the divisor; 0 while it is empty."""
        return self._spread / self._width if self._width else 0.0

    def update(self, value: float) -> Change | None:
        """Take the next value; the change, where the window was cut: the means of what was dropped and of the rest."""
        self._insert(value)
        self._ticks += 1
        if self._ticks % self.clock or not self._has_cut():
            return None
        width, total = self._width, self._total
        while self._has_cut():
            self._drop_oldest()
        return Change((total - self._total) / (width - self._width), self.mean)

    def _insert(self, value: float) -> None:
        if self._width:
            distance = value - self._total / self._width
            self._spread += distance * distance * self._width / (self._width + 1)
        self._width += 1
        self._total += value
        if value < self._least:
            self._least = value
        if value > self._most:
            self._most = value
        levels, level, size = self._levels, self._levels[0], 1
        level.append((value, 0.0))
        depth = 0
        while len(level) > self.most_buckets:
            (sum0, spread0), (sum1, spread1) = level[0], level[1]
            del level[:2]
            apart = (sum0 - sum1) / size
            depth += 1
            if depth == len(levels):
                levels.append([])
            level = levels[depth]
            level.append((sum0 + sum1, spread0 + spread1 + apart * apart * size / 2))
            size *= 2

    def _has_cut(self) -> bool:
        """Whether some cut between two buckets parts values of different means."""
        width, total, least_part = self._width, self._total, self.least_part
        if width < 2 * least_part:
            return False
        log = math.log(2 * math.log(width) / self.delta)
        by_variance = 2 * max(self._spread, 0.0) / width * log
        by_range = 2 / 3 * log * (self._most - self._least if self.value_range is None else self.value_range)
        older, older_sum = 0, 0.0
        for depth in range(len(self._levels) - 1, -1, -1):
            size = 1 << depth
            for bucket_sum, _ in self._levels[depth]:
                older += size
                older_sum += bucket_sum
                newer = width - older
                if newer < least_part:
                    return False
                if older >= least_part:
                    share = 1 / older + 1 / newer
                    apart = abs(older_sum / older - (total - older_sum) / newer)
                    if apart > math.sqrt(by_variance * share) + by_range * share:
                        return True
        return False

    def _drop_oldest(self) -> None:
        bucket_sum, spread = self._levels[-1].pop(0)
        size = 1 << (len(self._levels) - 1)
        left = self._width - size
        self._total -= bucket_sum
        apart = bucket_sum / size - self._total / left
        self._spread -= spread + apart * apart * size * left / self._width
        self._width = left
        while not self._levels[-1] and len(self._levels) > 1:
            self._levels.pop()

    def state(self) -> dict[str, Any]:
        """All that it remembers."""
        return {
            **{name: getattr(self, name) for name in _STATE},
            "_levels": [list(level) for level in self._levels],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        for name in _STATE:
            setattr(self, name, state[name])
        self._levels = [[(float(total), float(spread)) for total, spread in level] for level in state["_levels"]]
