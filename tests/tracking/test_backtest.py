"""The backtest against hand-computed values, and its figures against empyrical."""

from __future__ import annotations

import math
import subprocess
import sys

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agentnn.errors import UsageError
from agentnn.tracking.backtests.backtest import backtest, performance

EMPYRICAL = {
    "total_return": empyrical.cum_returns_final,
    "annual_return": empyrical.annual_return,
    "annual_volatility": empyrical.annual_volatility,
    "sharpe_ratio": empyrical.sharpe_ratio,
    "sortino_ratio": empyrical.sortino_ratio,
    "calmar_ratio": empyrical.calmar_ratio,
    "max_drawdown": empyrical.max_drawdown,
}

# Tenths of a basis point, up to 30 %: finer ones lose their digits in 1 + return, here and in empyrical.
daily_returns = arrays(np.int64, st.integers(2, 300), elements=st.integers(-30_000, 30_000)).map(lambda n: n / 1e5)


def market(seed: int, days: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0005, 0.02, days)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", EMPYRICAL)
def test_figures_agree_with_empyrical_to_12_digits(name: str, seed: int) -> None:
    positions = np.random.default_rng(seed + 100).choice([-1.0, 0.0, 0.5, 1.0], 500)
    result = backtest(positions, market(seed), 0.0005)
    assert performance(result)[name] == pytest.approx(EMPYRICAL[name](result.net_returns), rel=1e-12)


