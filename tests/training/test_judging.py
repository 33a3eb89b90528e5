"""Predictions to errors, positions and a backtest; empyrical is the authority on the figures."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import empyrical
import numpy as np
import pytest
import torch
from torch import nn

from agentnn.config.loader import load_config
from agentnn.config.schema import BacktestSection, Config
from agentnn.errors import ConfigError, TrainingError
from agentnn.training.data.datasets import Dataset, Part
from agentnn.training.judging import judge
from agentnn.training.trading import (
    positions_of_probabilities,
    positions_of_returns,
    say_if_the_rhythm_is_another,
    trades_of,
    why_not_traded,
)

DAYS = 300


class Says(nn.Module):
    """Gives the last feature, or as many of the features as there are outputs."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, -1, : self.outputs]


def config(**sections: Any) -> Config:
    return load_config(sections)


def dataset(task: str = "direction", loss: str = "bce", *, seed: int = 0, prices: bool = True) -> Dataset:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(DAYS, 2, 3)).astype(np.float32)
    returns = rng.normal(0.0005, 0.01, DAYS)
    targets = {"direction": returns > 0, "return": returns, "regression": returns, "classification": returns > 0}[task]
    dates = np.arange(DAYS).astype("datetime64[D]") + np.timedelta64(18_000, "D")
    kind = np.int64 if loss == "cross_entropy" else np.float32
    part = Part(dates, inputs, targets.astype(kind)[:, None], returns if prices else None, dates + 1)
    return Dataset("toy", ("a", "b", "c"), part, part, part, None, "0", task, loss)  # type: ignore[arg-type]


def held(positions: np.ndarray, returns: np.ndarray, cost: float) -> np.ndarray:
    """Net returns day by day, as one would do it by hand."""
    before, net = 0.0, []
    for position, change in zip(positions, returns, strict=True):
        net.append(position * change - cost * abs(position - before))
        before = position
    return np.array(net)


@pytest.mark.parametrize("risk_free", [0.0, 0.03, -0.01])
@pytest.mark.parametrize("periods", [252, 52])
@pytest.mark.parametrize("rule", ["long_flat", "long_short", "proportional"])
def test_the_figures_are_those_of_empyrical(rule: str, periods: int, risk_free: float):
    data = dataset()
    settings = {"position_rule": rule, "periods_per_year": periods, "risk_free_rate": risk_free, "threshold": 0.55}
    judged = judge(Says(), data, "test", config(backtest={**settings, "cost_per_turnover": 0.001}))
    up = 1 / (1 + np.exp(-data.test.inputs[:, -1, 0].astype(np.float64)))
    down = 1 - up
    positions = {
        "long_flat": np.where(up >= 0.55, 1.0, 0.0),
        "long_short": np.where(up >= 0.55, 1.0, np.where(down >= 0.55, -1.0, 0.0)),
        "proportional": np.where((up >= 0.55) | (down >= 0.55), up - down, 0.0),
    }[rule]
    assert data.test.next_returns is not None
    net = held(positions, data.test.next_returns, 0.001)
    assert judged.returns is not None
    np.testing.assert_allclose(judged.returns, net, atol=1e-9)
    a_period = (1 + risk_free) ** (1 / periods) - 1
    metrics, year = judged.metrics, {"annualization": periods}
    for name, expected in {
        "sharpe_ratio": empyrical.sharpe_ratio(net, risk_free=a_period, **year),
        "sortino_ratio": empyrical.sortino_ratio(net, required_return=a_period, **year),
        "max_drawdown": empyrical.max_drawdown(net),
        "annual_return": empyrical.annual_return(net, **year),
        "annual_volatility": empyrical.annual_volatility(net, **year),
        "calmar_ratio": empyrical.calmar_ratio(net, **year),
        "total_return": empyrical.cum_returns_final(net),
    }.items():
        assert metrics[name] == pytest.approx(expected, rel=1e-6), name
    assert ("max_drawdown_days" in metrics) == (periods == 252)


