"""The definition of the guided first use."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentnn.errors import UsageError
from agentnn.tracking.backtests.backtest import backtest, performance
from agentnn.training.data.prices import load_prices
from agentnn.training.networks import Network, NetworkConfig
from agentnn.training.quickstart import (
    CANDIDATES,
    COST_PER_TURNOVER,
    Candidate,
    Progress,
    Study,
    buy_and_hold,
    choose_champion,
    long_or_flat,
    save_candidate_model,
    train_candidates,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.config.schema import Config

TEST_METRICS = {"total_return", "annual_return", "annual_volatility", "max_drawdown", "max_drawdown_days"}


def shortened(name: str) -> dict[str, Config]:
    config = CANDIDATES[name]
    return {name: config.model_copy(update={"training": config.training.model_copy(update={"epochs": 3})})}


@pytest.fixture(scope="module")
def progress() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def trained(progress: list[Progress]) -> list[Candidate]:
    chosen = shortened("mlp-window") | shortened("gru-small")
    return list(train_candidates(progress.append, candidates=chosen))


def test_there_is_a_choice() -> None:
    assert len(CANDIDATES) >= 8
    assert {config.model.family for config in CANDIDATES.values()} == {"mlp", "gru"}
    assert len({config.training.seed for config in CANDIDATES.values()}) > 1
    assert len({config.training.learning_rate for config in CANDIDATES.values()}) > 1
    assert len({json.dumps(config.to_dict()) for config in CANDIDATES.values()}) == len(CANDIDATES)


def test_every_epoch_is_in_the_history(trained: list[Candidate]) -> None:
    for candidate in trained:
        assert [(m.key, m.step) for m in candidate.history] == [
            (key, step) for step in (1, 2, 3) for key in ("train_loss", "val_loss")
        ]
        assert all(candidate.start_time <= m.timestamp <= candidate.end_time for m in candidate.history)
        best = min(m.value for m in candidate.history if m.key == "val_loss")
        assert candidate.metrics["best_val_loss"] == best


def test_params_say_what_was_done(trained: list[Candidate]) -> None:
    mlp, gru = trained
    assert (mlp.params["family"], gru.params["family"]) == ("mlp", "gru")
    assert mlp.params["window"] == 5
    assert mlp.params["embargo_days"] == 30
    assert mlp.params["cost_per_turnover"] == 0.0005
    assert mlp.params["learning_rate"] == 3e-4
    assert gru.params["n_parameters"] == sum(p.numel() for p in gru.network.parameters())
    assert mlp.params["train_end"] < mlp.params["validation_start"] < mlp.params["test_start"]
    json.dumps([mlp.params, gru.params, mlp.metrics, gru.metrics], allow_nan=False)


def test_metrics_are_those_of_the_test_days(trained: list[Candidate]) -> None:
    study = Study.load()
    for candidate in trained:
        samples = study.samples.last(candidate.network.config.window).part(study.split.test)
        positions = long_or_flat(candidate.network.probabilities(samples.inputs))
        expected = performance(backtest(positions, samples.next_returns, COST_PER_TURNOVER))
        assert expected.items() <= candidate.metrics.items()


def test_all_are_compared_on_the_same_days(trained: list[Candidate]) -> None:
    days = [key for key in trained[0].params if key.endswith(("_start", "_end", "_days"))]
    assert len(days) == 10
    for candidate in (*trained, buy_and_hold()):
        assert [candidate.params[key] for key in days] == [trained[0].params[key] for key in days]


def test_progress_goes_forward(trained: list[Candidate], progress: list[Progress]) -> None:
    assert [(p.name, p.epoch) for p in progress] == [(c.name, e) for c in trained for e in (1, 2, 3)]
    fractions = [p.fraction for p in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_training_does_not_see_the_test_part(trained: list[Candidate], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other prices in the test part change its figures, and nothing that training or the choice uses."""
    prices = load_prices()
    start = int(np.flatnonzero(prices.dates == np.datetime64(trained[0].params["test_start"]))[0])
    tampered = {name: getattr(prices, name).copy() for name in ("open", "high", "low", "close")}
    for values in tampered.values():
        values[start + 1 :] *= np.linspace(1.0, 3.0, len(values) - start - 1)
    other = dataclasses.replace(prices, **tampered)
    monkeypatch.setattr("agentnn.training.quickstart.load_prices", lambda: other)
    again = next(train_candidates(candidates=shortened("mlp-window")))
    losses = [[m.value for m in candidate.history] for candidate in (trained[0], again)]
    assert losses[0] == losses[1]
    assert again.metrics.get("validation_sharpe_ratio") == trained[0].metrics.get("validation_sharpe_ratio")
    assert again.metrics["total_return"] != trained[0].metrics["total_return"]


