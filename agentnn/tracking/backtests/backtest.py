"""Positions and returns to an equity curve, and an equity curve to the usual figures.

Conventions, as in empyrical and quantstats: 252 periods a year, standard deviations with ddof 1, a risk-free
return of 0, ratios on arithmetic mean returns (not compounded), drawdown as a negative fraction of the last
peak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

PERIODS_PER_YEAR = 252
"""Trading days in a year."""


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What a sequence of positions would have earned; every array has shape (periods,).

    Attributes:
        positions: Fraction of the capital held during each period: 1 long, 0 flat, -1 short.
        turnover: Fraction of the capital traded at the start of each period.
        net_returns: Simple return of each period after costs.
        equity: Capital at the end of each period; it was 1 before the first.
    """

    positions: NDArray[np.float64]
    turnover: NDArray[np.float64]
    net_returns: NDArray[np.float64]
    equity: NDArray[np.float64]


def backtest(positions: ArrayLike, returns: ArrayLike, cost_per_turnover: float = 0.0) -> Backtest:
    """Run positions over returns.

    ``positions[t]`` is taken at the start of period ``t``, when ``returns[t]`` is not known yet, and earns
    it; the first is bought from cash, and the last is not sold at the end. The net return is
    ``positions[t] * returns[t] - cost_per_turnover * abs(positions[t] - positions[t - 1])``. The capital is
    rebalanced to the position in every period; that drift is not charged. A period that loses everything ends
    at an equity of 0 and stays there: the net return is never below -1.

    Args:
        positions: Fraction of the capital held, shape (periods,).
        returns: Simple returns of the asset (0.01 is one per cent), shape (periods,).
        cost_per_turnover: Cost of trading the whole capital once, as a fraction: 0.0005 is five basis points.

    Raises:
        UsageError: The shapes differ, there is no period, a value is not finite, or the cost is negative.
    """
    held, market = _series(positions, "positions"), _series(returns, "returns")
    if held.shape != market.shape:
        raise UsageError(f"{len(held)} positions don't fit {len(market)} returns")
    if not (math.isfinite(cost_per_turnover) and cost_per_turnover >= 0):
        raise UsageError(f"cost_per_turnover must be 0 or more, not {cost_per_turnover}")
    turnover = np.abs(np.diff(held, prepend=0.0))
    net = np.maximum(held * market - cost_per_turnover * turnover, -1.0)
    with np.errstate(over="ignore"):
        return Backtest(held, turnover, net, np.cumprod(1 + net))


def performance(
    result: Backtest, *, periods_per_year: float = PERIODS_PER_YEAR, risk_free_rate: float = 0.0
) -> dict[str, float]:
    """The figures of a backtest.

    A figure that is undefined is left out, never NaN or infinite: the ratios of an account that never moved,
    the Sharpe ratio of returns that are all equal, the Sortino ratio, Calmar ratio and profit factor without
    a loss, the win rate without a position, what needs a standard deviation when there is only one period. A
    figure that overflows is left out too.

    Args:
        result: The backtest.
        periods_per_year: How many of the periods make a year.
        risk_free_rate: A year's return without risk, as a fraction; what a period has of it, compounded, is taken
            off the returns for the Sharpe and the Sortino ratio. Capital that is not invested earns nothing.

    Returns:
        ``total_return``: final capital over first capital, minus 1.
        ``annual_return``: compounded; over less than a year it is an extrapolation.
        ``annual_volatility``, ``sharpe_ratio``, ``sortino_ratio`` (downside deviation around 0 over all
        periods), ``calmar_ratio`` (annual return over the size of the maximum drawdown).
        ``max_drawdown``: the deepest fall below a former peak, -0.2 for one fifth; 0 without one.
        ``max_drawdown_days``: most periods in a row that ended below a former peak.
        ``win_rate``: of the periods with a position and a gain or a loss, the fraction with a gain.
        ``profit_factor``: sum of the gains over the sum of the losses, the cost of leaving a position
            included.
        ``exposure``: fraction of the periods with a position; ``turnover``: how often the capital is traded
            in a year.

    Raises:
        UsageError: ``periods_per_year`` is not positive, or ``risk_free_rate`` not above -1.
    """
    _check_periods(periods_per_year)
    if not (math.isfinite(risk_free_rate) and risk_free_rate > -1):
        raise UsageError(f"risk_free_rate must be above -1, not {risk_free_rate}")
    without_risk = math.expm1(math.log1p(risk_free_rate) / periods_per_year)
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(
            {
                **_growth(result.equity, periods_per_year),
                **_ratios(result.net_returns - without_risk, periods_per_year),
                **_wins(result.net_returns, result.positions),
                "exposure": np.mean(result.positions != 0),
                "turnover": np.mean(result.turnover) * periods_per_year,
            }
        )


