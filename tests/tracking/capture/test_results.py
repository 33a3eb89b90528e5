"""Training histories and predictions: what is read of them, beside scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from agentnn.errors import UsageError
from agentnn.tracking.capture.predictions import MOST_ROWS, compare_predictions
from agentnn.tracking.capture.training_history import read_history

RNG = np.random.default_rng(5)
LOSSES = {"train_loss": [3.0, 2.0, 1.5], "val_loss": [4.0, 2.5, 2.0]}


@pytest.mark.parametrize(
    "history",
    [
        LOSSES,
        {name: np.array(values) for name, values in LOSSES.items()},
        {name: [torch.tensor(value) for value in values] for name, values in LOSSES.items()},
        [dict(zip(LOSSES, pair, strict=True)) for pair in zip(*LOSSES.values(), strict=True)],
        pd.DataFrame(LOSSES),
        SimpleNamespace(history=LOSSES),
        {**LOSSES, "epoch": [1, 2, 3], "best": "val_loss", "notes": ["a", "b", "c"]},
    ],
    ids=["lists", "arrays", "tensors", "records", "frame", "keras", "more"],
)
def test_every_kind_of_history_is_read(history: Any):
    found = read_history(history)
    assert found.table() == {"epoch": [1, 2, 3], **LOSSES}
    assert found.panels() == [("loss", ["train_loss", "val_loss"])]


def test_series_of_different_lengths_and_kinds():
    found = read_history({"loss": [1, 2, 3], "val_loss": [2.0], "accuracy_val": [0.5, None], "lr": [0.1, 0.1]})
    assert found.epochs == 3
    assert found.table()["val_loss"] == [2.0, None, None]
    assert found.panels() == [("loss", ["loss", "val_loss"]), ("accuracy", ["accuracy_val"]), ("lr", ["lr"])]


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"loss": ["a"]}, 3, [], "loss"])
def test_what_is_no_history_is_refused(history: Any):
    with pytest.raises(UsageError, match="history"):
        read_history(history)


@pytest.mark.parametrize("shape", [(200,), (200, 1), (200, 3)])
def test_the_errors_are_those_of_scikit_learn(shape: tuple[int, ...]):
    actual = RNG.normal(size=shape)
    predicted = actual + RNG.normal(0.1, 0.4, size=shape)
    found = compare_predictions(torch.from_numpy(actual), predicted.tolist())
    assert found.metrics == {
        "mae": pytest.approx(metrics.mean_absolute_error(actual, predicted)),
        "rmse": pytest.approx(np.sqrt(metrics.mean_squared_error(actual, predicted))),
        "r2": pytest.approx(metrics.r2_score(actual, predicted)),
        "bias": pytest.approx((predicted - actual).mean()),
    }
    assert found.residuals.ravel() == pytest.approx((actual - predicted).ravel())


def test_the_table_has_every_sample_or_a_sample_of_them():
    found = compare_predictions([1.0, 2.0], [1.5, 2.0])
    assert found.table() == {
        "sample": [0, 1],
        "actual": [1.0, 2.0],
        "predicted": [1.5, 2.0],
        "residual": [-0.5, 0.0],
    }
    values = np.arange(MOST_ROWS + 7.0)
    table = compare_predictions(values, values + 1).table()
    assert len(table["sample"]) == MOST_ROWS
    assert table["sample"] == sorted(table["sample"])
    assert table["actual"] == table["sample"]
    two = compare_predictions(np.zeros((2, 2)), np.ones((2, 2)), ["high", "low"]).table()
    assert list(two) == [
        "sample",
        "actual_high",
        "predicted_high",
        "residual_high",
        "actual_low",
        "predicted_low",
        "residual_low",
    ]


def test_values_that_are_not_finite_are_left_out_and_counted():
    found = compare_predictions([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.inf, 5.0])
    assert (found.left_out, found.metrics["mae"], found.actual.ravel().tolist()) == (2, 0.5, [1.0, 4.0])


def test_constant_values_have_no_r2():
    assert "r2" not in compare_predictions([1.0, 1.0], [1.0, 2.0]).metrics


@pytest.mark.parametrize(
    ("actual", "predicted", "why"),
    [
        ([1.0, 2.0], [1.0], "2 actual values and 1 predicted ones"),
        (np.zeros((4, 1)), np.zeros((4, 2)), "4×1 actual values and 4×2"),
        (["a"], ["b"], "not all numbers"),
        ([], [], "there are no actual values"),
        ([np.nan], [1.0], "no sample has both"),
    ],
)
def test_what_does_not_fit_is_refused(actual: Any, predicted: Any, why: str):
    with pytest.raises(UsageError, match=why):
        compare_predictions(actual, predicted)
