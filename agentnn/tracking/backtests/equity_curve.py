"""The value of a portfolio over time, and the small copy of it that a run carries in a tag.

The tag :data:`EQUITY_CURVE_TAG` lets any reader draw the curve from what every store answers anyway, without
fetching a file. It is JSON: ``{"dates": [first, last] or null, "values": [up to 100 numbers]}``. The values are
those of :meth:`EquityCurve.landmarks`, rounded to 10 significant digits: about 1.5 kB, where a tag may hold 5000
characters.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

EQUITY_CURVE_TAG = "agentnn.equity_curve"
_SKETCHED_VALUES = 100
_MOST_READ_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """What a portfolio was worth.

    Attributes:
        values: Finite values in any currency, shape (n_values,), n_values at least 1; the first is the capital at
            the start, each other the value at the end of a period.
        dates: When, strictly ascending, shape (n_values,); ``None`` when it is not known.
    """

    values: tuple[float, ...]
    dates: tuple[datetime, ...] | None = None

    def landmarks(self, count: int) -> list[int]:
        """The places of ``count`` points (at least 7) or fewer that show the curve with all its extremes.

        They are the ends, the deepest drawdown, the highest and the lowest of each of as many equal stretches as fit,
        and for each of these the peak before it, so that its drawdown stays what it was.
        """
        values, stretches = self.values, (count - 4) // 3
        if len(values) <= count:
            return list(range(len(values)))
        falls = [math.inf if math.isnan(fall) else fall for fall in drawdowns(values)]
        kept = {0, len(values) - 1, falls.index(min(falls))}
        for stretch in range(stretches):
            places = range(stretch * len(values) // stretches, (stretch + 1) * len(values) // stretches)
            kept |= {min(places, key=values.__getitem__), max(places, key=values.__getitem__)}
        peaks = _peaks_before(values)
        return sorted(kept | {peaks[place] for place in kept})


@dataclass(frozen=True, slots=True)
class CurveSketch:
    """What the tag tells of an equity curve: some of its values, and its first and last date as text."""

    values: tuple[float, ...]
    dates: tuple[str, str] | None


def drawdowns(values: Sequence[float]) -> list[float]:
    """How far each value lies below the highest so far, as a negative fraction: -0.2 for one fifth.

    NaN as long as no value was positive: a fall from nothing is no fraction.
    """
    peaks = accumulate(values, max)
    return [value / peak - 1 if peak > 0 else math.nan for value, peak in zip(values, peaks, strict=True)]


def sketch(curve: EquityCurve) -> str:
    """The text of the tag for a curve."""
    values = [float(f"{curve.values[place]:.10g}") for place in curve.landmarks(_SKETCHED_VALUES)]
    return json.dumps({"dates": None if curve.dates is None else _span(curve.dates), "values": values})


def read_sketch(text: str) -> CurveSketch | None:
    """What a tag says; ``None`` when it is not an equity curve: anybody may have written it."""
    try:
        read = json.loads(text)
        values = tuple(float(value) for value in read["values"] if not isinstance(value, str))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if not 2 <= len(values) <= _MOST_READ_VALUES or len(values) != len(read["values"]):
        return None
    if not all(map(math.isfinite, values)):
        return None
    match read.get("dates"):
        case [str(first), str(last)]:
            return CurveSketch(values, (first, last))
        case _:
            return CurveSketch(values, None)


def _peaks_before(values: Sequence[float]) -> list[int]:
    """Of each value, the place of the first of the highest so far."""
    peaks, highest = [], 0
    for place, value in enumerate(values):
        highest = place if value > values[highest] else highest
        peaks.append(highest)
    return peaks


def _span(dates: Sequence[datetime]) -> tuple[str, str]:
    """The first and the last date; without the time of day where all are midnights."""
    ends = dates[0], dates[-1]
    if all((date.hour, date.minute, date.second, date.microsecond) == (0, 0, 0, 0) for date in ends):
        return ends[0].date().isoformat(), ends[1].date().isoformat()
    return ends[0].isoformat(timespec="seconds"), ends[1].isoformat(timespec="seconds")
