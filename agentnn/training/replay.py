"""Whether two runs came to the same: which of their metrics differ, and where first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agentnn.records import Metric

    Histories = Mapping[str, Sequence[Metric]]

REPLAY_TAG = "agentnn.replay_of"
"""Holds the id of the run that this one repeats."""

_OF_THE_SYSTEM = "system/"
_MEASURED = ("epoch_seconds", "samples_per_second", "change_ms", "longest_put_wait_s")
"""How the names end of metrics that measure the machine and not the training."""


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """A metric that two runs don't have the same values of.

    Attributes:
        metric: Its name.
        step: The first step at which they differ; ``None`` where one has no value at all.
        original: The value of the run that was repeated, at that step.
        replayed: The value of the repetition.
        differing: At how many steps they differ.
        steps: How many steps there are.
    """

    metric: str
    step: int | None
    original: float | None
    replayed: float | None
    differing: int
    steps: int

    @property
    def difference(self) -> float | None:
        """By how much the repetition is greater at that step."""
        if self.original is None or self.replayed is None:
            return None
        return self.replayed - self.original

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "metric": self.metric,
            "step": self.step,
            "original": _finite(self.original),
            "replayed": _finite(self.replayed),
            "difference": _finite(self.difference),
            "differing_steps": self.differing,
            "steps": self.steps,
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """A run that was repeated.

    Attributes:
        original: The id of the run that was repeated.
        original_name: Its name.
        replayed: The id of the repetition.
        replayed_name: Its name.
        commit: The commit whose code trained; ``None`` for today's code.
        compared: The metrics that were compared.
        differences: Those that differ, by name.
        tolerance: How far values may lie apart: absolutely, or as a share of the greater one.
        same_data: Whether the digest of the data is the same; ``None`` where the run did not record it.
    """

    original: str
    original_name: str
    replayed: str
    replayed_name: str
    commit: str | None
    compared: tuple[str, ...]
    differences: tuple[MetricDifference, ...]
    tolerance: float
    same_data: bool | None

    @property
    def is_equal(self) -> bool:
        """Whether no metric differs."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "original": {"run_id": self.original, "name": self.original_name},
            "replayed": {"run_id": self.replayed, "name": self.replayed_name},
            "commit": self.commit,
            "equal": self.is_equal,
            "tolerance": self.tolerance,
            "same_data": self.same_data,
            "compared": list(self.compared),
            "differences": [one.to_dict() for one in self.differences],
        }


def compared_metrics(original: Histories, replayed: Histories, wanted: Collection[str] = ()) -> tuple[str, ...]:
    """The metrics that two runs are compared by: those that are wanted, or else all but what measures the machine.

    Raises:
        UsageError: Neither run has a metric that is wanted.
    """
    known = sorted(original.keys() | replayed.keys())
    missing = [name for name in wanted if name not in known]
    if missing:
        from agentnn.query.selectors import nearest

        near = nearest(missing[0], known)
        raise UsageError(
            f"neither run has the metric {missing[0]!r}", hint=f"did you mean {', '.join(near)}?" if near else ""
        )
    return tuple(wanted) if wanted else tuple(name for name in known if not _is_measured(name))


def _is_measured(name: str) -> bool:
    return name.startswith(_OF_THE_SYSTEM) or name.endswith(_MEASURED)


def differing_metrics(
    original: Histories, replayed: Histories, names: Collection[str], tolerance: float
) -> tuple[MetricDifference, ...]:
    """The metrics whose values differ by more than a tolerance at any step, by name.

    Of several values at one step the last one counts; NaN is the same as NaN.

    Args:
        original: Values by metric, each in the order of steps and times.
        replayed: Likewise.
        names: The metrics.
        tolerance: How far values may lie apart: absolutely, or as a share of the greater one.
    """
    found = (_compared(name, _by_step(original, name), _by_step(replayed, name), tolerance) for name in names)
    return tuple(one for one in found if one is not None)


def _compared(
    name: str, original: Mapping[int, float], replayed: Mapping[int, float], tolerance: float
) -> MetricDifference | None:
    steps = sorted(original.keys() | replayed.keys())
    differing = [step for step in steps if not _is_same(original.get(step), replayed.get(step), tolerance)]
    if not differing:
        return None
    if not original or not replayed:
        ours, theirs = _last(original), _last(replayed)
        return MetricDifference(name, None, ours, theirs, len(differing), len(steps))
    first = differing[0]
    return MetricDifference(name, first, original.get(first), replayed.get(first), len(differing), len(steps))


def _by_step(histories: Histories, name: str) -> dict[int, float]:
    return {point.step: point.value for point in histories.get(name, ())}


def _last(values: Mapping[int, float]) -> float | None:
    return values[max(values)] if values else None


def _is_same(left: float | None, right: float | None, tolerance: float) -> bool:
    if left is None or right is None:
        return False
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
