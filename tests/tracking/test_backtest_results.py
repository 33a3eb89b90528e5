"""Logging a backtest: every shape that users have, metrics against empyrical and by hand, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
import warnings
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from arch.data import sp500
from hypothesis import example, given
from hypothesis import strategies as st

from agentnn.errors import AgentNNWarning, UsageError
from agentnn.tracking.backtests.backtest import backtest, performance, performance_of_values
from agentnn.tracking.backtests.backtest_metrics import periods_per_year_of
from agentnn.tracking.backtests.backtest_results import log_backtest_results
from agentnn.tracking.backtests.equity_curve import EQUITY_CURVE_TAG, EquityCurve, drawdowns, read_sketch, sketch

EMPYRICAL = {
    "total_return": empyrical.cum_returns_final,
    "annual_return": empyrical.annual_return,
    "annual_volatility": empyrical.annual_volatility,
    "sharpe_ratio": empyrical.sharpe_ratio,
    "sortino_ratio": empyrical.sortino_ratio,
    "calmar_ratio": empyrical.calmar_ratio,
    "max_drawdown": empyrical.max_drawdown,
}
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
VALUES = [100.0, 110.0, 99.0, 120.0]


class Recorded:
    """A run that keeps what is logged to it."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.tags: dict[str, Any] = {}
        self.files: dict[str, Any] = {}

    def log_metrics(self, metrics: Any) -> None:
        self.metrics |= metrics

    def set_tags(self, tags: Any) -> None:
        self.tags |= tags

    def log_text(self, text: str, artifact_file: str) -> None:
        self.files[artifact_file] = text

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        self.files[artifact_file] = json.loads(json.dumps(dictionary, allow_nan=False))

    def log_table(self, data: Any, artifact_file: str) -> None:
        self.files[artifact_file] = data

    def log_figure(self, figure: Any, artifact_file: str) -> None:
        self.files[artifact_file] = figure

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.files[f"backtest/{name}.csv"])))


def logged(results: Any, **more: Any) -> Recorded:
    """What is logged, where nothing is to be warned of."""
    run = Recorded()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_backtest_results(run, results, **more)
    return run


def logged_with_warning(results: Any, match: str, **more: Any) -> Recorded:
    run = Recorded()
    with pytest.warns(AgentNNWarning, match=match):
        log_backtest_results(run, results, **more)
    return run


def refused(results: Any, match: str, **more: Any) -> None:
    run = Recorded()
    with pytest.raises(UsageError, match=match):
        log_backtest_results(run, results, **more)
    assert (run.metrics, run.tags, run.files) == ({}, {}, {})


# -- what is logged --------------------------------------------------------------------------------------


def test_the_results_of_the_seed_are_logged() -> None:
    trades = [{"symbol": "GOOG", "size": 3, "pnl": 12.5}, {"symbol": "GOOG", "size": -1, "pnl": -2.5}]
    given_metrics = {"sharpe_ratio": 1.5, "max_drawdown": 0.2}
    run = logged({"trades": trades, "portfolio_values": VALUES, "metrics": given_metrics})
    assert sorted(run.files) == [
        "backtest/equity_and_drawdown.png",
        "backtest/portfolio_values.csv",
        "backtest/portfolio_values.json",
        "backtest/results.json",
        "backtest/trades.csv",
        "backtest/trades.json",
    ]
    assert run.files["backtest/trades.csv"] == "symbol,size,pnl\nGOOG,3,12.5\nGOOG,-1,-2.5\n"
    assert run.files["backtest/trades.json"] == {"symbol": ["GOOG"] * 2, "size": [3, -1], "pnl": [12.5, -2.5]}
    assert run.files["backtest/portfolio_values.csv"] == "value\n100.0\n110.0\n99.0\n120.0\n"
    assert run.files["backtest/results.json"] == {
        "trades": trades,
        "portfolio_values": VALUES,
        "metrics": given_metrics,
    }
    assert run.metrics["sharpe_ratio"] == 1.5
    assert run.metrics["max_drawdown"] == 0.2
    assert run.metrics["total_return"] == pytest.approx(0.2)
    assert (run.metrics["n_trades"], run.metrics["win_rate"], run.metrics["profit_factor"]) == (2, 0.5, 5)


def test_the_metrics_that_were_logged_are_answered() -> None:
    run = Recorded()
    assert log_backtest_results(run, {"portfolio_values": VALUES}) == run.metrics != {}


def test_the_tags_say_which_metrics_were_computed_and_how() -> None:
    run = logged({"portfolio_values": VALUES, "metrics": {"sharpe_ratio": 9.0, "win_rate": 60.0}})
    computed = run.tags["agentnn.computed_metrics"].split(", ")
    assert set(computed) == run.metrics.keys() - {"sharpe_ratio", "win_rate"}
    assert run.tags["agentnn.metric_conventions"].startswith("252 periods, ddof 1, risk-free 0")


