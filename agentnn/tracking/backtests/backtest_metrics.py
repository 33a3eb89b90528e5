"""The metrics of a backtest: those that were given, and the standard ones that were not.

Conventions: those of :mod:`agentnn.tracking.backtests.backtest`, and :func:`periods_per_year_of` for curves with dates.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from agentnn.errors import AgentNNWarning, UsageError
from agentnn.tracking.backtests.backtest import PERIODS_PER_YEAR, performance_of_values
from agentnn.tracking.backtests.trade_metrics import exposure_of_trades, turnover_of_trades, wins_of_trades
from agentnn.values.plain import as_number, is_missing
from agentnn.values.tabular import is_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from agentnn.tracking.backtests.equity_curve import EquityCurve
    from agentnn.values.tabular import Table

_DAYS_PER_YEAR = 365
_SPACINGS = ((6, 8, 52), (13, 15, 26), (27, 32, 12), (58, 63, 6), (88, 93, 4), (180, 185, 2), (364, 367, 1))
"""Days between two dates, at least and at most, and how many such periods a year has."""


class ComputedMetrics(NamedTuple):
    """Standard metrics, and in words the conventions that they follow."""

    metrics: dict[str, float]
    conventions: str


def given_metrics(given: Any) -> dict[str, float]:
    """What a caller gave as metrics, as flat floats; NaN and infinities stay, as they are values of a metric.

    Args:
        given: A dictionary or a series. A dictionary in it is flattened: ``{"risk": {"var": 1}}`` is ``risk.var``.

    Raises:
        UsageError: A value is not a number, such as a text or a date; or two have the same name.
    """
    if not isinstance(given, Mapping) and not is_series(given):
        raise UsageError(
            f"results['metrics'] is a {type(given).__name__}", hint="give a dictionary of names and numbers"
        )
    pairs = list(_flat(given))
    numbers = [(key, value, _number(value)) for key, value in pairs]
    missing = [key for key, value, number in numbers if number is None and is_missing(value)]
    if missing:
        warnings.warn(f"metrics without a value are left out: {', '.join(missing)}", AgentNNWarning, stacklevel=4)
    wrong = [f"{key!r} is {value!r}" for key, value, number in numbers if number is None and not is_missing(value)]
    if wrong:
        raise UsageError(
            f"results['metrics'] holds what is not a number: {', '.join(wrong)}",
            hint="put it beside 'metrics' in results: results.json keeps it",
        )
    keys = [key for key, _ in pairs]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise UsageError(f"results['metrics'] has two values for {twice[0]!r}")
    return {key: number for key, _, number in numbers if number is not None}


def standard_metrics(
    curve: EquityCurve | None, trades: Table | None, periods_per_year: float | None = None
) -> ComputedMetrics:
    """The standard metrics as far as they can be computed.

    From the values: total and annual return, volatility, Sharpe, Sortino and Calmar ratio, maximum drawdown and its
    length in periods (``max_drawdown_days``, or ``max_drawdown_periods`` where a period is not a day). From the
    trades: ``n_trades``, ``win_rate`` and ``profit_factor``. From both: ``exposure`` and ``turnover``. Trades without
    profits, or none at all, leave ``win_rate`` and ``profit_factor`` to the periods; an empty list of trades has none.

    Args:
        curve: The portfolio's values; one value alone has no metrics.
        trades: The trades.
        periods_per_year: How many of the curve's periods make a year; from its dates where it is ``None``.
    """
    metrics = {} if trades is None else wins_of_trades(trades)
    wins = "trade" if metrics else "period"
    if curve is None or len(curve.values) < 2:
        return ComputedMetrics(metrics, "win_rate and profit_factor by trade" if metrics else "")
    periods = periods_per_year or periods_per_year_of(curve.dates)
    figures = performance_of_values(curve.values, periods_per_year=periods)
    if not 240 <= periods <= 366 and "max_drawdown_days" in figures:
        figures["max_drawdown_periods"] = figures.pop("max_drawdown_days")
    if metrics or (trades is not None and not trades.rows):
        figures.pop("win_rate", None)
        figures.pop("profit_factor", None)
    conventions = f"{periods:.6g} periods, ddof 1, risk-free 0"
    if "win_rate" in figures or metrics:
        conventions += f"; win_rate and profit_factor by {wins}"
    return ComputedMetrics({**figures, **metrics, **_activity(curve, trades, periods)}, conventions)


def periods_per_year_of(dates: Sequence[datetime] | None) -> float:
    """How many periods of such dates make a year, by the gap in the middle of all gaps.

    Days: 252, or 365 where a tenth of the dates or more are on a weekend, as for currencies traded without a pause.
    Less than a day: the usual number of dates in a day, times that. Weeks 52, two weeks 26, months 12, two months 6,
    quarters 4, half years 2, years 1. Without dates 252. Any other gap: as many as there were in a year on average,
    with a warning, since the ratios of irregular periods are only rough.
    """
    if dates is None or len(dates) < 2:
        return PERIODS_PER_YEAR
    gap = median((after - before).total_seconds() for before, after in zip(dates, dates[1:], strict=False)) / 86_400
    weekends = sum(date.weekday() >= 5 for date in dates) / len(dates)
    days = _DAYS_PER_YEAR if weekends >= 0.1 else PERIODS_PER_YEAR
    if gap < 0.75:
        return _usual_dates_in_a_day(dates) * days
    if gap <= 1.5:
        return days
    for least, most, periods in _SPACINGS:
        if least <= gap <= most:
            return periods
    average = (len(dates) - 1) * 365.25 * 86_400 / (dates[-1] - dates[0]).total_seconds()
    warnings.warn(
        f"the portfolio's dates follow no known rhythm: {average:.6g} periods a year are taken, as there were on "
        "average; periods_per_year sets another number",
        AgentNNWarning,
        stacklevel=5,
    )
    return average


def _usual_dates_in_a_day(dates: Sequence[datetime]) -> float:
    counts: dict[Any, int] = {}
    for date in dates:
        counts[date.date()] = counts.get(date.date(), 0) + 1
    return float(median(counts.values()))


def _activity(curve: EquityCurve, trades: Table | None, periods_per_year: float) -> dict[str, float]:
    if trades is None or not trades.rows:
        return {}
    figures = {
        "exposure": exposure_of_trades(trades, curve),
        "turnover": turnover_of_trades(trades, curve, periods_per_year),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _number(value: Any) -> float | None:
    """A number as a float; a truth value is 1 or 0, as MLflow has it."""
    return float(value) if isinstance(value, bool | np.bool_) else as_number(value)


def _flat(given: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
