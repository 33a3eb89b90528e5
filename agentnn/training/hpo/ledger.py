"""What the storage says of a study: which trials there are, which one comes next, and how each has ended.

Everything that a driver has to know after an interruption is an attribute of the study or of a trial there, under names
that begin with ``agentnn:``; what it only needs while it runs is not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentnn.tracking.journal.state import new_uuid
from agentnn.training.hpo.drivers import Drivers
from agentnn.training.hpo.engines.engine import TrialTask
from agentnn.training.hpo.importance import hyperparameter_importance
from agentnn.training.hpo.results import TrialRecord
from agentnn.training.hpo.sampling.samplers import most_trials
from agentnn.training.hpo.sampling.space import decoded, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from agentnn.config.objectives import StudyObjective
    from agentnn.config.schema import HpoSection
    from agentnn.training.hpo.engines.engine import TrialOutcome, TrialState
    from agentnn.training.hpo.importance import HyperparameterImportance

_log = logging.getLogger("agentnn")

_STATE, _PARENT = "agentnn:state", "agentnn:parent"
_BEGIN, _END, _RETRY = "agentnn:begin", "agentnn:end", "agentnn:retry"

_NOBODYS_S = 60.0
"""How long a trial may be without the name of its driver, which is written just after it was made."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The study's run.

    Attributes:
        uuid: Our own id of it.
        run_id: The store's, once that is known.
    """

    uuid: str
    run_id: str | None = None


class StudyLedger:
    """A study in its storage; made by :func:`~agentnn.training.hpo.opening.open_study`.

    Attributes:
        name: Its name there.
        is_new: Whether this driver has just made it.
        drivers: Who works at it.
        limit: How many trials it should come to.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, hpo: HpoSection, *, is_new: bool) -> None:
        self.name = study.study_name
        self.is_new = is_new
        self.limit = most_trials(hpo)
        self._study = study
        self._storage = storage
        self._space = hpo.param_space
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._asked: dict[int, optuna.Trial] = {}
        self.drivers = Drivers(storage, self._study_id)

    # --- the study as a whole

    @property
    def parent(self) -> Parent | None:
        """The study's run, if it was begun."""
        said = self._attributes().get(_PARENT)
        return Parent(said["uuid"], said.get("run_id")) if said else None

    @parent.setter
    def parent(self, parent: Parent) -> None:
        said = {"uuid": parent.uuid, "run_id": parent.run_id}
        self._storage.set_study_user_attr(self._study_id, _PARENT, said)

    def reopen(self) -> None:
        """The study goes on."""
        self._say_state("open")

    @property
    def is_finished(self) -> bool:
        """Whether it came as far as it should."""
        return bool(self._attributes().get(_STATE) == "finished")

    def finish(self) -> None:
        """The study came as far as it should: another one of its name begins anew."""
        self._say_state("finished")

    def forget_if_empty(self) -> bool:
        """Delete the study where this driver has made it and nothing came of it: it would only stand in the way.

        Returns:
            Whether it is gone.
        """
        if not self.is_new or self._trials() or self.drivers.others():
            return False
        self._storage.delete_study(self._study_id)
        return True

    def records(self) -> list[TrialRecord]:
        """The trials that have ended, by number."""
        ended = [one for one in self._trials() if one.state.is_finished() and not _end(one).get("surplus")]
        return [_record(one, self._space) for one in ended]

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return _record(self._trials()[number], self._space)

    def importance(self, objectives: Sequence[StudyObjective]) -> HyperparameterImportance:
        """How much each hyperparameter decided."""
        return hyperparameter_importance(self._study, ", ".join(one.metric for one in objectives))

    def done(self) -> int:
        """How many trials have ended, without those that another one repeats."""
        return sum(one.state.is_finished() and _counts(one) for one in self._trials())

    # --- trials

    def next_task(self) -> TrialTask | None:
        """The next trial, which this driver has to tell the end of; ``None`` when there are enough."""
        if not self.wants_more():
            return None
        trial = self._study.ask()
        retry = trial.user_attrs.get(_RETRY) or {}
        if not retry and self._is_surplus(trial.number):
            self._end_trial(trial.number, trial._trial_id, {"surplus": True})
            return None
        uuid = new_uuid()
        trial.set_user_attr(_BEGIN, {"driver": self.drivers.own_id, "run": uuid})
        self._asked[trial.number] = trial
        params = suggest(trial, self._space)
        return TrialTask(trial.number, params, retry.get("attempt", 0), retry.get("of"), run_uuid=uuid)

    def wants_more(self) -> bool:
        """Whether there is a trial to be begun."""
        trials = self._trials()
        return any(one.state.name == "WAITING" for one in trials) or sum(map(_counts, trials)) < self.limit

    def report(self, number: int, step: int, value: float) -> bool:
        """Note how far a trial is; whether it should be pruned."""
        from optuna.exceptions import UpdateFinishedTrialError

        trial = self._asked.get(number)
        if trial is None:
            return False
        try:
            trial.report(value, step)
            return bool(trial.should_prune())
        except UpdateFinishedTrialError:  # another driver took this one for dead, and repeats the trial
            return True

    def tell(self, number: int, outcome: TrialOutcome) -> None:
        """Note how a trial of this driver's has ended."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState as OptunaState

        trial = self._asked.pop(number)
        states = {"complete": OptunaState.COMPLETE, "pruned": OptunaState.PRUNED, "failed": OptunaState.FAIL}
        notes = {"reason": outcome.reason, "metrics": dict(outcome.metrics)}
        notes = {key: value for key, value in notes.items() if value}
        try:
            if notes:
                trial.set_user_attr(_END, notes)
            values = list(outcome.values) if outcome.state == "complete" else None
            self._study.tell(trial, values, states[outcome.state])
        except (ValueError, UpdateFinishedTrialError):  # another driver took this one for dead, and repeats the trial
            _log.warning("the trial %d ended after another driver had given it up: its value is not counted", number)

    def lose(self, task: TrialTask, reason: str, *, attempt: int) -> None:
        """A trial of this driver's is lost: it failed, and is repeated as another one."""
        trial = self._asked.pop(task.number)
        self._lose(trial.number, trial._trial_id, reason, attempt)

    def reclaim(self) -> list[TrialRecord]:
        """Give up the trials of drivers that are dead, to be repeated; those that were given up here."""
        found = []
        for one in self._trials():
            if one.state.name == "RUNNING" and one.number not in self._asked and not self._is_cared_for(one):
                who = self.drivers.name_of(_begin(one).get("driver"))
                attempt = (one.user_attrs.get(_RETRY) or {}).get("attempt", 0)
                if self._lose(one.number, one._trial_id, f"{who} died while it ran", attempt):
                    found.append(self.record(one.number))
        return found

    def is_busy_elsewhere(self) -> bool:
        """Whether trials of other drivers run."""
        return any(one.state.name == "RUNNING" and one.number not in self._asked for one in self._trials())

    # --- within

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _attributes(self) -> Mapping[str, Any]:
        return self._storage.get_study_user_attrs(self._study_id)

    def _say_state(self, state: str) -> None:
        self._storage.set_study_user_attr(self._study_id, _STATE, state)

    def _is_surplus(self, number: int) -> bool:
        """Whether another driver has begun the last one just now: numbers are given in the order of beginning."""
        return sum(_counts(one) for one in self._trials() if one.number < number) >= self.limit

    def _is_cared_for(self, trial: FrozenTrial) -> bool:
        driver = _begin(trial).get("driver")
        if driver is not None:
            return self.drivers.lives(driver)
        begun = trial.datetime_start
        age = (datetime.now(begun.tzinfo) - begun).total_seconds() if begun is not None else _NOBODYS_S
        return bool(self.drivers.others()) and age < _NOBODYS_S

    def _lose(self, number: int, trial_id: int, reason: str, attempt: int) -> bool:
        """Whether it was this driver that gave it up, and no other was faster."""
        from optuna import create_trial
        from optuna.trial import TrialState as OptunaState

        if not self._end_trial(number, trial_id, {"lost": True, "reason": reason}):
            return False
        lost = self._storage.get_trial(trial_id)
        again = create_trial(
            state=OptunaState.WAITING,
            params=lost.params,
            distributions=lost.distributions,
            user_attrs={_RETRY: {"of": number, "attempt": attempt}},
            system_attrs={"fixed_params": lost.params},  # what samplers and pruners noted of it is of that attempt
        )
        self._study.add_trial(again)
        return True

    def _end_trial(self, number: int, trial_id: int, notes: dict[str, Any]) -> bool:
        """Fail a trial; whether nobody had ended it before."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState as OptunaState

        try:
            self._storage.set_trial_user_attr(trial_id, _END, notes)
            self._study.tell(number, state=OptunaState.FAIL)
        except (ValueError, UpdateFinishedTrialError):
            return False
        return True


def _begin(trial: FrozenTrial) -> dict[str, Any]:
    return trial.user_attrs.get(_BEGIN) or {}


def _end(trial: FrozenTrial) -> dict[str, Any]:
    return trial.user_attrs.get(_END) or {}


def _counts(trial: FrozenTrial) -> bool:
    end = _end(trial)
    return not (end.get("lost") or end.get("surplus"))


def _record(trial: FrozenTrial, space: Mapping[str, Any]) -> TrialRecord:
    states: dict[str, TrialState] = {"COMPLETE": "complete", "PRUNED": "pruned"}
    state = states.get(trial.state.name, "failed")
    end = _end(trial)
    return TrialRecord(
        number=trial.number,
        state=state,
        values=tuple(trial.values or ()) if state == "complete" else (),
        params=decoded(trial.params, space),
        metrics=dict(end.get("metrics") or {}),
        uuid=_begin(trial).get("run"),
        reason=end.get("reason", ""),
        duration_s=trial.duration.total_seconds() if trial.duration else None,
        retry_of=(trial.user_attrs.get(_RETRY) or {}).get("of"),
        lost=bool(end.get("lost")),
    )