def test_nothing_computed_has_no_conventions() -> None:
    run = logged({"metrics": {"sharpe_ratio": 1.5}})
    assert (run.metrics, run.tags) == ({"sharpe_ratio": 1.5}, {})
    assert list(run.files) == ["backtest/results.json"]


def test_csv_keeps_every_digit() -> None:
    values = [0.1 + 0.2, 1e-300, 12345678.900000001, float(np.float32(0.1))]
    run = logged({"portfolio_values": np.array(values)})
    assert [float(row["value"]) for row in run.rows("portfolio_values")] == values
    frame = pd.read_csv(io.StringIO(run.files["backtest/portfolio_values.csv"]))
    assert frame["value"].tolist() == values


def test_the_arguments_stay_as_they_were() -> None:
    frame = pd.DataFrame({"value": [3.0, 1.0, 2.0]}, index=pd.to_datetime([DAYS[2], DAYS[0], DAYS[1]]))
    results = {"portfolio_values": frame, "trades": [{"pnl": np.float32(1), "at": None}], "metrics": {"a": {"b": 1}}}
    before = deepcopy(results)
    logged_with_warning(results, "order of time")
    pd.testing.assert_frame_equal(results["portfolio_values"], before["portfolio_values"])
    assert {**results, "portfolio_values": 0} == {**before, "portfolio_values": 0}


@pytest.mark.parametrize(("path", "file"), [("", "results.json"), ("test/fold-1/", "test/fold-1/results.json")])
def test_the_folder_can_be_chosen(path: str, file: str) -> None:
    assert list(logged({"metrics": {"a": 1}}, artifact_path=path).files) == [file]


@pytest.mark.parametrize("path", ["/etc", "../elsewhere", "a/../../b"])
def test_a_folder_outside_the_run_is_refused(path: str) -> None:
    refused({"metrics": {"a": 1}}, "leads out of the run", artifact_path=path)


def test_results_json_holds_everything_in_a_form_that_any_parser_reads() -> None:
    run = logged(
        {
            "metrics": {"a": np.int64(3)},
            "nothing": [None, math.nan, -math.inf, pd.NaT, pd.NA, np.datetime64("NaT")],
            "numbers": {"f": np.float32(0.5), "b": np.bool_(True), "array": np.arange(3), "big": 10**40},
            "times": [pd.Timestamp(DAYS[0]), np.datetime64(DAYS[1]), date(2024, 1, 3), pd.Timedelta("1 day")],
            "series": pd.Series([1.0], index=pd.to_datetime(DAYS[:1])),
            "plain_series": pd.Series([1.0, math.nan]),
            "frame": pd.DataFrame({"x": [1]}),
            datetime(2024, 1, 1, tzinfo=UTC): {1: (1, 2)},
            "strategy": Recorded,
        }
    )
    assert run.files["backtest/results.json"] == {
        "metrics": {"a": 3},
        "nothing": [None] * 6,
        "numbers": {"f": 0.5, "b": True, "array": [0, 1, 2], "big": 10**40},
        "times": ["2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-03", "1 days 00:00:00"],
        "series": [{"date": "2024-01-01T00:00:00", "value": 1.0}],
        "plain_series": [1.0, None],
        "frame": [{"x": 1}],
        "2024-01-01T00:00:00+00:00": {"1": [1, 2]},
        "strategy": str(Recorded),
    }


def test_results_that_hold_themselves_are_refused() -> None:
    results: dict[str, Any] = {"metrics": {"a": 1}}
    results["self"] = results
    refused(results, "holds itself")


# -- shapes ----------------------------------------------------------------------------------------------

