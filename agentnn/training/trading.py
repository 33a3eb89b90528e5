"""What trading by predictions would have earned: predictions to positions, positions to a backtest.

The position of a day is taken at its close, from a prediction that knows prices up to that close, and is held until the
close of the next day, whatever the horizon of the prediction is.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agentnn.errors import AgentNNWarning, ConfigError
from agentnn.tracking.backtests.backtest import Backtest, backtest, performance
from agentnn.tracking.backtests.backtest_metrics import periods_per_year_of
from agentnn.tracking.capture.guard import warn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agentnn.config.schema import BacktestSection
    from agentnn.training.data.datasets import Dataset, Part

TRADE_TARGET = "trade_target"
"""The key of ``backtest.params`` by which a column that is predicted is traded like a return or its direction."""

_EVEN = 0.5
_DAYS_A_YEAR = (240, 366)


@dataclass(frozen=True, slots=True, eq=False)
class Traded:
    """A backtest on the days of one part.

    Attributes:
        figures: Those of :func:`~agentnn.tracking.backtests.backtest.performance`.
        positions: Fraction of the capital that was held in each period, shape (n,).
        returns: Net return of each period, shape (n,).
        equity: Capital at the start and at the end of each period, shape (n + 1,).
        buy_and_hold: The figures of buying at the first close and never selling.
    """

    figures: dict[str, float]
    positions: NDArray[np.float64]
    returns: NDArray[np.float64]
    equity: NDArray[np.float64]
    buy_and_hold: dict[str, float]


def why_not_traded(dataset: Dataset, rule: BacktestSection) -> str:
    """Why there is no backtest, in words; empty where there is one.

    Raises:
        ConfigError: One is asked for that can't be, or the rule does not fit what is predicted.
    """
    unknown = next((key for key in rule.params if key != TRADE_TARGET), None)
    if unknown is not None:
        raise ConfigError(f"backtest.params.{unknown} is unknown", hint=f"there is {TRADE_TARGET}")
    if not rule.enabled:
        return "backtest.enabled is false"
    is_own_column = dataset.task in ("regression", "classification")
    if is_own_column and not rule.params.get(TRADE_TARGET):
        return f"what is predicted is a column; backtest.params.{TRADE_TARGET}: true trades it like a return"
    if dataset.test.next_returns is None:
        raise ConfigError("a backtest needs prices", hint="name the column of closes: data.columns: {close: …}")
    if dataset.task == "classification" and dataset.loss == "cross_entropy":
        raise ConfigError("of several classes none says which position to take", hint="backtest.enabled: false")
    _check_rule(rule, is_probability=_is_probability(dataset))
    return ""


def say_if_the_rhythm_is_another(dataset: Dataset, rule: BacktestSection) -> None:
    """Say it where the days of the data are so far apart that a year can't have as many periods as the rule says.

    Warns:
        AgentNNWarning: It has less than half of them, or more than twice as many.
    """
    dates = dataset.test.dates
    if dates.dtype.kind != "M":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AgentNNWarning)  # of dates without a rhythm
        found = periods_per_year_of(dates.astype("datetime64[us]").tolist())
    if not 0.5 <= found / rule.periods_per_year <= 2:
        warn(
            f"the dates of {dataset.name} make {found:.6g} periods a year, and backtest.periods_per_year is "
            f"{rule.periods_per_year:g}: the Sharpe ratio and other figures of a year follow the latter"
        )


def trade(predictions: NDArray[np.float64], dataset: Dataset, part: Part, rule: BacktestSection) -> Traded:
    """Trade the days of a part.

    Args:
        predictions: Of the part: probabilities of a rise, or returns, shape (n,).
        dataset: What the network was trained on.
        part: One of its parts, with returns.
        rule: The section ``backtest`` of a configuration, which :func:`why_not_traded` has nothing against.
    """
    assert part.next_returns is not None
    if _is_probability(dataset):
        positions = positions_of_probabilities(predictions, rule)
    else:
        positions = positions_of_returns(predictions, rule, float(dataset.train.targets.std()))
    result = backtest(positions, part.next_returns, rule.cost_per_turnover)
    held = backtest(np.ones(len(part)), part.next_returns, rule.cost_per_turnover)
    return Traded(
        figures=_figures(result, rule),
        positions=positions,
        returns=result.net_returns,
        equity=rule.initial_capital * np.concatenate([[1.0], result.equity]),
        buy_and_hold=_figures(held, rule),
    )


def positions_of_probabilities(probabilities: NDArray[np.float64], rule: BacktestSection) -> NDArray[np.float64]:
    """Positions from the probability of a rise.

    ``long_flat`` holds where it is the threshold or more. ``long_short`` also sells where that of a fall is.
    ``proportional`` takes twice what the probability is above one half, from -1 to 1, where either is.
    """
    is_up, is_down = probabilities >= rule.threshold, 1 - probabilities >= rule.threshold
    if rule.position_rule == "long_flat":
        return np.where(is_up, 1.0, 0.0)
    if rule.position_rule == "long_short":
        return np.where(is_up, 1.0, np.where(is_down, -1.0, 0.0))
    return np.where(is_up | is_down, 2 * probabilities - 1, 0.0)


def positions_of_returns(returns: NDArray[np.float64], rule: BacktestSection, scale: float) -> NDArray[np.float64]:
    """Positions from predicted returns.

    ``long_flat`` holds where a gain is predicted, ``long_short`` also sells where a loss is. ``proportional`` takes the
    predicted return over ``scale``, the standard deviation of the returns of the training part, from -1 to 1.
    """
    if rule.position_rule == "long_flat":
        return np.where(returns > 0, 1.0, 0.0)
    if rule.position_rule == "long_short":
        return np.sign(returns)
    return np.clip(returns / scale, -1.0, 1.0) if scale > 0 else np.sign(returns)


def trades_of(traded: Traded, part: Part) -> list[dict[str, Any]]:
    """Positions as trades: one from each day on which a side is taken to the day on which it is left.

    The last one may be open. ``return`` is its net return, ``pnl`` what it changed the capital by; the cost of leaving
    belongs to the day after, and to no trade.
    """
    sides = np.sign(traded.positions)
    starts = [day for day in range(len(sides)) if sides[day] and (day == 0 or sides[day] != sides[day - 1])]
    found = []
    for start in starts:
        changes = np.flatnonzero(sides[start:] != sides[start])
        end = start + int(changes[0]) if len(changes) else len(sides)
        found.append(
            {
                "entry_time": str(part.dates[start]),
                "exit_time": str(part.next_dates[end - 1]),
                "direction": "long" if sides[start] > 0 else "short",
                "periods": end - start,
                "return": float(np.prod(1 + traded.returns[start:end]) - 1),
                "pnl": float(traded.equity[end] - traded.equity[start]),
                "status": "Closed" if end < len(sides) else "Open",
            }
        )
    return found


def conventions(rule: BacktestSection) -> str:
    """By what the figures were computed, in words, for a tag."""
    return (
        f"{rule.periods_per_year:g} periods, ddof 1, risk-free {rule.risk_free_rate:g}; "
        f"{rule.position_rule}, costs {rule.cost_per_turnover:g} of the turnover"
    )


def _is_probability(dataset: Dataset) -> bool:
    return dataset.task in ("direction", "classification")


def _check_rule(rule: BacktestSection, *, is_probability: bool) -> None:
    if not is_probability and rule.threshold != _EVEN:
        raise ConfigError(
            f"backtest.threshold is {rule.threshold}: it is a probability, and numbers are predicted",
            hint="leave backtest.threshold out, or predict the direction: training.loss: bce",
        )
    if is_probability and rule.position_rule != "long_flat" and rule.threshold < _EVEN:
        raise ConfigError(
            f"backtest.threshold is {rule.threshold}: with {rule.position_rule} up and down could both be true",
            hint="backtest.threshold: 0.5 or more",
        )


def _figures(result: Backtest, rule: BacktestSection) -> dict[str, float]:
    figures = performance(result, periods_per_year=rule.periods_per_year, risk_free_rate=rule.risk_free_rate)
    if not _DAYS_A_YEAR[0] <= rule.periods_per_year <= _DAYS_A_YEAR[1]:
        figures["max_drawdown_periods"] = figures.pop("max_drawdown_days")
    return figures
