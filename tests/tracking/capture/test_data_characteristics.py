"""Distributions, scalers and drift, beside numpy, pandas, scipy and scikit-learn."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, QuantileTransformer, RobustScaler, StandardScaler

from agentnn.errors import UsageError
from agentnn.tracking.capture import sampling
from agentnn.tracking.capture.data_characteristics import describe_data, scaler_parameters
from agentnn.values.logged import json_text

RNG = np.random.default_rng(7)
VALUES = RNG.normal(3, 2, (200, 3))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (VALUES, "ndarray"),
        (pd.DataFrame(VALUES, columns=["0", "1", "2"]), "DataFrame"),
        (torch.from_numpy(VALUES), "Tensor"),
        (torch.nn.Parameter(torch.from_numpy(VALUES)), "Parameter"),
        (VALUES.tolist(), "list"),
        ({str(place): VALUES[:, place] for place in range(3)}, "dict"),
        (VALUES.reshape(20, 10, 3), "ndarray"),
        (sparse.csr_matrix(VALUES), "csr_matrix"),
    ],
    ids=["array", "frame", "tensor", "parameter", "list", "dict", "windows", "sparse"],
)
def test_every_kind_of_data_has_the_statistics_of_pandas(data: Any, kind: str):
    found = describe_data(data).inputs
    assert (found.kind, found.rows, found.looked_at, found.features) == (kind, 200, 200, 3)
    expected = pd.DataFrame(VALUES).describe(percentiles=[0.05, 0.25, 0.5, 0.75, 0.95])
    for place, one in enumerate(found.distributions):
        told = [one.count, one.mean, one.std, one.min, one.p05, one.p25, one.p50, one.p75, one.p95, one.max]
        assert told == pytest.approx(expected[place].tolist())
        counts, edges = np.histogram(VALUES[:, place], bins=30)
        assert one.counts == tuple(counts)
        assert one.edges == pytest.approx(edges)


def test_missing_and_infinite_values_are_counted_and_left_out_of_the_rest():
    column = np.array([1.0, np.nan, np.inf, 2.0, -np.inf, np.nan, 3.0])
    [one] = describe_data(column[:, None]).inputs.distributions
    assert (one.count, one.missing, one.infinite, one.unique) == (5, 2, 2, 5)
    assert (one.mean, one.std, one.min, one.max) == (2.0, 1.0, 1.0, 3.0)
    [empty] = describe_data(np.full((3, 1), np.nan)).inputs.distributions
    assert (empty.count, empty.missing, empty.mean, empty.counts) == (0, 3, None, ())


def test_columns_of_every_type():
    frame = pd.DataFrame(
        {
            "price": pd.array([1, None, 3], dtype="Int64"),
            "up": [True, False, True],
            "side": ["buy", "sell", None],
            "day": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "kind": pd.Categorical(["a", "a", "b"]),
        }
    )
    found = describe_data(frame)
    price, up, side, day, kind = found.inputs.distributions
    assert (price.missing, price.mean) == (1, 2.0)
    assert (up.mean, dict(up.values)) == (pytest.approx(2 / 3), {"0": 1, "1": 2})
    assert (side.missing, side.unique, dict(side.values)) == (1, 2, {"buy": 1, "sell": 1})
    assert (day.missing, day.unique, kind.unique) == (1, 2, 2)
    assert found.inputs.missing == 3
    assert found.inputs.dtypes["Int64"] == 1
    json.loads(json_text(found.to_dict()))


@pytest.mark.parametrize("data", [np.zeros((0, 3)), np.zeros((4, 0)), np.ones((1, 1)), np.full((5, 1), 1e308)])
def test_the_edges_of_what_can_be_described(data: np.ndarray):
    found = describe_data(data)
    assert found.inputs.shape == data.shape
    json.loads(json_text(found.to_dict()))


def test_values_so_far_apart_that_no_bin_holds_them():
    [one] = describe_data(np.array([[-1.7e308], [1.7e308]])).inputs.distributions
    assert (one.counts, one.min, one.max) == ((), -1.7e308, 1.7e308)


def test_half_precision_of_torch():
    [one] = describe_data(torch.tensor([[1.0], [3.0]], dtype=torch.bfloat16)).inputs.distributions
    assert one.mean == 2.0


def test_large_data_are_sampled_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampling, "MOST_CELLS", 300)
    first, again, other = (describe_data(VALUES, seed=seed).inputs for seed in (1, 1, 2))
    assert (first.rows, first.looked_at) == (200, 100)
    assert first.distributions == again.distributions
    assert first.distributions != other.distributions
    windows = describe_data(torch.from_numpy(VALUES.reshape(20, 10, 3)), seed=1).inputs
    assert (windows.rows, windows.looked_at) == (200, 100)


def test_targets_have_names_of_their_own():
    found = describe_data(VALUES, torch.zeros(200, 1))
    assert found.targets is not None
    assert [one.name for one in found.targets.distributions] == ["target"]
    two = describe_data(VALUES, np.zeros((200, 2))).targets
    assert two is not None
    assert [one.name for one in two.distributions] == ["target_0", "target_1"]


def test_drift_is_that_of_scipy():
    ours = VALUES.copy()
    ours[:, 1] += 1.5
    ours[0, 2] = np.nan
    reference = RNG.normal(3, 2, (300, 3))
    found = describe_data(ours, feature_names=["a", "b", "c"], reference=reference).drift
    assert [one.name for one in found] == ["a", "b", "c"]
    for place, one in enumerate(found):
        mine = ours[:, place][np.isfinite(ours[:, place])]
        test = stats.ks_2samp(mine, reference[:, place], method="asymp")
        assert (one.ks_statistic, one.p_value) == pytest.approx((test.statistic, test.pvalue))
        distance = stats.wasserstein_distance(mine, reference[:, place])
        assert one.wasserstein == pytest.approx(distance)
        assert one.wasserstein_in_std == pytest.approx(distance / reference[:, place].std(ddof=1))
        assert one.mean_shift == pytest.approx(mine.mean() - reference[:, place].mean())
    assert max(found, key=lambda one: one.ks_statistic).name == "b"


def test_columns_of_a_reference_are_found_by_name():
    frame = pd.DataFrame(VALUES, columns=["a", "b", "c"])
    found = describe_data(frame, reference=frame[["c", "a", "b"]]).drift
    assert [one.ks_statistic for one in found] == [0, 0, 0]
    with pytest.raises(UsageError, match="lacks 1 of the features, such as 'b'"):
        describe_data(frame, reference=frame[["a", "c"]])


@pytest.mark.parametrize(
    ("scaler", "names"),
    [
        (StandardScaler(), ["mean_", "scale_", "var_"]),
        (MinMaxScaler((-1, 1)), ["data_min_", "data_max_", "scale_", "min_"]),
        (RobustScaler(), ["center_", "scale_"]),
        (PowerTransformer(), ["lambdas_"]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_parameters_of_a_scaler_are_its_own(scaler: Any, names: list[str]):
    scaler.fit(VALUES)
    found = json.loads(json_text(scaler_parameters(scaler).to_dict()))
    assert found["kind"] == type(scaler).__name__
    for name in names:
        assert found["fitted"][name] == pytest.approx(getattr(scaler, name).tolist())


def test_a_scaler_inside_of_others_and_one_that_is_large_or_not_fitted():
    pipeline = make_pipeline(StandardScaler(), MinMaxScaler()).fit(VALUES)
    steps = scaler_parameters(pipeline).steps
    assert list(steps["standardscaler"].fitted["mean_"]) == list(pipeline[0].mean_)
    columns = ColumnTransformer([("first", RobustScaler(), [0]), ("rest", "passthrough", [1, 2])]).fit(VALUES)
    assert scaler_parameters(columns).steps["first"].kind == "RobustScaler"
    large = QuantileTransformer(n_quantiles=200).fit(np.tile(VALUES, (1, 100)))
    assert scaler_parameters(large).fitted["quantiles_"] == "array of shape (200, 300)"
    assert scaler_parameters(StandardScaler()).fitted == {}
    assert scaler_parameters({"mean": np.array([1.0])}).fitted["mean"].tolist() == [1.0]
    for one in (pipeline, columns, large):
        json.loads(json_text(scaler_parameters(one).to_dict()))


def test_what_is_no_data_is_refused():
    with pytest.raises(UsageError, match="without an axis"):
        describe_data(3.0)
    with pytest.raises(UsageError, match="2 names for 3 features"):
        describe_data(VALUES, feature_names=["a", "b"])
    assert math.isfinite(describe_data(VALUES).inputs.distributions[0].mean or math.nan)


def test_the_data_stay_as_they_are():
    array, tensor = VALUES.copy(), torch.from_numpy(VALUES.copy()).requires_grad_()
    frame = pd.DataFrame(VALUES.copy())
    for one in (array, tensor, frame):
        describe_data(one, one, reference=one)
    assert (array == VALUES).all()
    assert (tensor.detach().numpy() == VALUES).all()
    assert tensor.requires_grad
    assert (frame.to_numpy() == VALUES).all()
