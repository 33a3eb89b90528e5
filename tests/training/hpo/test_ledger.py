"""The ledger of a study: what a trial that was lost leaves to the one that repeats it; reports that nobody wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest

from agentnn.config.loader import load_config
from agentnn.errors import UsageError
from agentnn.training.hpo.engines.engine import TrialOutcome, TrialTask
from agentnn.training.hpo.opening import open_study
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.training.hpo.ledger import StudyLedger


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_optuna():
        yield


def ledger(storage: Any = None, *, resume: bool = False, **hpo: Any) -> StudyLedger:
    """A study with one key."""
    config = load_config({"hpo": {"param_space": {"dropout": {"low": 0.0, "high": 0.5}}, **hpo}})
    return open_study(storage or optuna.storages.InMemoryStorage(), "s", config, resume=resume)


def test_a_trial_that_is_repeated_begins_at_the_first_round_of_its_pruner():
    """Halving keeps in a trial which rounds it has come through; the next attempt has come through none."""
    study = ledger(pruner="halving", pruner_params={"min_resource": 1, "reduction_factor": 2})
    first = study.next_task()
    assert first is not None
    for step in range(1, 9):
        assert not study.report(first.number, step, 1.0)
    study.lose(first, "its worker died", attempt=1)
    again = study.next_task()
    assert again is not None
    assert (again.retry_of, again.attempt, again.params) == (0, 1, first.params)
    second = study.next_task()
    assert second is not None
    study.report(second.number, 1, 0.1)
    assert study.report(again.number, 1, 50.0)  # worse than the others in the first round


def test_a_report_of_a_trial_that_another_driver_has_given_up_ends_the_trial_and_not_the_study():
    storage = optuna.storages.InMemoryStorage()
    first, second = ledger(storage), ledger(storage, resume=True)
    task = first.next_task()
    assert task is not None
    assert [one.number for one in second.reclaim()] == [0]  # this driver never said that it lives
    assert first.report(task.number, 1, 0.5) is True
    first.tell(task.number, TrialOutcome("pruned"))
    assert [one.lost for one in second.records()] == [True]


@pytest.mark.parametrize("step", [-1, 2.5, "3"])
def test_a_report_at_an_odd_step_is_an_error_of_the_objective_and_never_reaches_the_study(step: Any):
    heard: list[Any] = []
    trial = Trial(TrialTask(0, {}), None, None, lambda *said: bool(heard.append(said)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="whole steps from 0 on"):
        trial.report(0.5, step)
    assert heard == []
