"""The values of a metric as a line that can be drawn: thinned, with every extreme kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Metric
    from agentnn.reporting.document import Point

_DIGITS = 6


class Moment(NamedTuple):
    """A value, and the step that it was logged at."""

    value: float
    step: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over its steps.

    Attributes:
        key: The metric.
        x: Steps, or the numbers of the values where all were logged at the same step (``is_numbered``).
        y: Values to six significant digits; ``None`` for what is not finite.
        points: How many values there were before it was thinned.
        last: The last value as it was logged, and its step; it may not be finite.
        lowest, highest: Among the finite ones, the first that is; ``None`` without any.
        gaps: How many values are not finite.
        is_numbered: Whether ``x`` counts values.
        time: When the last value was logged, in milliseconds since the epoch.
    """

    key: str
    x: tuple[int, ...]
    y: tuple[Point, ...]
    points: int
    last: Moment
    lowest: Moment | None
    highest: Moment | None
    gaps: int = 0
    is_numbered: bool = False
    time: int = 0

    @property
    def is_thinned(self) -> bool:
        """Whether points were left out."""
        return len(self.x) < self.points

    @property
    def is_constant(self) -> bool:
        """Whether all its values are the same finite number."""
        if self.lowest is None or self.highest is None:
            return False
        return not self.gaps and self.lowest.value == self.highest.value

    def best(self, direction: str | None) -> Moment | None:
        """The best value of all; ``None`` where nobody says what is better."""
        return {"max": self.highest, "min": self.lowest}.get(direction or "")


def curve_of(points: Sequence[Metric], most: int) -> Curve:
    """The curve of a history.

    Args:
        points: At least one value, by (step, timestamp).
        most: How many points may stay; see :func:`thinned`.
    """
    values = [point.value if math.isfinite(point.value) else None for point in points]
    finite = [Moment(point.value, point.step) for point in points if math.isfinite(point.value)]
    is_numbered = len(points) > 1 and points[0].step == points[-1].step
    kept = thinned(values, most)
    return Curve(
        key=points[0].key,
        x=tuple(place if is_numbered else points[place].step for place in kept),
        y=tuple(rounded(values[place]) for place in kept),
        points=len(points),
        last=Moment(points[-1].value, points[-1].step),
        lowest=min(finite, key=lambda one: one.value, default=None),
        highest=max(finite, key=lambda one: one.value, default=None),
        gaps=len(values) - len(finite),
        is_numbered=is_numbered,
        time=max(point.timestamp for point in points),
    )


def thinned(values: Sequence[Point], most: int) -> list[int]:
    """The places of ``most`` values (at least 5) or fewer that show a line with all its extremes.

    They are the ends, and the lowest and the highest of each of as many equal stretches as fit; where a stretch has a
    gap, its first one, too.
    """
    if len(values) <= most:
        return list(range(len(values)))
    stretches = (most - 2) // (3 if None in values else 2)
    kept = {0, len(values) - 1}
    for stretch in range(stretches):
        places = range(stretch * len(values) // stretches, (stretch + 1) * len(values) // stretches)
        finite = [(value, place) for place in places if (value := values[place]) is not None]
        if finite:
            kept |= {min(finite)[1], max(finite)[1]}
        if len(finite) < len(places):
            kept.add(next(place for place in places if values[place] is None))
    return sorted(kept)


def rounded(value: Point, digits: int = _DIGITS) -> Point:
    """A value to so many significant digits: six, as a chart shows it; ``None`` for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
