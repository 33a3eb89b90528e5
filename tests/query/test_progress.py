"""How far a run is, from what it logged."""

from __future__ import annotations

import pytest

from agentnn.query.progress import RunProgress
from agentnn.records import Metric, Run

START = 1_767_225_600_000


def progress(steps: list[int], params: dict[str, str] | None = None, *, status: str = "RUNNING", ms: int = 500):
    """A run that logged a value a step, ``ms`` milliseconds apart, and is looked at a second after the last."""
    points = [Metric("loss", 1.0, step, START + at * ms) for at, step in enumerate(steps)]
    run = Run("r", "r", "0", "E", status, start_time=START, params=params or {}, metrics={"loss": 1.0} if steps else {})
    now = (points[-1].timestamp if points else START) + 1000
    return RunProgress.of(run, {"loss": points} if points else {}, now)


def test_rate_and_time_left_of_steps_that_begin_at_one():
    found = progress([1, 2, 3, 4, 5], {"epochs": "20"})
    assert (found.step, found.total_steps, found.steps_per_s) == (5, 20, 2.0)
    assert found.remaining_s == pytest.approx(7.5)
    assert found.silent_s == 1.0


def test_steps_that_begin_at_zero_are_one_further():
    assert progress([0, 1, 2, 3], {"epochs": "4"}).remaining_s == 0
    assert progress([0, 1, 2, 3], {"epochs": "6"}).remaining_s == 1.0


@pytest.mark.parametrize("name", ["max_steps", "training.epochs", "num_epochs"])
def test_the_total_is_read_from_the_params_that_people_use(name: str):
    assert progress([1], {name: "1e2"}).total_steps == 100


def test_a_total_that_the_run_has_passed_counts_something_else():
    found = progress([100, 200], {"epochs": "5"})
    assert (found.total_steps, found.remaining_s) == (None, None)


@pytest.mark.parametrize("value", ["many", "", "2.5", "-3", "nan", "inf"])
def test_a_total_that_is_no_number_of_steps_is_none(value: str):
    assert progress([1, 2], {"epochs": value}).total_steps is None


def test_one_value_has_no_rate_and_no_value_no_step():
    assert progress([3], {"epochs": "9"}).steps_per_s is None
    assert progress([2, 2]).steps_per_s is progress([1, 2, 3], ms=0).steps_per_s is None
    nothing = progress([], {"epochs": "9"})
    assert (nothing.step, nothing.total_steps, nothing.remaining_s, nothing.silent_s) == (None, 9, None, 1.0)


def test_a_run_that_has_ended_has_nothing_left():
    found = progress([1, 2, 3], {"epochs": "10"}, status="FAILED")
    assert (found.is_open, found.remaining_s, found.silent_s) == (False, None, None)


def test_the_rate_is_that_of_the_latest_points():
    slow_start = [Metric("loss", 1.0, step, START + step * 10_000) for step in range(10)]
    fast = [Metric("loss", 1.0, step, slow_start[-1].timestamp + (step - 9) * 100) for step in range(10, 80)]
    run = Run("r", "r", "0", "E", "RUNNING", start_time=START, metrics={"loss": 1.0})
    assert RunProgress.of(run, {"loss": [*slow_start, *fast]}, START).steps_per_s == pytest.approx(10)


def test_the_metric_that_is_furthest_leads_and_among_those_the_one_with_the_most_points():
    steps = {"none": (), "rare": (10,), "loss": (0, 5, 10), "behind": range(9)}
    histories = {key: [Metric(key, 1.0, step, START + step * 500) for step in of_key] for key, of_key in steps.items()}
    run = Run("r", "r", "0", "E", "RUNNING", start_time=START, params={"max_steps": "20", "epochs": "30"})
    found = RunProgress.of(run, histories, START + 6000)
    assert (found.step, found.total_steps, found.steps_per_s, found.remaining_s) == (10, 20, 2.0, 4.5)
    assert (found.silent_s, RunProgress.of(run, histories, START).silent_s) == (1.0, 0.0)
