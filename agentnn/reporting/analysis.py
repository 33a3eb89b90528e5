"""What the values of a portfolio tell beyond their figures: when it fell, and how each month and each half-year went.

Conventions are those of :mod:`agentnn.tracking.backtests.backtest`: a period's return is its value over the one before,
minus 1; standard deviations with ddof 1; a risk-free return of 0; ratios on arithmetic mean returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from agentnn.query.grouping import Summary
from agentnn.tracking.backtests.equity_curve import drawdowns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentnn.reporting.curves import Curve
    from agentnn.reporting.document import Point

_LEAST_DEVIATION = 1e-12
"""A standard deviation of returns below it is their rounding."""


@dataclass(frozen=True, slots=True)
class MonthlyReturns:
    """Compounded returns.

    Attributes:
        years: In their order, those between the first and the last included.
        months: A row a year with twelve cells; ``None`` for a month without a return.
        totals: Of each year.
    """

    years: tuple[int, ...]
    months: tuple[tuple[Point, ...], ...]
    totals: tuple[Point, ...]


class Fall(NamedTuple):
    """A drawdown: the places of the peak, the lowest value and the first value that is as high as the peak again."""

    peak: int
    trough: int
    recovery: int | None
    depth: float


class Band(NamedTuple):
    """The mean of several curves at the steps that all of them have, and the standard deviation to each side."""

    x: tuple[int, ...]
    mean: tuple[Point, ...]
    low: tuple[Point, ...]
    high: tuple[Point, ...]


def monthly_returns(values: Sequence[float], dates: Sequence[datetime]) -> MonthlyReturns:
    """The return of each month and year, from the last value of the one before to its own last value.

    The first value is the capital at the start: its month begins with it. After a value of 0 or less there is none.

    Args:
        values: At least one, each with its date.
        dates: Strictly ascending.
    """
    years = tuple(range(dates[0].year, dates[-1].year + 1))
    months: list[list[Point]] = [[None] * 12 for _ in years]
    totals: list[Point] = [None] * len(years)
    for before, value, date in zip(values, values[1:], dates[1:], strict=False):
        if before <= 0 or value < 0:
            break
        row = date.year - years[0]
        months[row][date.month - 1] = _grown(months[row][date.month - 1], value / before)
        totals[row] = _grown(totals[row], value / before)
    return MonthlyReturns(
        years, tuple(tuple(map(_as_return, row)) for row in months), tuple(_as_return(total) for total in totals)
    )


def rolling_sharpe(values: Sequence[float], window: int, periods_per_year: float) -> list[Point]:
    """The annualised Sharpe ratio of the last ``window`` returns at each value.

    There is none before, and where all returns are equal.

    Args:
        values: Shape (n_values,); from a value of 0 or less on there is none.
        window: Returns that are looked at, at least 2.
        periods_per_year: How many periods make a year.
    """
    returns = []
    for before, value in zip(values, values[1:], strict=False):
        if before <= 0 or not math.isfinite(value / before):
            break
        returns.append(value / before - 1)
    centre = math.fsum(returns) / len(returns) if returns else 0.0
    # Sums of what is left after the mean of all: the difference of two sums keeps its digits then.
    sums = list(accumulate((one - centre for one in returns), initial=0.0))
    squares = list(accumulate(((one - centre) ** 2 for one in returns), initial=0.0))
    ratios: list[Point] = [None] * len(values)
    for end in range(window, len(returns) + 1):
        total, square = sums[end] - sums[end - window], squares[end] - squares[end - window]
        deviation = math.sqrt(max(0.0, square - total * total / window) / (window - 1))
        if deviation > _LEAST_DEVIATION:
            ratios[end] = (centre + total / window) / deviation * math.sqrt(periods_per_year)
    return ratios


def deepest_falls(values: Sequence[float], most: int) -> list[Fall]:
    """The deepest drawdowns that don't overlap, the deepest first."""
    falls: list[Fall] = []
    peak = trough = 0
    depths = drawdowns(values)
    for place in range(1, len(values)):
        if values[place] >= values[peak]:
            if trough > peak:
                falls.append(Fall(peak, trough, place, depths[trough]))
            peak = trough = place
        elif trough == peak or values[place] < values[trough]:
            trough = place
    if trough > peak:
        falls.append(Fall(peak, trough, None, depths[trough]))
    return sorted((one for one in falls if math.isfinite(one.depth)), key=lambda one: one.depth)[:most]


def band_of(curves: Sequence[Curve]) -> Band | None:
    """Mean and standard deviation (ddof 1) of curves; ``None`` for fewer than two, or without a step that all have."""
    if len(curves) < 2 or any(curve.is_numbered for curve in curves):
        return None
    by_step = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    steps = sorted(set.intersection(*(set(one) for one in by_step)))
    if not steps:
        return None
    means: list[Point] = []
    spreads: list[Point] = []
    for step in steps:
        values = [value for one in by_step if (value := one[step]) is not None]
        # With a gap in one of them, the mean of those that are left would not be that of the group.
        found = Summary.of(values) if len(values) == len(curves) else None
        means.append(None if found is None else found.mean)
        spreads.append(None if found is None else found.std)
    pairs = list(zip(means, spreads, strict=True))
    return Band(
        tuple(steps),
        tuple(means),
        tuple(None if mean is None or spread is None else mean - spread for mean, spread in pairs),
        tuple(None if mean is None or spread is None else mean + spread for mean, spread in pairs),
    )


def _grown(so_far: Point, factor: float) -> float:
    return factor if so_far is None else so_far * factor


def _as_return(factor: Point) -> Point:
    return None if factor is None else factor - 1