_DATED = [(datetime.fromisoformat(day), value) for day, value in zip(DAYS, VALUES, strict=True)]
SHAPES: dict[str, Any] = {
    "list of dictionaries": [{"date": day, "value": value} for day, value in zip(DAYS, VALUES, strict=True)],
    "other names": [{"Timestamp": day, "cash": 1.0, "Portfolio Value": value} for day, value in _DATED],
    "pairs": _DATED,
    "dictionary by date": dict(_DATED),
    "dictionary by text": dict(zip(DAYS, VALUES, strict=True)),
    "dictionary of columns": {"date": [np.datetime64(day, "ns") for day in DAYS], "equity": np.array(VALUES)},
    "numpy dates": {"date": np.array(DAYS, dtype="datetime64[ns]"), "equity": VALUES},
    "vectorbt value()": pd.Series(VALUES, index=pd.DatetimeIndex(DAYS, name="Date"), name="group"),
    "series by date": pd.Series(VALUES, index=pd.DatetimeIndex(DAYS)),
    "periods": pd.Series(VALUES, index=pd.PeriodIndex(DAYS, freq="D")),
    "backtesting.py _equity_curve": pd.DataFrame(
        {
            "Equity": VALUES,
            "DrawdownPct": [0.0, 0.0, 0.1, 0.0],
            "DrawdownDuration": pd.to_timedelta([None, None, None, "2 days"]),
        },
        index=pd.DatetimeIndex(DAYS),
    ),
    "bt prices": pd.DataFrame({"my strategy": VALUES}, index=pd.DatetimeIndex(DAYS)),
    "frame with a column of dates": pd.DataFrame({"day": pd.to_datetime(DAYS), "close": VALUES, "volume": 1.0}),
    "nullable": pd.DataFrame({"date": pd.to_datetime(DAYS), "value": pd.array(VALUES, dtype="Float64")}),
}
UNDATED: dict[str, Any] = {
    "list of numbers": VALUES,
    "tuple": tuple(VALUES),
    "numpy": np.array(VALUES),
    "series": pd.Series(VALUES),
    "filtered series": pd.Series([0.0, *VALUES])[1:],
    "list of dictionaries": [{"step": step, "equity": value} for step, value in enumerate(VALUES)],
    "dictionary values": dict(_DATED).values(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_values_with_dates_are_read_from(shape: str) -> None:
    run = logged({"portfolio_values": SHAPES[shape]})
    assert run.metrics == performance_of_values(VALUES)
    assert json.loads(run.tags[EQUITY_CURVE_TAG]) == {"dates": [DAYS[0], DAYS[-1]], "values": VALUES}


@pytest.mark.parametrize("shape", UNDATED)
def test_values_without_dates_are_read_from(shape: str) -> None:
    run = logged({"portfolio_values": UNDATED[shape]})
    assert run.metrics == performance_of_values(VALUES)
    assert json.loads(run.tags[EQUITY_CURVE_TAG]) == {"dates": None, "values": VALUES}


def test_every_column_of_the_values_is_kept() -> None:
    run = logged({"portfolio_values": SHAPES["backtesting.py _equity_curve"]})
    assert run.rows("portfolio_values")[3] == {
        "date": "2024-01-04T00:00:00",
        "Equity": "120.0",
        "DrawdownPct": "0.0",
        "DrawdownDuration": "2 days 00:00:00",
    }
    assert run.files["backtest/portfolio_values.json"]["DrawdownDuration"][:3] == [None] * 3


def test_tensors_are_read() -> None:
    torch = pytest.importorskip("torch")
    run = logged({"portfolio_values": torch.tensor(VALUES), "metrics": {"loss": torch.tensor(0.5)}})
    assert run.metrics == {**performance_of_values(VALUES), "loss": 0.5}


def backtesting_py_trades() -> pd.DataFrame:
    """As backtesting.py's ``stats['_trades']``."""
    return pd.DataFrame(
        {
            "Size": [10, 5],
            "EntryBar": [0, 2],
            "ExitBar": [1, 3],
            "EntryPrice": [5.0, 9.9],
            "ExitPrice": [6.0, 9.0],
            "SL": [math.nan, math.nan],
            "TP": [math.nan, math.nan],
            "PnL": [10.0, -4.5],
            "Commission": [0.0, 0.0],
            "ReturnPct": [0.2, -0.09],
            "EntryTime": pd.to_datetime([DAYS[0], DAYS[2]]),
            "ExitTime": pd.to_datetime([DAYS[1], DAYS[3]]),
            "Duration": pd.to_timedelta(["1 day", "1 day"]),
            "Tag": [None, "exit"],
        }
    )


def test_the_trades_of_backtesting_py_by_hand() -> None:
    values = pd.Series(VALUES, index=pd.DatetimeIndex(DAYS))
    run = logged({"trades": backtesting_py_trades(), "portfolio_values": values})
    figures = {"n_trades": 2, "win_rate": 0.5, "profit_factor": 10 / 4.5, "exposure": 2 / 3}
    assert {name: run.metrics[name] for name in figures} == pytest.approx(figures)
    fills = 50 / 100 + 60 / 110 + 49.5 / 99 + 45 / 120
    assert run.metrics["turnover"] == pytest.approx(fills / 3 * 252)
    assert list(run.rows("trades")[0]) == list(backtesting_py_trades().columns)
    assert run.rows("trades")[1]["Tag"] == "exit"
    assert "by trade" in run.tags["agentnn.metric_conventions"]


def test_an_open_trade_of_vectorbt_has_neither_won_nor_been_sold() -> None:
    trades = pd.DataFrame(
        {
            "Exit Trade Id": [0, 1],
            "Size": [10.0, 5.0],
            "Entry Timestamp": pd.to_datetime([DAYS[0], DAYS[2]]),
            "Avg Entry Price": [5.0, 9.9],
            "Entry Fees": [0.0, 0.0],
            "Exit Timestamp": pd.to_datetime([DAYS[1], DAYS[3]]),
            "Avg Exit Price": [6.0, 9.0],
            "PnL": [10.0, -4.5],
            "Return": [0.2, -0.09],
            "Direction": ["Long", "Long"],
            "Status": ["Closed", "Open"],
        }
    )
    values = pd.Series(VALUES, index=pd.DatetimeIndex(DAYS))
    run = logged({"trades": trades, "portfolio_values": values})
    assert (run.metrics["n_trades"], run.metrics["win_rate"]) == (1, 1)
    assert "profit_factor" not in run.metrics
    assert run.metrics["exposure"] == pytest.approx(2 / 3)
    assert run.metrics["turnover"] == pytest.approx((50 / 100 + 60 / 110 + 49.5 / 99) / 3 * 252)


def test_the_transactions_of_bt_are_fills_and_no_trades() -> None:
    index = pd.MultiIndex.from_tuples(
        [(pd.Timestamp(DAYS[0]), "goog"), (pd.Timestamp(DAYS[2]), "goog")], names=["Date", "Security"]
    )
    transactions = pd.DataFrame({"price": [5.0, 9.9], "quantity": [10.0, -10.0]}, index=index)
    run = logged({"trades": transactions, "portfolio_values": SHAPES["bt prices"]})
    assert run.rows("trades")[0] == {
        "Date": "2024-01-01T00:00:00",
        "Security": "goog",
        "price": "5.0",
        "quantity": "10.0",
    }
    assert "n_trades" not in run.metrics
    assert run.metrics["win_rate"] == pytest.approx(2 / 3)
    assert "by period" in run.tags["agentnn.metric_conventions"]
    assert run.metrics["turnover"] == pytest.approx((50 / 100 + 99 / 99) / 3 * 252)


def test_bare_numbers_are_the_profits_of_trades() -> None:
    run = logged({"trades": [5.0, -2.0, 0.0, math.nan]})
    assert run.files["backtest/trades.csv"] == 'pnl\n5.0\n-2.0\n0.0\n""\n'
    assert run.metrics == {"n_trades": 3, "win_rate": pytest.approx(1 / 3), "profit_factor": 2.5}


def test_trades_may_lack_keys_and_come_as_columns() -> None:
    run = logged({"trades": [{"pnl": 1.0}, {"pnl": -1.0, "tag": "stop"}]})
    assert run.files["backtest/trades.csv"] == "pnl,tag\n1.0,\n-1.0,stop\n"
    assert logged({"trades": {"pnl": [1.0, -1.0], "tag": [None, "stop"]}}).files["backtest/trades.csv"] == (
        "pnl,tag\n1.0,\n-1.0,stop\n"
    )


@pytest.mark.parametrize("empty", [[], (), pd.DataFrame()], ids=repr)
def test_an_empty_list_of_trades_has_no_trade_metrics(empty: Any) -> None:
    run = logged({"trades": empty, "portfolio_values": VALUES})
    assert run.files["backtest/trades.csv"] == ""
    assert "backtest/trades.json" not in run.files
    assert not run.metrics.keys() & {"n_trades", "win_rate", "profit_factor", "exposure", "turnover"}
    assert "sharpe_ratio" in run.metrics


def test_an_empty_frame_of_trades_keeps_its_header() -> None:
    run = logged({"trades": backtesting_py_trades()[:0], "portfolio_values": VALUES})
    assert run.files["backtest/trades.csv"].startswith("Size,EntryBar,")
    assert run.files["backtest/trades.json"]["PnL"] == []
    assert "win_rate" not in run.metrics


def test_exposure_and_turnover_of_trades_are_those_of_the_positions_behind_them() -> None:
    rng = np.random.default_rng(7)
    returns, positions = rng.normal(0.001, 0.01, 300), np.repeat(rng.choice([0.0, 1.0], 60), 5)
    positions[-1] = 0
    result = backtest(positions, returns)
    capital = np.concatenate([[1.0], result.equity]) * 1e5
    days = pd.bdate_range("2020-01-01", periods=301)
    changes = np.diff(positions, prepend=0)
    trades = [
        {
            "size": capital[entry],
            "entry_price": 1.0,
            "exit_price": capital[leaving] / capital[entry],
            "entry_time": days[entry],
            "exit_time": days[leaving],
            "pnl": capital[leaving] - capital[entry],
        }
        for entry, leaving in zip(np.flatnonzero(changes > 0), np.flatnonzero(changes < 0), strict=True)
    ]
    run = logged({"trades": trades, "portfolio_values": pd.Series(capital, index=days)})
    expected = performance(result)
    for name in ("exposure", "turnover", "total_return", "sharpe_ratio", "max_drawdown", "max_drawdown_days"):
        assert run.metrics[name] == pytest.approx(expected[name], rel=1e-9), name


@pytest.mark.parametrize(
    ("entry", "leaving", "exposure"),
    [
        (DAYS[1], DAYS[1], 1 / 3),  # within a day
        (DAYS[0], DAYS[0], 0),  # on the day of the first value, before the first period
        (DAYS[0], DAYS[3], 1),
        (DAYS[2], None, 1 / 3),  # still open
        ("2023-06-01", "2024-01-02", 1 / 3),
        ("2025-01-01", "2025-01-02", 0),
        ("2024-01-01T12:00", "2024-01-02T12:00", 2 / 3),
    ],
)
def test_a_trade_is_held_from_its_entry_to_its_exit(entry: str, leaving: str | None, exposure: float) -> None:
    trades = [{"entry_time": entry, "exit_time": leaving, "pnl": 1.0}]
    run = logged({"trades": trades, "portfolio_values": SHAPES["pairs"]})
    assert run.metrics["exposure"] == pytest.approx(exposure)


def test_trades_whose_times_cannot_be_compared_with_the_values_have_no_exposure() -> None:
    trades = backtesting_py_trades()
    trades["EntryTime"] = trades["EntryTime"].dt.tz_localize("UTC")
    run = logged({"trades": trades, "portfolio_values": pd.Series(VALUES, index=pd.DatetimeIndex(DAYS))})
    assert not run.metrics.keys() & {"exposure", "turnover"}
    assert run.metrics["n_trades"] == 2


# -- metrics ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closes() -> pd.Series:
    """The S&P 500 from 1999 to 2018, 5031 days."""
    return sp500.load()["Adj Close"]


@pytest.mark.parametrize("name", EMPYRICAL)
def test_metrics_of_the_s_and_p_500_agree_with_empyrical_to_12_digits(name: str, closes: pd.Series) -> None:
    run = logged({"portfolio_values": closes})
    assert run.metrics[name] == pytest.approx(EMPYRICAL[name](closes.pct_change().dropna()), rel=1e-12)


def test_the_longest_drawdown_of_the_s_and_p_500_is_counted_in_days(closes: pd.Series) -> None:
    below = (closes < closes.cummax()).astype(int)
    longest = below.groupby((below == 0).cumsum()).sum().max()
    assert logged({"portfolio_values": closes}).metrics["max_drawdown_days"] == longest


def test_weekly_values_are_annualised_by_52(closes: pd.Series) -> None:
    weekly = closes.resample("W-FRI").last()
    run = logged({"portfolio_values": weekly})
    expected = empyrical.sharpe_ratio(weekly.pct_change().dropna(), annualization=52)
    assert run.metrics["sharpe_ratio"] == pytest.approx(expected, rel=1e-12)
    assert run.tags["agentnn.metric_conventions"].startswith("52 periods")
    assert "max_drawdown_days" not in run.metrics
    assert run.metrics["max_drawdown_periods"] > 100


def test_metrics_by_hand() -> None:
    run = logged({"portfolio_values": [100, 110, 99, 121]})
    returns = [0.1, -0.1, 121 / 99 - 1]
    mean = sum(returns) / 3
    deviation = math.sqrt(sum((one - mean) ** 2 for one in returns) / 2)
    assert run.metrics == pytest.approx(
        {
            "total_return": 0.21,
            "annual_return": 1.21 ** (252 / 3) - 1,
            "annual_volatility": deviation * math.sqrt(252),
            "sharpe_ratio": mean / deviation * math.sqrt(252),
            "sortino_ratio": mean / math.sqrt(0.01 / 3) * math.sqrt(252),
            "calmar_ratio": (1.21 ** (252 / 3) - 1) / 0.1,
            "max_drawdown": -0.1,
            "max_drawdown_days": 1,
            "win_rate": 2 / 3,
            "profit_factor": (0.1 + 121 / 99 - 1) / 0.1,
        }
    )


def test_values_and_the_positions_behind_them_have_the_same_figures() -> None:
    returns = np.random.default_rng(3).normal(0, 0.02, 400)
    result = backtest(np.ones(400), returns)
    expected = performance(result)
    figures = performance_of_values(np.concatenate([[1.0], result.equity]))
    assert figures == pytest.approx({name: expected[name] for name in figures}, rel=1e-9)
    assert expected.keys() - figures.keys() == {"exposure", "turnover"}


@pytest.mark.parametrize("growth", [1.001, 0.999, 1 / 3, 1.0])
def test_even_growth_has_no_sharpe_ratio_however_its_values_are_rounded(growth: float) -> None:
    figures = performance_of_values([100 * growth**day for day in range(50)])
    assert figures["annual_volatility"] == 0
    assert "sharpe_ratio" not in figures


def test_a_million_paid_once_and_never_touched() -> None:
    run = logged({"portfolio_values": [1e6] * 10})
    assert run.metrics == {
        "total_return": 0,
        "annual_return": 0,
        "annual_volatility": 0,
        "max_drawdown": 0,
        "max_drawdown_days": 0,
    }


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=30))
def test_every_metric_is_finite_whatever_the_values(values: list[float]) -> None:
    figures = performance_of_values(values)
    assert all(map(math.isfinite, figures.values()))
    assert figures.get("max_drawdown", 0) <= 0


