"""What drives a study from its first trial to its last: ask, hand out, hear, tell; whatever dies meanwhile.

The driver alone knows Optuna. It keeps the study's run, unless another driver of the same study does, and every trial
has a run of its own below that one.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agentnn.config.objectives import objectives_of
from agentnn.errors import AgentNNError, ConflictError, NotFoundError, StoreUnavailable, TrainingError
from agentnn.tracking.study_tags import STUDY_NAME_TAG, STUDY_STORAGE_TAG
from agentnn.training.hpo import runs_of_trials
from agentnn.training.hpo.engines.engine import TrialEnd, TrialOutcome
from agentnn.training.hpo.ledger import Parent, StudyLedger
from agentnn.training.hpo.request import StudyBeginning
from agentnn.training.hpo.results import StudyResult, TrialRecord, best_trial, pareto_front

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.config.objectives import StudyObjective
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.engines.engine import Engine, TrialTask
    from agentnn.training.hpo.request import StudyRequest

_log = logging.getLogger("agentnn")

_TURN_S = 0.5
_LOOK_S = 1.0
_RECLAIM_EVERY_S = 30.0
_PARENT_S = 60.0
"""How long a driver that joins a study waits for the study's run."""


class StudyDriver:
    """Drives one study in this process.

    Args:
        request: What is to be done.
        ledger: The study in its storage.
        place: Where that is, in words.
    """

    def __init__(self, request: StudyRequest, ledger: StudyLedger, place: str) -> None:
        assert request.config.hpo is not None
        self._request = request
        self._ledger = ledger
        self._place = place
        self._hpo = request.config.hpo
        self._objectives: tuple[StudyObjective, ...] = objectives_of(self._hpo)
        self._organizer = request.organizer
        self._running: dict[int, TrialTask] = {}
        self._run: ActiveRun | None = None
        self._parent_run_id: str | None = None
        self._is_first = False
        self._began = self._reclaimed = time.monotonic()

    def run(self) -> StudyResult:
        """Work at the study until there is nothing more to do."""
        ledger, drivers = self._ledger, self._ledger.drivers
        if ledger.is_finished and not ledger.wants_more():
            return self._found()
        with self._at_work():
            is_owner = self._find_owner()
            if is_owner:
                return self._as_owner()
            self._parent_run_id = self._run_of_other_driver()
            self._work_at_it()
            if not ledger.is_finished and drivers.owner() is None and drivers.become_owner(first=False):
                return self._as_owner()  # who kept the run has died meanwhile
            return self._found()

    # --- who keeps the study's run

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        drivers = self._ledger.drivers
        drivers.join(self._note_run_id)
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the storage may be what failed, and the first error is the one to be seen
                self._leave()
            raise
        self._leave()

    def _leave(self) -> None:
        self._ledger.drivers.leave()
        self._note_run_id()

    def _find_owner(self) -> bool:
        """Whether this driver keeps the study's run."""
        ledger, drivers = self._ledger, self._ledger.drivers
        if not ledger.is_new and ledger.parent is None:  # its first driver may be about to begin the run
            deadline = time.monotonic() + 2 * _LOOK_S
            while drivers.owner() is None and time.monotonic() < deadline:
                time.sleep(_LOOK_S / 10)
        return drivers.become_owner(first=ledger.is_new)

    def _run_of_other_driver(self) -> str:
        deadline = time.monotonic() + _PARENT_S
        while True:
            parent = self._ledger.parent
            if parent is not None and parent.run_id:
                return parent.run_id
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the run of the study {self._ledger.name!r} is not in the store yet",
                    hint="another driver keeps it; look whether the store can be reached from there",
                )
            time.sleep(_LOOK_S / 10)

    def _as_owner(self) -> StudyResult:
        before = self._ledger.parent
        with self._study_run() as run:
            self._run = run
            if self._request.is_remote:
                self._parent_run_id = run.run_id
            elif before is not None:  # who looks at its journal takes it for ended until it is reopened in the store
                self._parent_run_id = before.run_id or _id_if_known(run)
            if self._is_first and self._request.begin is not None:
                self._request.begin(run)
            self._ledger.reopen()
            self._work_at_it()
            result = self._concluded(run)
            self._ledger.finish()
        return dataclasses.replace(result, run_id=run.find_run_id(), concluded=True)

    def _study_run(self) -> ActiveRun:
        """The study's run: a new one, or the one that an earlier driver has left."""
        ledger, parent = self._ledger, self._ledger.parent
        if parent is not None:
            try:
                return self._organizer.start_study(ledger.name, run_id=parent.run_id or parent.uuid)
            except NotFoundError as error:
                if parent.run_id:
                    raise ConflictError(
                        f"the run of the study {ledger.name!r} is not in this store: {error.message}",
                        hint="name the store that it began in: --tracking-uri; or another study: --hpo.study_name NAME",
                    ) from error
            # Its driver died before it could note the run's id, and its journal is delivered and gone.
            run_id = runs_of_trials.find_run(self._organizer.settings, parent.uuid)
            if run_id is not None:
                return self._organizer.start_study(ledger.name, run_id=run_id)
        tags = {STUDY_NAME_TAG: ledger.name, STUDY_STORAGE_TAG: self._place}
        run = self._organizer.start_study(ledger.name, tags=tags)
        ledger.parent = Parent(run.uuid)
        self._is_first = True
        return run

    def _note_run_id(self) -> bool:
        """Let other drivers know the run's id, as soon as the store has given it; whether they do."""
        parent = self._ledger.parent
        run_id = self._run.find_run_id() if self._run is not None else None
        if run_id and parent is not None and parent.run_id != run_id:
            self._ledger.parent = parent = Parent(parent.uuid, run_id)
        return parent is not None and parent.run_id is not None

    # --- the trials

    def _work_at_it(self) -> None:
        """Run trials until there are enough, here and elsewhere."""
        if self._request.events is not None:
            self._request.events.began(self._beginning())
        self._reclaim()
        while self._is_needed():
            with self._engine() as engine:
                while self._running or self._may_begin():
                    self._fill(engine)
                    for end in engine.wait(_TURN_S):
                        self._settle(end)
                    self._reclaim_now_and_then()

    def _beginning(self) -> StudyBeginning:
        ledger, records = self._ledger, self._ledger.records()
        best = best_trial(records, self._objectives)
        return StudyBeginning(
            ledger.name, self._objectives, ledger.limit, ledger.done(), best, resumed=not ledger.is_new
        )

    def _is_needed(self) -> bool:
        """Whether there is a trial for this driver; as long as others have some, that may still come."""
        while not self._may_begin():
            if not self._ledger.is_busy_elsewhere():
                return False
            time.sleep(_LOOK_S)
            self._reclaim()
        return True

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = self._request.make_engine(self._ledger.report)
        try:
            yield engine
        except BaseException:
            self._break_off(engine)
            raise
        finally:
            engine.close()

    def _may_begin(self) -> bool:
        timeout = self._hpo.timeout_s
        if timeout is not None and time.monotonic() - self._began > timeout:
            return False
        return self._ledger.wants_more()

    def _fill(self, engine: Engine) -> None:
        while len(self._running) < engine.capacity and self._may_begin():
            task = self._ledger.next_task()
            if task is None:
                return
            task = dataclasses.replace(task, parent_run_id=self._parent_run_id)
            self._running[task.number] = task
            if self._request.events is not None:
                self._request.events.submitted(task)
            engine.submit(task)

    def _settle(self, end: TrialEnd) -> None:
        """Take note of a trial that is over."""
        task = self._running.pop(end.number)
        outcome = end.outcome
        if outcome is None and task.attempt < self._hpo.retries:
            self._ledger.lose(task, end.reason, attempt=task.attempt + 1)
            _log.warning("trial %d is tried again: %s", task.number, end.reason)
        else:
            self._ledger.tell(task.number, outcome or TrialOutcome("failed", reason=end.reason))
        if outcome is None:
            runs_of_trials.close_orphan(self._organizer, task, end.reason)
        if self._request.events is not None:
            self._request.events.ended(self._ledger.record(task.number))
        if outcome is not None and outcome.fatal is not None:
            if best_trial(self._ledger.records(), self._objectives) is None:
                self._ledger.finish()  # there is nothing in it that somebody would go on with
            raise outcome.fatal

    def _break_off(self, engine: Engine) -> None:
        """An error or a signal ends the study: what runs is ended, and begun again by whoever goes on with it."""
        engine.close(interrupted=True)
        with suppress(Exception):  # the storage may be what failed; then this driver is found dead, and they with it
            for task in self._running.values():
                self._ledger.lose(task, "the study was broken off", attempt=task.attempt)
        self._running.clear()

    def _reclaim_now_and_then(self) -> None:
        if time.monotonic() - self._reclaimed > _RECLAIM_EVERY_S:
            self._reclaim()

    def _reclaim(self) -> None:
        self._reclaimed = time.monotonic()
        for one in self._ledger.reclaim():
            _log.warning("trial %d is tried again: %s", one.number, one.reason)

    # --- what came of it

    def _concluded(self, run: ActiveRun) -> StudyResult:
        """Note in the study's run what came of it.

        Raises:
            TrainingError: No trial came to a value.
        """
        trials = self._ledger.records()
        run_ids = runs_of_trials.settle(self._organizer, run, trials)
        result = self._result(trials, run_ids, run.find_run_id())
        self._organizer.finish_study(run, result.trials, best=result.best)
        if self._request.conclude is not None:
            result = self._request.conclude(run, result)
        if result.best is None:
            self._ledger.finish()  # the next one of this name begins anew
            raise _fruitless(result)
        return result

    def _found(self) -> StudyResult:
        """What the study came to, where this driver has nothing to add to its run."""
        parent, settings = self._ledger.parent, self._organizer.settings
        run_id = parent.run_id if parent else None
        trials = self._ledger.records()
        run_ids, metrics = runs_of_trials.look_up(settings, run_id, trials) if run_id else ({}, {})
        return dataclasses.replace(self._result(trials, run_ids, run_id), metrics=metrics)

    def _result(self, records: list[TrialRecord], run_ids: Mapping[str, str], run_id: str | None) -> StudyResult:
        trials = tuple(dataclasses.replace(one, run_id=run_ids.get(one.uuid or "")) for one in records)
        return StudyResult(
            name=self._ledger.name,
            objectives=self._objectives,
            trials=trials,
            best=best_trial(trials, self._objectives),
            pareto=pareto_front(trials, self._objectives) if len(self._objectives) > 1 else (),
            run_id=run_id,
            storage=self._place,
            duration_s=time.monotonic() - self._began,
            importance=self._ledger.importance(self._objectives),
            resumed=not self._ledger.is_new,
        )


def _id_if_known(run: ActiveRun) -> str | None:
    try:
        return run.run_id
    except AgentNNError:  # the store is down, and the run has never been in it
        return None


def _fruitless(result: StudyResult) -> TrainingError:
    reasons = list(dict.fromkeys(one.reason for one in result.trials if one.reason))
    why = f": {reasons[0]}" if reasons else ""
    more = f" (and {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
    return TrainingError(
        f"none of {len(result.trials)} trials of the study {result.name!r} came to a value{why}{more}",
        hint="each failed trial's run holds traceback.txt: agentnn run artifacts",
    )
