"""Page and Hinkley's test: has the mean of a sequence risen?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.nn_models.online.change import Change

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATE = ("_count", "_mean", "_sum", "_least", "_count_at_least", "_total_at_least", "_total")


class PageHinkley:
    """Sums how far each value lies above the mean so far, and sees a change when the sum has risen by a threshold.

    With the mean ``m_t`` of the first ``t`` values and ``U_t = sum of (x_i - m_i - tolerance)``, there is a change when
    ``U_t - min U > threshold``; then it begins anew. Only a rise is seen. The threshold has the unit of the values:
    errors of another size need another one.

    E. S. Page, *Continuous inspection schemes*, Biometrika 41, 1954, https://doi.org/10.1093/biomet/41.1-2.100;
    in this form: J. Gama et al., *On evaluating stream learning algorithms*, Machine Learning 90, 2013,
    https://doi.org/10.1007/s10994-012-5320-9, section 4.

    Args:
        threshold: How far the sum may rise; a higher one means fewer false alarms and later true ones.
        tolerance: What each value may lie above the mean without counting.
        least_values: Values before the first answer.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(self, threshold: float = 50.0, *, tolerance: float = 0.005, least_values: int = 30) -> None:
        if not threshold > 0 or not tolerance >= 0 or least_values < 1:
            raise UsageError("a Page-Hinkley test needs a threshold above 0 and a tolerance of at least 0")
        self.threshold, self.tolerance, self.least_values = threshold, tolerance, least_values
        self._begin()

    def _begin(self) -> None:
        self._count, self._mean, self._total = 0, 0.0, 0.0
        self._sum, self._least = 0.0, 0.0
        self._count_at_least, self._total_at_least = 0, 0.0

    def update(self, value: float) -> Change | None:
        """Take the next value; the change, where there is one: the mean up to the sum's minimum, and the one since."""
        self._count += 1
        self._total += value
        self._mean += (value - self._mean) / self._count
        self._sum += value - self._mean - self.tolerance
        if self._sum <= self._least:
            self._least, self._count_at_least, self._total_at_least = self._sum, self._count, self._total
        if self._count < self.least_values or self._sum - self._least <= self.threshold:
            return None
        since = self._count - self._count_at_least
        after = (self._total - self._total_at_least) / since
        before = self._total_at_least / self._count_at_least if self._count_at_least else self._mean
        self._begin()
        return Change(before, after)

    def state(self) -> dict[str, Any]:
        """All that it remembers."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        for name in _STATE:
            setattr(self, name, state[name])