def test_buy_and_hold_by_hand() -> None:
    baseline, prices = buy_and_hold(), load_prices()
    days = [str(day) for day in prices.dates]
    first, last = days.index(baseline.params["test_start"]), days.index(baseline.params["test_end"])
    entry = prices.close[first + 1] / prices.close[first] - COST_PER_TURNOVER
    expected = entry * prices.close[last + 1] / prices.close[first + 1] - 1
    assert baseline.metrics["total_return"] == pytest.approx(expected, rel=1e-12)
    assert days[last + 1] == "2008-10-14"
    assert baseline.metrics["exposure"] == 1
    assert baseline.network is None
    assert TEST_METRICS | {"sharpe_ratio", "validation_sharpe_ratio"} <= baseline.metrics.keys()
    assert baseline.history == ()


def test_long_or_flat() -> None:
    np.testing.assert_array_equal(long_or_flat(np.array([0.2, 0.5, 0.51], dtype=np.float32)), [0, 0, 1])


class ValidationOnly(Mapping[str, float]):
    """Metrics that fail the test when one of the test part is read."""

    def __init__(self, **metrics: float) -> None:
        self.metrics = metrics

    def __getitem__(self, key: str) -> float:
        assert key in ("validation_sharpe_ratio", "best_val_loss"), f"the choice looked at {key}"
        return self.metrics[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the choice looked at every metric")

    def __len__(self) -> int:
        return len(self.metrics)


def candidate(name: str, **metrics: float) -> Candidate:
    network = Network(NetworkConfig("mlp", 1))
    return Candidate(name, {}, ValidationOnly(**metrics), start_time=0, end_time=1, network=network)


def test_the_champion_is_chosen_by_validation_alone() -> None:
    lucky = candidate("lucky", validation_sharpe_ratio=0.5, best_val_loss=0.60, sharpe_ratio=9.0)
    sound = candidate("sound", validation_sharpe_ratio=1.5, best_val_loss=0.69, sharpe_ratio=-1.0)
    assert choose_champion([lucky, sound]) is sound
    assert choose_champion([sound, lucky]) is sound


def test_ties_flat_networks_and_baselines() -> None:
    worse = candidate("worse", validation_sharpe_ratio=1.0, best_val_loss=0.69)
    better = candidate("better", validation_sharpe_ratio=1.0, best_val_loss=0.68)
    twin = candidate("twin", validation_sharpe_ratio=1.0, best_val_loss=0.68)
    flat = candidate("flat", best_val_loss=0.1)
    baseline = dataclasses.replace(candidate("baseline", validation_sharpe_ratio=9.0), network=None)
    assert choose_champion([baseline, flat, worse, better, twin]) is better
    assert choose_champion([flat, baseline]) is flat
    with pytest.raises(UsageError, match="no network"):
        choose_champion([baseline])


def test_the_saved_model_predicts_as_the_network(trained: list[Candidate], tmp_path: Path) -> None:
    import mlflow

    for each in trained:
        save_candidate_model(each, tmp_path / each.name)
        loaded = mlflow.pyfunc.load_model(str(tmp_path / each.name))
        expected = each.network.probabilities(each.input_example)
        np.testing.assert_array_equal(loaded.predict(each.input_example), expected)
        requirements = (tmp_path / each.name / "requirements.txt").read_text()
        assert "torch==" in requirements
        assert "+cpu" not in requirements


def test_a_baseline_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no network"):
        save_candidate_model(buy_and_hold(), tmp_path / "model")
    assert not (tmp_path / "model").exists()