def every(gap: timedelta, count: int = 40) -> list[datetime]:
    return [datetime(2024, 1, 1) + number * gap for number in range(count)]  # noqa: DTZ001


def bars_of(days: pd.DatetimeIndex, count: int) -> list[datetime]:
    return [day + pd.Timedelta(minutes=30 * bar) for day in days for bar in range(count)]


@pytest.mark.parametrize(
    ("dates", "periods"),
    [
        (None, 252),
        ([datetime(2024, 1, 1)], 252),  # noqa: DTZ001
        (list(pd.bdate_range("2024-01-01", periods=60)), 252),
        (list(sp500.load().index), 252),
        (every(timedelta(days=1)), 365),
        (every(timedelta(days=7)), 52),
        (every(timedelta(days=14)), 26),
        (list(pd.date_range("2020-01-31", periods=30, freq="ME")), 12),
        (list(pd.date_range("2020-01-31", periods=30, freq="BME")), 12),
        (list(pd.date_range("2020-01-31", periods=30, freq="QE")), 4),
        (list(pd.date_range("2000-12-31", periods=20, freq="YE")), 1),
        (every(timedelta(hours=1), 24 * 30), 24 * 365),
        (bars_of(pd.bdate_range("2024-01-01", periods=30), 13), 13 * 252),
    ],
)  # fmt: skip
def test_the_dates_tell_how_many_periods_make_a_year(dates: Any, periods: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert periods_per_year_of(dates) == periods


def test_dates_without_a_rhythm_are_taken_on_average_with_a_warning() -> None:
    dates = every(timedelta(days=3))
    run = logged_with_warning(
        {"portfolio_values": list(zip(dates, range(100, 140), strict=True))}, "121.75 periods a year"
    )
    assert run.tags["agentnn.metric_conventions"].startswith("121.75 periods")


def test_periods_per_year_can_be_given() -> None:
    dated = {"portfolio_values": SHAPES["pairs"]}
    assert logged(dated, periods_per_year=365).metrics == performance_of_values(VALUES, periods_per_year=365)
    for wrong in (0, -1, math.nan, math.inf):
        refused(dated, "periods_per_year must be positive", periods_per_year=wrong)


def test_given_metrics_are_logged_as_they_are() -> None:
    given_metrics = {
        "sharpe_ratio": np.float32(1.5),
        "max_drawdown": 20,
        "profitable": True,
        "sortino_ratio": math.nan,
        "profit_factor": math.inf,
        "risk": {"var": {"95": -0.02}},
    }
    metrics = logged({"portfolio_values": VALUES, "metrics": given_metrics}).metrics
    assert math.isnan(metrics.pop("sortino_ratio"))
    assert metrics["profitable"] == 1
    assert (metrics["sharpe_ratio"], metrics["max_drawdown"], metrics["profit_factor"]) == (1.5, 20, math.inf)
    assert metrics["risk.var.95"] == -0.02
    assert all(type(value) is float for value in metrics.values())


def test_a_series_of_metrics_is_read() -> None:
    assert logged({"metrics": pd.Series({"Sharpe Ratio": 1.5, "# Trades": 3})}).metrics == {
        "Sharpe Ratio": 1.5,
        "# Trades": 3,
    }


def test_a_metric_without_a_value_is_left_out_and_computed_where_it_can_be() -> None:
    run = logged_with_warning({"portfolio_values": VALUES, "metrics": {"beta": None, "sharpe_ratio": None}}, "beta")
    assert "beta" not in run.metrics
    assert run.metrics["sharpe_ratio"] == performance_of_values(VALUES)["sharpe_ratio"]


# -- what is odd -----------------------------------------------------------------------------------------


def test_values_that_are_not_in_the_order_of_time_are_sorted() -> None:
    run = logged_with_warning({"portfolio_values": _DATED[::-1]}, "not in the order of time")
    assert run.metrics == performance_of_values(VALUES)
    assert [row["value"] for row in run.rows("portfolio_values")] == ["100.0", "110.0", "99.0", "120.0"]


def test_of_rows_with_the_same_date_the_last_counts() -> None:
    dated = [*_DATED[:2], (_DATED[1][0], 105.0), *_DATED[2:]]
    run = logged_with_warning({"portfolio_values": dated}, "1 of 5 rows repeat a date, 2024-01-02")
    assert run.metrics == performance_of_values([100, 105, 99, 120])
    assert len(run.files["backtest/results.json"]["portfolio_values"]) == 5


def test_one_value_is_logged_without_metrics() -> None:
    run = logged_with_warning({"portfolio_values": [100.0], "metrics": {"a": 1}}, "one value")
    assert run.metrics == {"a": 1}
    assert run.tags == {}
    assert sorted(run.files) == [
        "backtest/portfolio_values.csv",
        "backtest/portfolio_values.json",
        "backtest/results.json",
    ]


@pytest.mark.parametrize("end", [[0.0, 0.0], [-20.0, 50.0]])
def test_after_ruin_only_what_is_defined_is_computed(end: list[float]) -> None:
    run = logged_with_warning({"portfolio_values": [100.0, 50.0, *end]}, "row 2: the account was ruined")
    assert len(run.rows("portfolio_values")) == 4
    assert run.metrics["total_return"] == end[-1] / 100 - 1
    assert run.metrics["max_drawdown"] == min(end) / 100 - 1
    assert not run.metrics.keys() & {"sharpe_ratio", "sortino_ratio", "annual_volatility", "win_rate"}
    assert all(map(math.isfinite, run.metrics.values()))


def test_profits_in_place_of_values_are_logged_without_metrics() -> None:
    run = logged_with_warning({"portfolio_values": [0.0, 5.0, 3.0]}, "If these are profits")
    assert run.metrics == {}
    assert "backtest/equity_and_drawdown.png" in run.files


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([1, 2], "a dictionary, not a list"),
        ({}, "hold nothing"),
        ({"equity": VALUES, "trades": None}, "hold equity, trades"),
        ({"portfolio_values": []}, "is empty"),
        ({"portfolio_values": pd.DataFrame()}, "is empty"),
        ({"portfolio_values": 5}, "can't be read: a int"),
        ({"portfolio_values": "100,101"}, "can't be read: a str"),
        ({"portfolio_values": [[1, 2, 3], [1, 2, 3]]}, "can't be read: a list of list"),
        ({"portfolio_values": np.ones((3, 3))}, "can't be read: a ndarray of list"),
        ({"portfolio_values": [100.0, math.nan, 102.0, math.nan]}, "2 of 4 values are missing .* row 1$"),
        ({"portfolio_values": [100.0, None]}, "1 of 2 values are missing"),
        ({"portfolio_values": [100.0, math.inf]}, "1 of 2 values .* not finite"),
        (
            {"portfolio_values": pd.Series([1.0, math.nan], index=pd.to_datetime(DAYS[:2]))},
            r"row 1 \(2024-01-02 00:00:00\)",
        ),
        ({"portfolio_values": [{"value": "100.0"}]}, "'100.0' in row 0 is not a number"),
        ({"portfolio_values": [{"date": "soon", "value": 1}]}, "'soon' in row 0 of 'date' is not a date"),
        ({"portfolio_values": [{"date": None, "value": 1}]}, "None in row 0 of 'date' is not a date"),
        ({"portfolio_values": [{"date": pd.NaT, "value": 1}]}, "NaT in row 0 of 'date' is not a date"),
        ({"portfolio_values": [{"time": 5, "value": 1}]}, "5 in row 0 of 'time' is not a date"),
        ({"portfolio_values": [("2024-01-01", 1), ("2024-01-02T00:00Z", 2)]}, "some dates .* time zone"),
        ({"portfolio_values": pd.DataFrame({"a": VALUES, "b": VALUES})}, "which column .* a, b"),
        ({"portfolio_values": {"date": DAYS, "value": VALUES[:3]}}, "different lengths: date 4, value 3"),
        ({"portfolio_values": pd.DataFrame([[1, 2]], columns=["value", "value"])}, "two columns are called 'value'"),
        ({"trades": "none"}, "'trades'.* can't be read: a str"),
        ({"trades": [[1, 2]]}, "'trades'.* can't be read: a list of list"),
        ({"trades": {"pnl": 5}}, "'pnl' is not a list"),
        ({"trades": [{"pnl": "5"}]}, "'5' in the column 'pnl'"),
        ({"metrics": [1.0]}, "'metrics'.* is a list"),
        ({"metrics": {"note": "good", "a": 1, "at": date(2024, 1, 1)}}, "'note' is 'good', 'at' is datetime.date"),
        ({"metrics": {"curve": [1, 2]}}, r"'curve' is \[1, 2\]"),
        ({"metrics": {"a.b": 1, "a": {"b": 2}}}, "two values for 'a.b'"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_logged(results: Any, message: str) -> None:
    refused(results, message)
    if isinstance(results, dict) and "metrics" not in results and results:
        refused({"metrics": {"fine": 1.0}, **results} if "equity" not in results else results, message)


# -- the curve in the tag --------------------------------------------------------------------------------


@example([1.0, 2.0, -1.0, 28e9, -14e9, *[0.0] * 7], 10)  # the peak of 2 is the highest of no stretch
@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=600), st.integers(7, 120))
def test_a_thinned_curve_keeps_its_ends_its_extremes_and_every_drawdown(values: list[float], count: int) -> None:
    places = EquityCurve(tuple(values)).landmarks(count)
    kept, falls = [values[place] for place in places], drawdowns(values)
    assert len(places) <= count
    assert places == sorted(set(places))
    assert (kept[0], kept[-1], min(kept), max(kept)) == (values[0], values[-1], min(values), max(values))
    np.testing.assert_array_equal(drawdowns(kept), [falls[place] for place in places])
    assert min(filter(math.isfinite, falls), default=0) == min(filter(math.isfinite, drawdowns(kept)), default=0)


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=400))
def test_the_tag_fits_where_tags_are_short_and_can_be_read_back(values: list[float]) -> None:
    text = sketch(EquityCurve(tuple(values)))
    read = read_sketch(text)
    assert len(text) < 5000
    assert read is not None
    assert read.values[0] == pytest.approx(values[0], rel=1e-9)
    assert read.dates is None