def performance_of_values(values: ArrayLike, *, periods_per_year: float = PERIODS_PER_YEAR) -> dict[str, float]:
    """The figures of a portfolio's values, whose positions are not known.

    They are those of :func:`performance`, except exposure and turnover; ``win_rate`` counts every period with a gain
    or a loss. The return of a period is its value over the one before, minus 1. That needs positive values: after a
    value of 0 or less, only what compares values with the first one or with a peak is defined (``total_return``,
    ``annual_return`` if it can be had, the drawdown), and a drawdown can then exceed -1. Values whose first is not
    positive have no figures.

    Args:
        values: The capital at the start, then the value at the end of each period; shape (periods + 1,).
        periods_per_year: How many of the periods make a year.

    Raises:
        UsageError: There are fewer than two values, one is not finite, or ``periods_per_year`` is not positive.
    """
    _check_periods(periods_per_year)
    capital = _series(values, "values")
    if len(capital) < 2:
        raise UsageError("figures need two values or more: one is no period")
    if capital[0] <= 0:
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        figures = _growth(capital[1:] / capital[0], periods_per_year)
        if (capital > 0).all():
            returns = _without_rounding(capital[1:] / capital[:-1] - 1)
            figures |= {**_ratios(returns, periods_per_year), **_wins(returns, np.ones_like(returns))}
    return _finite(figures)


def _series(values: ArrayLike, name: str) -> NDArray[np.float64]:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or not len(series):
        raise UsageError(f"{name} must be one row of at least one number, not of shape {series.shape}")
    if not np.isfinite(series).all():
        raise UsageError(f"{name} must be finite: number {int(np.argmin(np.isfinite(series)))} is not")
    return series


def _check_periods(periods_per_year: float) -> None:
    if not (math.isfinite(periods_per_year) and periods_per_year > 0):
        raise UsageError(f"periods_per_year must be positive, not {periods_per_year}")


def _finite(figures: Mapping[str, np.floating[Any]]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items() if np.isfinite(value)}


def _without_rounding(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns that differ by no more than the rounding of a quotient of doubles are all the same."""
    rounding = 16 * np.finfo(np.float64).eps * (1 + np.max(np.abs(returns)))
    return np.full_like(returns, np.mean(returns)) if np.ptp(returns) <= rounding else returns


def _growth(equity: NDArray[np.float64], periods_per_year: float) -> dict[str, np.float64]:
    """Compounded growth and drawdown of a capital that was 1 before the first period."""
    peaks = np.maximum(np.maximum.accumulate(equity), 1.0)
    deepest = np.min(equity / peaks - 1)
    annual = np.power(equity[-1], periods_per_year / len(equity)) - 1
    figures = {
        "total_return": equity[-1] - 1,
        "annual_return": annual,
        "max_drawdown": deepest,
        "max_drawdown_days": np.float64(_longest_run(equity < peaks)),
    }
    if deepest < 0:
        figures["calmar_ratio"] = annual / -deepest
    return figures


def _ratios(returns: NDArray[np.float64], periods_per_year: float) -> dict[str, np.float64]:
    """Volatility, and the mean return over it."""
    figures = {}
    year, mean = np.sqrt(periods_per_year), np.mean(returns)
    downside = np.sqrt(np.mean(np.square(np.minimum(returns, 0))))
    # Equal returns have no deviation, but the rounding of their mean would leave one of about 1e-18.
    constant = np.max(returns) == np.min(returns)
    if len(returns) > 1:
        deviation = np.float64(0) if constant else np.std(returns, ddof=1)
        figures["annual_volatility"] = deviation * year
        if deviation > 0:
            figures["sharpe_ratio"] = mean / deviation * year
        if downside > 0:
            figures["sortino_ratio"] = mean / downside * year
    return figures


def _wins(returns: NDArray[np.float64], positions: NDArray[np.float64]) -> dict[str, np.float64]:
    """Gains against losses, period by period."""
    figures = {}
    # The cost of leaving falls into a period without a position: a loss of money, but not a lost period.
    held = returns[(positions != 0) & (returns != 0)]
    if len(held):
        figures["win_rate"] = np.mean(held > 0)
    losses = -np.sum(returns[returns < 0])
    if losses > 0:
        figures["profit_factor"] = np.sum(returns[returns > 0]) / losses
    return figures


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """The most True values in a row."""
    edges = np.flatnonzero(~np.concatenate([[False], flags, [False]]))
    return int(np.max(np.diff(edges))) - 1
