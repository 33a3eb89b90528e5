"""Permutation importance, beside scikit-learn's and what it must be by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

from agentnn.errors import UsageError
from agentnn.tracking.capture.importance import feature_importance

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2000, 3))
Y = 3 * X[:, 0] - X[:, 1]


def by_name(found: Any) -> dict[str, float]:
    return {one.name: one.mean for one in found.features}


def test_a_linear_model_s_importance_is_twice_the_squared_weight():
    found = feature_importance(lambda samples: 3 * samples[:, 0] - samples[:, 1], X, Y, repeats=10)
    assert (found.method, found.score, found.baseline) == ("permutation", "neg_mean_squared_error", 0.0)
    assert [one.name for one in found.features] == ["0", "1", "2"]
    means = by_name(found)
    assert means["0"] == pytest.approx(18, rel=0.1)
    assert means["1"] == pytest.approx(2, rel=0.1)
    assert means["2"] == 0.0


@pytest.mark.parametrize(
    ("model", "targets", "scoring"),
    [
        (LinearRegression(), Y + RNG.normal(size=2000), "neg_mean_squared_error"),
        (RandomForestRegressor(10, max_depth=5, random_state=0), Y**2, "neg_mean_squared_error"),
        (LogisticRegression(), (Y > 0).astype(int), "accuracy"),
    ],
    ids=["linear", "forest", "classes"],
)
def test_it_is_that_of_scikit_learn(model: Any, targets: np.ndarray, scoring: str):
    model.fit(X, targets)
    found = feature_importance(model, X, targets, repeats=20)
    expected = permutation_importance(model, X, targets, scoring=scoring, n_repeats=20, random_state=1)
    assert found.score == scoring
    means = by_name(found)
    for place in range(3):
        spread = expected.importances_std[place]
        assert means[str(place)] == pytest.approx(expected.importances_mean[place], abs=3 * spread + 1e-12)
    deviations = {one.name: one.std for one in found.features}
    assert deviations["0"] == pytest.approx(expected.importances_std[0], rel=0.8)


def test_the_same_seed_gives_the_same_answer():
    first, again, other = (feature_importance(np.sum, X, Y, score=_by_sum, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.score == "_by_sum"
    model = LinearRegression().fit(X, Y)
    assert by_name(feature_importance(model, X, Y, seed=1)) != by_name(feature_importance(model, X, Y, seed=2))
    assert other.samples == 2000


def _by_sum(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(predicted) - float(truth.sum())


def test_a_module_is_asked_at_rest_and_stays_as_it_was():
    model = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.9), nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight[:] = torch.tensor([[3.0, -1.0, 0.0]])
        model[0].bias[:] = 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    inputs, targets = torch.from_numpy(X), torch.from_numpy(Y)[:, None]
    means = by_name(feature_importance(model, inputs, targets, feature_names=["a", "b", "c"]))
    assert means["a"] == pytest.approx(18, rel=0.1)
    assert means["c"] == 0.0
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(one.training for one in model.modules())


def test_a_feature_of_a_window_is_shuffled_as_a_whole():
    windows = RNG.normal(size=(300, 6, 2))

    def spread_of_the_first(samples: np.ndarray) -> np.ndarray:
        return samples[:, :, 0].max(axis=1) - samples[:, :, 0].min(axis=1)

    seen: list[np.ndarray] = []

    def watched(samples: np.ndarray) -> np.ndarray:
        seen.append(samples)
        return spread_of_the_first(samples)

    means = by_name(feature_importance(watched, windows, spread_of_the_first(windows), repeats=1))
    assert means["0"] > 0
    assert means["1"] == 0
    ours = {tuple(window) for window in windows[:, :, 0]}
    assert all(tuple(window) in ours for samples in seen for window in samples[:, :, 0])


def test_an_estimator_that_knows_names_is_given_a_frame(recwarn: pytest.WarningsRecorder):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = LinearRegression().fit(frame, Y)
    means = by_name(feature_importance(model, frame, pd.Series(Y)))
    assert means["a"] == pytest.approx(18, rel=0.1)
    assert not [one for one in recwarn if "feature names" in str(one.message)]


def test_logits_of_classes_are_judged_by_accuracy():
    found = feature_importance(
        lambda samples: np.stack([-samples[:, 0], samples[:, 0]], 1), X, (X[:, 0] > 0).astype(int)
    )
    assert (found.score, found.baseline) == ("accuracy", 1.0)
    assert by_name(found)["0"] == pytest.approx(0.5, abs=0.05)


def test_what_a_model_says_of_itself():
    forest = RandomForestRegressor(5, max_depth=3, random_state=0).fit(X, Y)
    found = feature_importance(forest, X, Y, method="model")
    assert by_name(found) == {str(place): value for place, value in enumerate(forest.feature_importances_)}
    linear = feature_importance(LinearRegression().fit(X, Y), X, Y, method="model")
    assert by_name(linear)["0"] == pytest.approx(3)
    with pytest.raises(UsageError, match="says nothing"):
        feature_importance(nn.Linear(3, 1), X, Y, method="model")


def test_large_data_are_sampled_and_features_without_time_are_named():
    sampled = feature_importance(lambda samples: samples[:, 0], X, Y, most_samples=50)
    assert sampled.samples == 50
    late = feature_importance(lambda samples: samples[:, 0], X, Y, timeout_s=-1)
    assert (late.features, late.left_out) == ((), ("0", "1", "2"))


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="2000 samples and 3 targets"):
        feature_importance(len, X, Y[:3])
    with pytest.raises(UsageError, match="at least two axes"):
        feature_importance(len, X[:, 0], Y)
    with pytest.raises(UsageError, match="predictions of shape"):
        feature_importance(lambda samples: samples, X, Y)
    with pytest.raises(UsageError, match="can't predict"):
        feature_importance({}, X, Y)