def test_the_tag_shows_the_time_of_day_only_where_there_is_one() -> None:
    hours = tuple(every(timedelta(hours=1), 3))
    read = read_sketch(sketch(EquityCurve((1.0, 2.0, 3.0), hours)))
    assert read is not None
    assert read.dates == ("2024-01-01T00:00:00", "2024-01-01T02:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "5", '"values"', "{}", '{"values": null}', '{"values": [1]}', '{"values": "123"}',
        '{"values": [1, "2", 3]}', '{"values": [1, null]}', '{"values": [1, NaN]}', '{"values": [1, 1e999]}',
        '{"values": [1, 1' + "0" * 400 + "]}", '{"values": {"a": 1, "b": 2}}', '{"values": [[1], [2]]}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_tag_that_is_no_curve_is_none(text: str) -> None:
    assert read_sketch(text) is None


# -- the whole -------------------------------------------------------------------------------------------


def test_logging_lists_and_dictionaries_loads_neither_pandas_nor_mlflow_nor_torch() -> None:
    code = (
        "import sys\n"
        "from agentnn.tracking.backtests.backtest_results import log_backtest_results\n"
        "class Run:\n"
        "    def __getattr__(self, name): return lambda *_: None\n"
        "before = set(sys.modules)\n"
        "log_backtest_results(Run(), {'metrics': {'a': 1}, 'trades': [{'pnl': 1}], 'portfolio_values': [1, 2, 3]})\n"
        "print('numpy' in before, *{'pandas', 'mlflow', 'torch', 'matplotlib.pyplot'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


class InMlflow:
    """A run in an MLflow store, written by MLflow's own client."""

    def __init__(self, uri: str, folder: Path) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(uri)
        experiment = self.client.create_experiment("backtests", artifact_location=str(folder))
        self.run_id = self.client.create_run(experiment).info.run_id

    def log_metrics(self, metrics: Any) -> None:
        for key, value in metrics.items():
            self.client.log_metric(self.run_id, key, value)

    def set_tags(self, tags: Any) -> None:
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def __getattr__(self, name: str) -> Any:
        return lambda what, file: getattr(self.client, name)(self.run_id, what, file)


@pytest.mark.filterwarnings("ignore:For backward compatibility, 'str' dtypes")
def test_mlflow_reads_the_tables_and_the_files(uri: str, tmp_path: Path, closes: pd.Series) -> None:
    run = InMlflow(uri, tmp_path / "artifacts")
    log_backtest_results(run, {"trades": backtesting_py_trades(), "portfolio_values": closes})
    files = {one.path for one in run.client.list_artifacts(run.run_id, "backtest")}
    assert {file.partition("/")[2] for file in files} == {
        "trades.csv", "trades.json", "portfolio_values.csv", "portfolio_values.json", "results.json",
        "equity_and_drawdown.png",
    }  # fmt: skip
    stored = run.client.get_run(run.run_id).data
    shown = json.loads(stored.tags["mlflow.loggedArtifacts"])
    assert shown == [
        {"path": "backtest/trades.json", "type": "table"},
        {"path": "backtest/portfolio_values.json", "type": "table"},
    ]
    path = run.client.download_artifacts(run.run_id, "backtest/portfolio_values.csv", str(tmp_path))
    read = pd.read_csv(path, index_col="Date", parse_dates=True)["value"]
    np.testing.assert_array_equal(read.to_numpy(), closes.to_numpy())
    assert list(read.index) == list(closes.index)
    assert stored.metrics["n_trades"] == 2
    image = Path(run.client.download_artifacts(run.run_id, "backtest/equity_and_drawdown.png", str(tmp_path)))
    assert image.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
