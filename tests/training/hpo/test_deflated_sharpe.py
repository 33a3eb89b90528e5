"""The deflated Sharpe ratio: the paper's own example, values by hand, and the best of many draws without skill."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.errors import UsageError
from agentnn.training.hpo.deflated_sharpe import (
    Returns,
    deflated_sharpe_ratio,
    effective_trials,
    expected_max_sharpe,
    probabilistic_sharpe_ratio,
)

DAYS = 250
PAPER = Returns(sharpe=2.5 / math.sqrt(DAYS), periods=1250, skewness=-3, kurtosis=10)


def test_the_example_of_the_paper():
    """A strategy with 2.5 a year over five years, the best of 100 whose ratios have the variance 1/2 a year."""
    expected = expected_max_sharpe(100, 0.5 / DAYS)
    assert expected == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe_ratio(PAPER, expected) == pytest.approx(0.9004, abs=5e-5)


def test_the_paper_s_other_numbers():
    """With N = 46 the same strategy would have passed: "should the strategist have tried 46", DSR ≈ 0.9505."""
    assert probabilistic_sharpe_ratio(PAPER, expected_max_sharpe(46, 0.5 / DAYS)) == pytest.approx(0.9505, abs=5e-5)


def test_all_of_it_at_once():
    spread = math.sqrt(0.5 / DAYS)
    around = np.array([-spread, spread]) / math.sqrt(2)  # two values with that variance, with n - 1
    found = deflated_sharpe_ratio(PAPER, around, trials=100)
    assert found.variance == pytest.approx(0.5 / DAYS)
    assert found.deflated == pytest.approx(0.9004, abs=5e-5)
    assert found.probabilistic > 0.999
    assert json.loads(json.dumps(found.to_dict()))["trials"] == 100


def test_by_hand():
    """Normal returns, SR 0.1 over 101 days against 0: Φ(0.1·10/√(1 + 0.01/2)) = Φ(0.99751) = 0.84074."""
    assert probabilistic_sharpe_ratio(Returns(0.1, 101)) == pytest.approx(0.84074, abs=2e-5)
    assert probabilistic_sharpe_ratio(Returns(0.1, 101), 0.1) == 0.5
    # Negative skewness and fat tails make the same ratio less certain: 1 + 2·0.1 + 9/4·0.01 = 1.2225, √ = 1.10567.
    assert probabilistic_sharpe_ratio(Returns(0.1, 101, -2, 10)) == pytest.approx(0.81712, abs=2e-5)


def test_the_moments_of_returns():
    """1, 2, 3, 10: mean 4, deviations -3, -2, -1, 6; m2 = 12.5, m3 = 45, m4 = 348.5; s² = 50/3."""
    found = Returns.of([1, 2, 3, 10])
    assert found.sharpe == pytest.approx(4 / math.sqrt(50 / 3))
    assert found.periods == 4
    assert found.skewness == pytest.approx(45 / 12.5**1.5)
    assert found.kurtosis == pytest.approx(348.5 / 12.5**2)


def test_the_moments_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(3).standard_t(4, 500) / 100
    found = Returns.of(values)
    assert found.skewness == pytest.approx(stats.skew(values))
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False))


@pytest.mark.parametrize(("trials", "tolerance"), [(10, 0.04), (100, 0.02), (1000, 0.01)])
def test_the_best_of_many_without_skill_is_what_is_expected(trials: int, tolerance: float):
    best = np.random.default_rng(0).normal(0, 2, (4000, trials)).max(axis=1).mean()
    assert expected_max_sharpe(trials, 4) == pytest.approx(best, rel=tolerance)


def test_a_study_without_skill_rarely_passes_and_its_best_trial_alone_always_would():
    """500 studies of 50 strategies that are pure noise: the best one looks certain, deflated it looks like chance."""
    rng = np.random.default_rng(1)
    alone, deflated = [], []
    for _ in range(500):
        returns = rng.normal(0, 0.01, (50, 250))
        sharpes = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
        found = deflated_sharpe_ratio(Returns.of(returns[sharpes.argmax()]), sharpes)
        alone.append(found.probabilistic)
        deflated.append(found.deflated)
    assert np.mean(np.array(alone) > 0.95) > 0.9
    assert np.mean(np.array(deflated) > 0.95) < 0.05
    assert np.median(deflated) == pytest.approx(0.5, abs=0.1)


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0, 10))
def test_more_trials_never_leave_more(few: float, many: float, variance: float):
    few, many = sorted((few, many))
    assert 0 <= expected_max_sharpe(few, variance) <= expected_max_sharpe(many, variance) + 1e-9


def test_one_trial_is_not_deflated():
    found = deflated_sharpe_ratio(PAPER, [PAPER.sharpe])
    assert (found.expected_max, found.variance, found.trials) == (0, 0, 1)
    assert found.deflated == found.probabilistic


def test_a_variance_that_is_not_known_is_not_taken_for_none():
    found = deflated_sharpe_ratio(PAPER, [PAPER.sharpe], trials=20)
    assert math.isnan(found.variance)
    assert math.isnan(found.deflated)
    assert found.probabilistic > 0.99
    assert found.to_dict()["deflated"] is None


def test_what_nothing_can_be_said_of():
    flat = Returns.of([0.01] * 10)
    assert math.isnan(flat.sharpe)
    found = deflated_sharpe_ratio(flat, [math.nan, 0.1, 0.2, math.inf])
    assert math.isnan(found.deflated)
    assert found.trials == 2
    assert found.to_dict()["deflated"] is None
    for wrong in ([], [0.1], [0.1, math.nan], [[0.1, 0.2]]):
        with pytest.raises(UsageError):
            Returns.of(wrong)
    with pytest.raises(UsageError):
        deflated_sharpe_ratio(PAPER, [])
    with pytest.raises(UsageError):
        probabilistic_sharpe_ratio(Returns(0.1, 1))
    with pytest.raises(UsageError):
        expected_max_sharpe(2, -1)


def test_how_many_trials_correlated_ones_amount_to():
    rng = np.random.default_rng(2)
    common, own = rng.normal(size=20_000), rng.normal(size=(10, 20_000))
    assert effective_trials(own) == pytest.approx(10, abs=0.1)
    assert effective_trials(np.array([common] * 10)) == pytest.approx(1)
    half = common + own  # correlation 1/2 with each other
    assert effective_trials(half) == pytest.approx(0.5 + 0.5 * 10, abs=0.2)
    assert effective_trials([*own[:2], np.zeros(20_000)]) == pytest.approx(2, abs=0.1)
    assert effective_trials(own[:1]) == 1
    with pytest.raises(UsageError):
        effective_trials([])
