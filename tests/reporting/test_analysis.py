"""Drawdowns, months and rolling ratios, against empyrical and by hand."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import empyrical
import numpy as np
import pandas as pd
import pytest

from agentnn.records import Metric
from agentnn.reporting.analysis import band_of, deepest_falls, monthly_returns, rolling_sharpe
from agentnn.reporting.curves import curve_of
from agentnn.tracking.backtests.equity_curve import drawdowns


@pytest.fixture(scope="module")
def equity() -> pd.Series:
    """Two and a half years of a portfolio, by business day."""
    noise = np.random.default_rng(3)
    days = pd.bdate_range("2021-11-15", periods=640)
    return pd.Series(100 * np.cumprod(1 + noise.normal(0.0004, 0.012, len(days))), index=days)


def test_monthly_and_yearly_returns_are_those_of_empyrical(equity: pd.Series):
    found = monthly_returns(equity.tolist(), equity.index.to_pydatetime().tolist())
    returns = equity.pct_change().dropna()
    months = empyrical.aggregate_returns(returns, "monthly")
    for (year, month), expected in months.items():
        assert found.months[found.years.index(year)][month - 1] == pytest.approx(expected, abs=1e-12)
    assert sum(value is not None for row in found.months for value in row) == len(months)
    for year, expected in empyrical.aggregate_returns(returns, "yearly").items():
        assert found.totals[found.years.index(year)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("window", [63, 126])
def test_the_rolling_sharpe_ratio_is_that_of_empyrical(equity: pd.Series, window: int):
    found = rolling_sharpe(equity.tolist(), window, 252)
    returns = equity.pct_change().dropna()
    expected = empyrical.roll_sharpe_ratio(returns, window=window)
    assert found[:window] == [None] * window
    assert found[window:] == pytest.approx(expected.tolist(), abs=1e-9)


def test_the_deepest_fall_is_the_maximum_drawdown_of_empyrical(equity: pd.Series):
    falls = deepest_falls(equity.tolist(), 5)
    assert falls[0].depth == pytest.approx(empyrical.max_drawdown(equity.pct_change().dropna()), abs=1e-12)
    assert [fall.depth for fall in falls] == sorted(fall.depth for fall in falls)
    for fall in falls:
        assert equity.iloc[fall.trough] / equity.iloc[fall.peak] - 1 == pytest.approx(fall.depth)
        if fall.recovery is not None:
            assert equity.iloc[fall.recovery] >= equity.iloc[fall.peak] > equity.iloc[fall.recovery - 1]


def test_falls_by_hand():
    assert deepest_falls([100, 90, 100, 80, 60, 70, 110, 99], 9) == [
        (2, 4, 6, pytest.approx(-0.4)),
        (0, 1, 2, pytest.approx(-0.1)),
        (6, 7, None, pytest.approx(-0.1)),
    ]
    assert deepest_falls([1, 2, 3], 9) == []
    assert drawdowns([100, 90, 100, 80])[3] == pytest.approx(-0.2)


def test_months_by_hand():
    dates = [datetime.fromisoformat(day) for day in ("2024-12-30", "2024-12-31", "2025-01-31", "2025-03-31")]
    found = monthly_returns([100, 110, 121, 242], dates)
    assert found.years == (2024, 2025)
    assert found.months[0][11] == pytest.approx(0.1)
    assert found.months[1][0] == pytest.approx(0.1)
    assert found.months[1][1] is None
    assert found.months[1][2] == pytest.approx(1.0)
    assert found.totals == (pytest.approx(0.1), pytest.approx(1.2))


def test_after_ruin_there_are_no_returns():
    dates = [datetime.fromisoformat("2024-01-01") + timedelta(days=40 * one) for one in range(4)]
    assert monthly_returns([100, 50, 0, 50], dates).totals == (pytest.approx(-1.0),)
    assert rolling_sharpe([100.0, 50.0, -1.0, 50.0, 60.0, 70.0], 2, 252)[4:] == [None, None]


def test_equal_returns_have_no_ratio():
    values = [100 * 1.01**place for place in range(30)]
    assert set(rolling_sharpe(values, 5, 252)) == {None}


def of_seed(*values: float, first: int = 0):
    return curve_of([Metric("m", value, first + place, 0) for place, value in enumerate(values)], 1000)


def test_a_band_is_mean_and_deviation_at_the_steps_that_all_have():
    band = band_of([of_seed(1.0, 2.0, 3.0), of_seed(3.0, 2.0, 5.0, 9.0)])
    assert band is not None
    assert band.x == (0, 1, 2)
    assert band.mean == (2.0, 2.0, 4.0)
    assert band.high == pytest.approx((2 + math.sqrt(2), 2.0, 4 + math.sqrt(2)))
    assert band.low == pytest.approx((2 - math.sqrt(2), 2.0, 4 - math.sqrt(2)))


def test_a_band_has_a_gap_where_one_of_its_runs_has_one():
    band = band_of([of_seed(1.0, math.nan), of_seed(3.0, 2.0)])
    assert band is not None
    assert band.mean == (2.0, None)


def test_there_is_no_band_of_one_curve_or_of_curves_that_share_no_step():
    assert band_of([of_seed(1.0, 2.0)]) is None
    assert band_of([of_seed(1.0, 2.0), of_seed(1.0, 2.0, first=10)]) is None
