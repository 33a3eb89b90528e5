"""Which metrics of two runs differ, and where first."""

from __future__ import annotations

import math

import pytest

from agentnn.errors import UsageError
from agentnn.records import Metric
from agentnn.training.replay import MetricDifference, compared_metrics, differing_metrics


def points(*values: float, first: int = 1) -> list[Metric]:
    return [Metric("m", value, step, 1000 + step) for step, value in enumerate(values, first)]


def differing(original: list[Metric], replayed: list[Metric], tolerance: float = 1e-6) -> tuple[MetricDifference, ...]:
    return differing_metrics({"m": original}, {"m": replayed}, ["m"], tolerance)


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "same"),
    [
        (1.0, 1.0, 0.0, True),
        (1.0, 1.0 + 1e-12, 0.0, False),
        (1.0, 1.0 + 1e-7, 1e-6, True),
        (1000.0, 1000.0005, 1e-6, True),
        (0.0, 5e-7, 1e-6, True),
        (0.0, 2e-6, 1e-6, False),
        (math.nan, math.nan, 1e-6, True),
        (math.nan, 1.0, 1e-6, False),
        (math.inf, math.inf, 1e-6, True),
        (math.inf, -math.inf, 1e-6, False),
    ],
)
def test_the_tolerance_is_absolute_and_relative(left: float, right: float, tolerance: float, same: bool):
    assert (differing(points(left), points(right), tolerance) == ()) is same
    assert (differing(points(right), points(left), tolerance) == ()) is same


def test_the_first_step_that_differs_is_told_and_how_many_do():
    [found] = differing(points(0.9, 0.8, 0.7, 0.6), points(0.9, 0.81, 0.7, 0.5))
    assert (found.step, found.original, found.replayed, found.differing, found.steps) == (2, 0.8, 0.81, 2, 4)
    assert found.to_dict()["difference"] == pytest.approx(0.01)


def test_another_number_of_epochs_is_a_difference():
    [found] = differing(points(0.9, 0.8), points(0.9, 0.8, 0.7))
    assert (found.step, found.original, found.replayed, found.differing) == (3, None, 0.7, 1)
    assert found.to_dict()["difference"] is None


def test_a_metric_that_one_lacks_is_a_difference():
    [found] = differing(points(0.9, 0.8), [])
    assert (found.step, found.original, found.replayed) == (None, 0.8, None)


def test_of_several_values_at_a_step_the_last_one_counts():
    assert differing([*points(0.9), *points(0.8)], points(0.8)) == ()


def test_what_measures_the_machine_is_not_compared_unless_it_is_asked_for():
    measured = ("epoch_seconds", "system/cpu", "online_samples_per_second", "architecture_change_ms")
    ours = {"loss": points(1), **dict.fromkeys(measured, points(1))}
    theirs = {"loss": points(1), "sharpe": points(1)}
    assert compared_metrics(ours, theirs) == ("loss", "sharpe")
    assert compared_metrics(ours, theirs, ["epoch_seconds"]) == ("epoch_seconds",)
    with pytest.raises(UsageError, match="neither run has the metric 'los'") as raised:
        compared_metrics(ours, theirs, ["los"])
    assert raised.value.hint == "did you mean loss?"


def test_json_holds_what_is_not_finite_as_null():
    [found] = differing(points(math.inf), points(1.0))
    assert (found.to_dict()["original"], found.to_dict()["replayed"]) == (None, 1.0)