def test_the_loss_and_the_accuracy_are_those_of_torch():
    data = dataset()
    judged = judge(Says(), data, "validation", config())
    outputs, truth = torch.tensor(data.test.inputs[:, -1, 0]), torch.tensor(data.test.targets[:, 0])
    expected = nn.functional.binary_cross_entropy_with_logits(outputs, truth)
    assert judged.errors["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert judged.errors["accuracy"] == pytest.approx(((outputs > 0) == (truth > 0.5)).float().mean().item())
    np.testing.assert_allclose(judged.predictions, torch.sigmoid(outputs.double()).numpy())


def test_two_classes_are_traded_by_the_probability_of_the_second():
    data = dataset(loss="cross_entropy")
    judged = judge(Says(2), data, "test", config(model={"output_dim": 2}))
    logits = torch.tensor(data.test.inputs[:, -1, :2]).double()
    up = torch.softmax(logits, dim=-1)[:, 1].numpy()
    assert judged.traded is not None
    np.testing.assert_array_equal(judged.traded.positions, up >= 0.5)
    assert judged.errors["accuracy"] == pytest.approx((logits.argmax(dim=1).numpy() == data.test.targets[:, 0]).mean())


def test_returns_are_traded_by_their_sign_and_measured_by_their_size():
    data = dataset("return", "mse")
    judged = judge(Says(), data, "test", config(backtest={"position_rule": "long_short"}))
    said = data.test.inputs[:, -1, 0].astype(np.float64)
    assert judged.traded is not None
    np.testing.assert_array_equal(judged.traded.positions, np.sign(said))
    assert judged.errors["mae"] == pytest.approx(np.abs(said - data.test.targets[:, 0]).mean(), rel=1e-6)
    assert judged.errors["rmse"] == pytest.approx(np.sqrt(((said - data.test.targets[:, 0]) ** 2).mean()), rel=1e-6)


def test_of_several_quantiles_the_one_nearest_to_the_median_counts():
    data = dataset("return", "quantile")
    params = {"loss_params": {"quantiles": [0.1, 0.4, 0.9]}}
    judged = judge(Says(3), data, "test", config(model={"output_dim": 3}, training={"params": params}))
    assert judged.predictions.shape == (DAYS, 3)
    np.testing.assert_allclose(judged.point, data.test.inputs[:, -1, 1], rtol=1e-6)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 1)).train()
    before = torch.random.get_rng_state()
    first, second = (judge(model, dataset(), "test", config()) for _ in range(2))
    np.testing.assert_array_equal(first.predictions, second.predictions)
    assert model.training
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_prediction_that_is_not_finite_is_a_failure():
    data = dataset()
    data.test.inputs[3, -1, 0] = np.nan
    with pytest.raises(TrainingError, match="1 predictions of the test part are not finite"):
        judge(Says(), data, "test", config())


def test_what_is_a_column_is_traded_only_when_that_is_said():
    data = dataset("regression", "mse")
    assert "what is predicted is a column" in why_not_traded(data, BacktestSection())
    assert judge(Says(), data, "test", config()).traded is None
    said = config(backtest={"params": {"trade_target": True}})
    assert judge(Says(), data, "test", said).traded is not None
    assert why_not_traded(data, BacktestSection(enabled=False)) == "backtest.enabled is false"


