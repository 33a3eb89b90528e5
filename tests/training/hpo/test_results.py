"""Which trial is best, and which ones no other beats."""

from __future__ import annotations

import json
import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn.config.objectives import StudyObjective, objectives_of
from agentnn.training.hpo.results import StudyResult, TrialRecord, best_trial, pareto_front

LOSS, PROFIT = StudyObjective("loss"), StudyObjective("profit", "max")


def done(number: int, *values: float) -> TrialRecord:
    return TrialRecord(number, "complete", values)


def test_the_best_is_complete_and_finite_and_the_first_of_two_alike():
    trials = [
        TrialRecord(0, "failed"),
        TrialRecord(1, "pruned"),
        done(2, math.inf),
        done(3, math.nan),
        done(4, 0.5),
        done(5, 0.5),
        done(6, 0.7),
    ]
    assert best_trial(trials, [LOSS]) is trials[4]
    assert best_trial(trials, [PROFIT]) is trials[6]
    assert best_trial(trials[:4], [LOSS]) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_the_pareto_front_is_optunas(values: list[tuple[int, int]]):
    study = optuna.create_study(directions=["minimize", "maximize"])
    for pair in values:
        study.add_trial(optuna.create_trial(values=list(map(float, pair))))
    front = pareto_front([done(number, *pair) for number, pair in enumerate(values)], [LOSS, PROFIT])
    assert {one.number for one in front} == {one.number for one in study.best_trials}


def test_the_json_form_holds_no_nan():
    record = TrialRecord(0, "complete", (math.nan,), {"x": 1}, {"sharpe": math.inf})
    result = StudyResult("study", (LOSS,), (record, done(1, 0.5)), best=done(1, 0.5), metrics={"a": math.nan})
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["trials"][0]["values"] == [None]
    assert told["trials"][0]["metrics"] == {"sharpe": None}
    assert (told["best"]["number"], told["counts"], told["metrics"]) == (
        1,
        {"complete": 2, "pruned": 0, "failed": 0},
        {"a": None},
    )


@pytest.mark.parametrize(
    ("section", "objectives"),
    [
        (None, ["min val_loss"]),
        ({}, ["min val_loss"]),
        ({"metric": "f1", "mode": "max"}, ["max f1"]),
        ({"metric": "f1", "objectives": []}, ["min f1"]),
        ({"metric": "f1", "objectives": [{"metric": "a"}, {"metric": "b", "mode": "max"}]}, ["min a", "max b"]),
    ],
)
def test_several_objectives_go_before_the_one(section: dict[str, object] | None, objectives: list[str]):
    assert list(map(str, objectives_of(section))) == objectives
