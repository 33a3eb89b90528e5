"""The runs of trials: those that a dead process left behind are ended with the truth, and all get their ids."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, NotFoundError, StoreUnavailable
from agentnn.query.expressions import Comparison, Field
from agentnn.query.runs import RunQuery
from agentnn.records import PARENT_TAG
from agentnn.stores.opening import open_store
from agentnn.stores.run_writer import UUID_TAG
from agentnn.tracking.endings import REASON_TAG
from agentnn.tracking.journal.journal import read_journal
from agentnn.tracking.journal.state import StoreFolder
from agentnn.tracking.sending.sender_control import with_absolute_uris
from agentnn.tracking.sending.waiting_for_runs import wait_for_runs
from agentnn.tracking.study_tags import RETRIED_TAG, TRIAL_STATE_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.records import Run
    from agentnn.settings import Settings
    from agentnn.stores.base import TrackingStore
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.engines.engine import TrialTask
    from agentnn.training.hpo.results import TrialRecord
    from agentnn.training.recording import StudyOrganizer

_log = logging.getLogger("agentnn")


def close_orphan(organizer: StudyOrganizer, task: TrialTask, reason: str) -> None:
    """End the run of a trial whose worker died, where its journal is on this machine.

    Where it is not, or the worker died before it began the run, that is left to the sender there.
    """
    folder = StoreFolder.of(with_absolute_uris(organizer.settings)).run(task.run_uuid or "-")
    try:
        first = next(read_journal(folder.journal), None)
        if first is None or not first.body or first.body["kind"] != "start":
            return
        run = organizer.resume_trial(folder.uuid)
        organizer.finish_trial(run, task.number, task.params, state="failed", reason=reason, wait=False)
    except AgentNNError as error:  # no such journal, or no room: the sender closes what it finds
        _log.debug("the run of trial %d is left to the sender: %s", task.number, error)


def settle(organizer: StudyOrganizer, parent: ActiveRun, trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Wait until the runs of all trials are in the store, and mark those that were lost.

    Returns:
        The ids of the runs, by our own; without those that the store does not have.

    Raises:
        StoreUnavailable: With ``tracking.strict``, when something could not be delivered.
    """
    settings = parent.settings
    parent.flush()
    if not wait_for_runs(parent.folder.store, settings, [one.uuid for one in trials if one.uuid]) and parent.strict:
        raise StoreUnavailable(
            f"runs of trials of {parent.name!r} wait on this machine", hint="to deliver them: agentnn run sync"
        )
    parent_id = parent.find_run_id()
    if parent_id is None:
        return {}
    try:
        _, found = _family(settings, parent_id)
    except AgentNNError as error:
        _log.warning("the runs of the trials can't be looked up: %s", error)
        return {}
    again = {one.retry_of: one.number for one in trials if one.retry_of is not None}
    lost = [(run, one) for one in trials if one.lost and (run := found.get(one.uuid or "")) is not None]
    marked = [
        _mark_lost(organizer, run, one, again.get(one.number)) for run, one in lost if RETRIED_TAG not in run.tags
    ]
    if marked:
        wait_for_runs(parent.folder.store, settings, marked)
    return {uuid: run.run_id for uuid, run in found.items()}


def look_up(
    settings: Settings, parent_id: str, trials: Sequence[TrialRecord]
) -> tuple[dict[str, str], dict[str, float]]:
    """The ids of the runs of trials, by our own, and the metrics of the study's run; empty where the store is down."""
    settings = with_absolute_uris(settings)
    wait_for_runs(StoreFolder.of(settings), settings, [one.uuid for one in trials if one.uuid])
    try:
        parent, children = _family(settings, parent_id)
    except AgentNNError as error:
        _log.warning("the runs of the study can't be looked up: %s", error)
        return {}, {}
    return {uuid: run.run_id for uuid, run in children.items()}, dict(parent.metrics)


def find_run(settings: Settings, uuid: str) -> str | None:
    """The id of the run in the store that has this one among ours."""
    with _opened(settings) as store:
        found = list(store.search_runs(RunQuery(filter=Comparison(Field("tag", UUID_TAG), "=", uuid), limit=1)))
    return found[0].run_id if found else None


def _family(settings: Settings, parent_id: str) -> tuple[Run, dict[str, Run]]:
    """The study's run, and those of its trials by our own ids.

    Raises:
        NotFoundError: There is no such run.
    """
    with _opened(settings) as store:
        parents = store.find_runs([parent_id])
        if not parents:
            raise NotFoundError(f"there is no run {parent_id}")
        nested = Comparison(Field("tag", PARENT_TAG), "=", parent_id)
        children = store.search_runs(RunQuery((parents[0].experiment_id,), nested))
        return parents[0], {run.tags[UUID_TAG]: run for run in children if UUID_TAG in run.tags}


@contextmanager
def _opened(settings: Settings) -> Iterator[TrackingStore]:
    store = open_store(settings)
    try:
        yield store
    finally:
        if hasattr(store, "close"):
            store.close()


def _mark_lost(organizer: StudyOrganizer, run: Run, trial: TrialRecord, repeated_as: int | None) -> str:
    """Say in a run that its trial was lost; it keeps its status, unless nobody has ended it. Our own id of it."""
    is_open = run.status in ("RUNNING", "SCHEDULED")
    opened = organizer.resume_trial(run.run_id)
    opened.set_tags({TRIAL_STATE_TAG: "failed", **({RETRIED_TAG: repeated_as} if repeated_as is not None else {})})
    reason = run.tags.get(REASON_TAG) or trial.reason
    opened.end("FAILED" if is_open else run.status, reason, end_time=None if is_open else run.end_time, wait=False)
    return opened.uuid