@pytest.mark.parametrize(
    ("data", "rule", "message"),
    [
        (dataset("return", "mse"), {"threshold": 0.6}, "it is a probability"),
        (dataset(), {"threshold": 0.4, "position_rule": "long_short"}, "could both be true"),
        (dataset(), {"params": {"trade_targets": True}}, "backtest.params.trade_targets is unknown"),
        (dataset(prices=False), {}, "a backtest needs prices"),
        (dataset("classification", "cross_entropy"), {"params": {"trade_target": True}}, "of several classes"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(data: Dataset, rule: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message) as raised:
        why_not_traded(data, BacktestSection(**rule))
    assert raised.value.hint


@pytest.mark.parametrize(("days", "warns"), [(1, False), (7, True), (30, True)])
def test_figures_of_a_year_of_another_length_are_warned_of(days: int, warns: bool):
    data = dataset()
    spread = replace(data.test, dates=data.test.dates[0] + np.arange(DAYS) * np.timedelta64(days, "D"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        say_if_the_rhythm_is_another(replace(data, test=spread), BacktestSection())
    assert bool(caught) is warns
    if warns:
        assert "and backtest.periods_per_year is 252" in str(caught[0].message)


def test_positions_by_hand():
    up = np.array([0.0, 0.3, 0.5, 0.6, 1.0])
    for rule, threshold, expected in (
        ("long_flat", 0.5, [0, 0, 1, 1, 1]),
        ("long_flat", 0.7, [0, 0, 0, 0, 1]),
        ("long_short", 0.5, [-1, -1, 1, 1, 1]),
        ("long_short", 0.65, [-1, -1, 0, 0, 1]),
        ("proportional", 0.5, [-1, -0.4, 0, 0.2, 1]),
        ("proportional", 0.65, [-1, -0.4, 0, 0, 1]),
    ):
        section = BacktestSection(position_rule=rule, threshold=threshold)
        np.testing.assert_allclose(positions_of_probabilities(up, section), expected, atol=1e-12)
    returns = np.array([-0.03, -0.005, 0.0, 0.02])
    for rule, expected in (
        ("long_flat", [0, 0, 0, 1]),
        ("long_short", [-1, -1, 0, 1]),
        ("proportional", [-1, -0.5, 0, 1]),
    ):
        section = BacktestSection(position_rule=rule)
        np.testing.assert_allclose(positions_of_returns(returns, section, 0.01), expected, atol=1e-12)


def test_trades_are_what_was_held_from_day_to_day():
    data = dataset()
    rule = config(backtest={"position_rule": "long_short", "threshold": 0.6, "initial_capital": 1000.0})
    judged = judge(Says(), data, "test", rule)
    assert judged.traded is not None
    trades, traded = trades_of(judged.traded, data.test), judged.traded
    assert sum(one["periods"] for one in trades) == np.count_nonzero(traded.positions)
    assert {one["direction"] for one in trades} == {"long", "short"}
    assert [one["status"] for one in trades[:-1]] == ["Closed"] * (len(trades) - 1)
    first = trades[0]
    start = int(np.flatnonzero(data.test.dates == np.datetime64(first["entry_time"]))[0])
    assert traded.positions[start]
    assert first["return"] == pytest.approx(np.prod(1 + traded.returns[start : start + first["periods"]]) - 1)
    assert traded.equity[0] == 1000.0
    leaving = traded.returns[traded.positions == 0]  # the cost of leaving falls on the day after
    left = sum(traded.equity[:-1][traded.positions == 0] * leaving)
    assert sum(one["pnl"] for one in trades) + left == pytest.approx(traded.equity[-1] - 1000.0)


def test_buying_and_holding_is_on_the_same_days_with_one_entry():
    data = dataset()
    judged = judge(Says(), data, "test", config(backtest={"cost_per_turnover": 0.01}))
    assert judged.traded is not None
    assert data.test.next_returns is not None
    net = data.test.next_returns.copy()
    net[0] -= 0.01
    assert judged.traded.buy_and_hold["total_return"] == pytest.approx(empyrical.cum_returns_final(net))


def test_the_parts_are_judged_by_themselves():
    data = dataset()
    half = replace(data, test=data.test.slice(slice(0, 100)))
    assert len(judge(Says(), half, "test", config()).predictions) == 100
    assert len(judge(Says(), half, "validation", config()).predictions) == DAYS