@given(daily_returns)
def test_figures_agree_with_empyrical_wherever_it_has_a_value(returns: np.ndarray) -> None:
    result = backtest(np.ones(len(returns)), returns)
    figures = performance(result)
    with np.errstate(all="ignore"):
        expected = {name: float(function(result.net_returns)) for name, function in EMPYRICAL.items()}
    for name, value in expected.items():
        if name in figures:
            assert figures[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
        else:
            assert not math.isfinite(value), name


def test_equity_and_costs_by_hand() -> None:
    result = backtest([1, 1, 0, -1], [0.10, -0.05, 0.20, 0.10], cost_per_turnover=0.01)
    np.testing.assert_allclose(result.turnover, [1, 0, 1, 1])
    np.testing.assert_allclose(result.net_returns, [0.09, -0.05, -0.01, -0.11])
    np.testing.assert_allclose(result.equity, [1.09, 1.0355, 1.025145, 0.91237905])


def test_figures_by_hand() -> None:
    figures = performance(backtest([1, 1, 0, -1], [0.10, -0.05, 0.20, 0.10], cost_per_turnover=0.01))
    assert figures["total_return"] == pytest.approx(-0.08762095)
    assert figures["max_drawdown"] == pytest.approx(0.91237905 / 1.09 - 1)
    assert figures["max_drawdown_days"] == 3
    assert figures["win_rate"] == pytest.approx(1 / 3)  # the cost of leaving is not a lost period
    assert figures["profit_factor"] == pytest.approx(0.09 / 0.17)
    assert figures["exposure"] == 0.75
    assert figures["turnover"] == pytest.approx(3 / 4 * 252)


def test_a_position_does_not_earn_the_return_before_it() -> None:
    result = backtest([0, 1, 0], [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(result.net_returns, 0)


def test_the_first_period_can_be_a_drawdown() -> None:
    figures = performance(backtest([1, 1, 1, 1], [-0.1, 0.2, -0.01, 0.02]))
    assert figures["max_drawdown"] == pytest.approx(-0.1)
    assert figures["max_drawdown_days"] == 1


def test_an_account_that_never_moved() -> None:
    assert performance(backtest(np.zeros(20), market(1, 20), 0.001)) == {
        "total_return": 0.0,
        "annual_return": 0.0,
        "annual_volatility": 0.0,
        "max_drawdown": 0.0,
        "max_drawdown_days": 0.0,
        "exposure": 0.0,
        "turnover": 0.0,
    }


def test_constant_returns_have_no_sharpe_ratio() -> None:
    figures = performance(backtest(np.ones(10), np.full(10, 0.001)))
    assert figures["annual_volatility"] == 0
    assert figures["win_rate"] == 1
    assert not figures.keys() & {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "profit_factor"}


def test_gains_alone_have_no_sortino_calmar_or_profit_factor() -> None:
    figures = performance(backtest(np.ones(3), [0.01, 0.02, 0.03]))
    assert figures["sharpe_ratio"] > 0
    assert not figures.keys() & {"sortino_ratio", "calmar_ratio", "profit_factor"}


def test_one_period_has_no_standard_deviation() -> None:
    figures = performance(backtest([1], [-0.01]))
    assert figures["total_return"] == pytest.approx(-0.01)
    assert not figures.keys() & {"annual_volatility", "sharpe_ratio", "sortino_ratio"}


def test_ruin_is_final() -> None:
    result = backtest([-1, -1, -1], [0.1, 2.0, -0.5])
    np.testing.assert_allclose(result.equity, [0.9, 0.0, 0.0])
    figures = performance(result)
    assert figures["total_return"] == figures["annual_return"] == figures["max_drawdown"] == -1


def test_a_figure_that_overflows_is_left_out() -> None:
    figures = performance(backtest([1, 1], [1e6, 1e6]))
    assert "annual_return" not in figures
    assert figures["total_return"] == pytest.approx((1e6 + 1) ** 2 - 1)


@given(daily_returns, st.floats(0, 0.01))
def test_every_figure_is_finite_and_in_its_range(returns: np.ndarray, cost: float) -> None:
    positions = np.where(returns[::-1] > 0, 1.0, 0.0)
    result = backtest(positions, returns, cost)
    figures = performance(result)
    assert all(type(value) is float and math.isfinite(value) for value in figures.values())
    assert -1 <= figures["max_drawdown"] <= 0
    assert 0 <= figures["exposure"] <= 1
    assert 0 <= figures["max_drawdown_days"] <= len(returns)
    assert 0 <= figures.get("win_rate", 0) <= 1
    assert figures.get("profit_factor", 0) >= 0
    assert (result.equity >= 0).all()
    assert figures["total_return"] >= -1


@given(daily_returns, st.floats(0.0001, 0.01))
def test_costs_only_cost(returns: np.ndarray, cost: float) -> None:
    positions = np.where(returns[::-1] > 0, 1.0, 0.0)
    free, charged = backtest(positions, returns), backtest(positions, returns, cost)
    assert (charged.equity <= free.equity).all()
    np.testing.assert_allclose(free.net_returns - charged.net_returns, cost * free.turnover, atol=1e-12)


@given(daily_returns)
def test_long_and_short_without_costs_are_mirrored(returns: np.ndarray) -> None:
    long, short = backtest(np.ones_like(returns), returns), backtest(-np.ones_like(returns), returns)
    np.testing.assert_array_equal(long.net_returns, -short.net_returns)


@pytest.mark.parametrize(
    ("positions", "returns", "cost", "message"),
    [
        ([1, 1], [0.1], 0.0, "2 positions don't fit 1 returns"),
        ([], [], 0.0, "positions must be one row"),
        ([[1.0]], [[0.1]], 0.0, "positions must be one row"),
        ([1, 1], [0.1, np.nan], 0.0, "returns must be finite: number 1"),
        ([np.inf, 1], [0.1, 0.1], 0.0, "positions must be finite: number 0"),
        ([1], [0.1], -0.1, "cost_per_turnover"),
        ([1], [0.1], np.nan, "cost_per_turnover"),
    ],
)
def test_bad_input_is_refused(positions: object, returns: object, cost: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        backtest(positions, returns, cost)


def test_periods_per_year() -> None:
    result = backtest(np.ones(60), market(2, 60))
    weekly, daily = performance(result, periods_per_year=52), performance(result)
    assert weekly["sharpe_ratio"] == pytest.approx(daily["sharpe_ratio"] * math.sqrt(52 / 252))
    with pytest.raises(UsageError):
        performance(result, periods_per_year=0)


def test_the_module_needs_numpy_alone() -> None:
    code = "import sys, agentnn.tracking.backtests.backtest; print(*{'torch', 'pandas', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
