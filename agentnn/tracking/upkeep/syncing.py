"""Having what waits on this machine delivered, while somebody watches.

The sender of the background does it, started if need be: there is one way into the store, and it goes on when nobody
watches any more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import StoreUnavailable
from agentnn.query.expressions import Comparison, Field
from agentnn.query.runs import RunQuery
from agentnn.tracking.journal.journal import read_journal
from agentnn.tracking.journal.state import StoreFolder, read_json
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.problem import Problem
from agentnn.tracking.sending.sender_control import (
    ensure_sender,
    is_sender_running,
    sender_status,
    wake_sender,
    with_absolute_uris,
)
from agentnn.tracking.upkeep.waiting import SyncedRun, find_folders, first_record, is_open, is_written, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentnn.settings import Settings
    from agentnn.tracking.journal.state import RunFolder

_NAP_S = 0.05
_URGE_S = 0.25
_MOST_URGED = 50
_START_S = 20.0
_MOST_STARTS = 3
_PATIENCE_S = 300.0
"""How long nothing may move: one large file takes long."""

_CLOCKS_S = 0.02
"""By how much the time of a file may lag behind the clock."""


class SyncProgress(NamedTuple):
    """How far a delivery is.

    Attributes:
        done, total: Bytes of journals.
        problem: Why it does not go on at the moment.
    """

    done: int
    total: int
    problem: Problem | None


def sync(
    settings: Settings,
    run: str | None = None,
    *,
    watch: bool = False,
    progress: Callable[[SyncProgress], None] | None = None,
) -> list[SyncedRun]:
    """Have what waits for a store delivered, and wait for it.

    What is logged meanwhile is not waited for, unless with ``watch``. A run that was refused is tried again.

    Args:
        settings: Name the store.
        run: Wait for this run only: its uuid, its run id, the beginning of one of them, or its name.
        watch: Wait until the run has ended, or all processes have that log to the store from this machine; a store that
            can't be used is waited for.
        progress: Called again and again meanwhile.

    Returns:
        How the runs stand in the end: those of which something was delivered, waits or went wrong, and any that was
        named. Why something waits is the ``problem`` of its run, of which
        :func:`~agentnn.tracking.upkeep.waiting.undelivered` makes an error.
    """
    settings = with_absolute_uris(settings)
    delivery = _Delivery(StoreFolder.of(settings), settings, run, watch=watch)
    delivery.wait(progress or (lambda _: None))
    return delivery.standing()


def end_sender(store: StoreFolder) -> None:
    """Have the sender that runs leave when it has done what it is at; the next one tries all again."""
    pid = int(read_json(store.status).get("pid", 0))
    asked = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    if "agentnn.tracking.sending.sender" in asked.stdout:  # the number may be another process's by now
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@dataclass(slots=True)
class _Goal:
    """A run that is waited for.

    Attributes:
        folder: Where it waits.
        parent: Where its parent waits, while the store knows of neither.
        first: How it stood at first.
        began: How much of its journal was delivered at first, in bytes.
        size: How much is to be delivered.
        cursor: How far its delivery was when it was looked at last.
    """

    folder: RunFolder
    parent: RunFolder | None
    first: SyncedRun
    began: int
    size: int
    cursor: Cursor

    @property
    def is_gone(self) -> bool:
        """Whether the run's folder is gone: the sender removes one when all of it is in the store."""
        return not self.folder.journal.exists()

    def waits(self) -> bool:
        """Whether whole records wait; what broke off at the end was never acknowledged."""
        if self.cursor.offset >= self.size:
            return False
        try:
            return next(read_journal(self.folder.journal, self.cursor.offset), None) is not None
        except StoreUnavailable:
            return False  # it was removed just now


class _Delivery:
    """A delivery that somebody waits for."""

    def __init__(self, store: StoreFolder, settings: Settings, run: str | None, *, watch: bool) -> None:
        self._store = store
        self._settings = settings
        self._run = run
        self._watch = watch
        self._asked = time.time()
        self._goals: dict[str, _Goal] = {}
        self._starts = 0
        self._next_start = 0.0
        self._next_urge = 0.0
        self._not_started: Problem | None = None
        self._done = -1
        self._moved = time.monotonic()

    def wait(self, progress: Callable[[SyncProgress], None]) -> None:
        """Wait until there is nothing more to wait for."""
        self._find()
        self._look()
        self._begin_afresh()
        while unsettled := [goal for goal in self._goals.values() if not self._is_settled(goal)]:
            problem = self._problem()
            if problem is not None and not self._watch:
                return
            progress(SyncProgress(self._done, sum(goal.size for goal in self._goals.values()), problem))
            self._keep_a_sender()
            if problem is None:
                self._urge(unsettled)
            time.sleep(_NAP_S)
            if self._watch:
                self._find()
            self._look()

    def standing(self) -> list[SyncedRun]:
        """How the runs stand; those of which there is nothing to say are left out, unless one was named."""
        problem = self._problem()
        found = [
            self._delivered_whole(goal)
            if goal.is_gone
            else standing(goal.folder, goal.cursor, began=goal.began, problem=self._refusal(goal) or problem)
            for goal in self._goals.values()
        ]
        before = {goal.folder.uuid: goal.first.status for goal in self._goals.values()}
        return [one for one in found if self._run is not None or one.is_of_note or one.status != before[one.uuid]]

    def _find(self) -> None:
        """See which runs there are, and how much of each."""
        for folder in find_folders(self._store, self._run):
            with suppress(FileNotFoundError):  # it was removed just now
                size = folder.journal.stat().st_size
                if folder.uuid in self._goals:
                    self._goals[folder.uuid].size = size
                    continue
                cursor = Cursor.read(folder)
                first, parent = standing(folder, cursor), None if cursor.run_id else _parent_of(folder)
                self._goals[folder.uuid] = _Goal(folder, parent, first, cursor.offset, size, cursor)

    def _look(self) -> None:
        """See how far every run is."""
        for goal in self._goals.values():
            if goal.folder.cursor.exists():
                goal.cursor = Cursor.read(goal.folder)
        done = sum(goal.cursor.offset for goal in self._goals.values())
        if done != self._done:
            self._done, self._moved = done, time.monotonic()

    def _begin_afresh(self) -> None:
        """Have a sender that has given up on the store or on a run replaced by one that begins afresh."""
        has_given_up = any(goal.cursor.problem for goal in self._goals.values())
        is_running = bool(self._goals) and is_sender_running(self._store)
        if is_running and (has_given_up or sender_status(self._store).is_unavailable):
            end_sender(self._store)

    def _urge(self, goals: Sequence[_Goal]) -> None:
        """Have runs delivered at once, but for those that go on and are only watched: a sender spares who trains."""
        if time.monotonic() < self._next_urge:
            return
        self._next_urge = time.monotonic() + _URGE_S
        for goal in goals[:_MOST_URGED]:
            if not (self._watch and is_open(goal.cursor) and is_written(goal.cursor)):
                wake_sender(self._store, goal.folder.uuid)

    def _keep_a_sender(self) -> None:
        if is_sender_running(self._store):
            self._starts, self._next_start, self._not_started = 0, 0.0, None
        elif time.monotonic() >= self._next_start:
            self._starts += 1
            self._next_start = time.monotonic() + _START_S
            try:
                ensure_sender(self._store, self._settings)
            except OSError as error:  # where it would live is gone
                why = f"the sender can't be started: {error.strerror}: {error.filename}"
                self._not_started = Problem("StoreUnavailable", why, "check the tracking URI, or make the folder")

    def _problem(self) -> Problem | None:
        """Why the store can't be used, as far as anybody has tried since this began."""
        status = sender_status(self._store)
        if status.is_unavailable and status.since >= int(self._asked * 1000):
            return status.problem
        if self._not_started is not None:
            return self._not_started
        if self._starts > _MOST_STARTS:
            return Problem("StoreUnavailable", "the sender does not start", f"it says why in {self._store.log}")
        if time.monotonic() - self._moved > _PATIENCE_S and not self._watch:
            return Problem("StoreUnavailable", "nothing moves any more", f"the sender's log is {self._store.log}")
        return None

    def _is_settled(self, goal: _Goal) -> bool:
        """Whether there is nothing more to wait for."""
        if goal.is_gone or self._refusal(goal) is not None:
            return True
        if goal.waits():
            return False
        written = is_written(goal.cursor)
        if is_open(goal.cursor):
            return written and not self._watch  # what nobody writes any more, the sender closes
        return not (written and self._watch and self._run is None)

    def _refusal(self, goal: _Goal) -> Problem | None:
        """Why the run or its parent was refused as a whole, as far as that was tried since this began."""
        if own := self._tried(goal.folder):
            return own
        if goal.parent is None or goal.cursor.run_id or not (of_parent := self._tried(goal.parent)):
            return None
        return replace(of_parent, message=f"its parent is not in the store: {of_parent.message}")

    def _tried(self, folder: RunFolder) -> Problem | None:
        with suppress(FileNotFoundError):
            if folder.cursor.stat().st_mtime >= self._asked - _CLOCKS_S:
                return Problem.from_dict(Cursor.read(folder).problem)
        return None

    def _delivered_whole(self, goal: _Goal) -> SyncedRun:
        """How a run stands whose folder is gone; its last cursor may have been missed."""
        from agentnn.stores.opening import open_store
        from agentnn.stores.run_writer import UUID_TAG

        whole = replace(goal.first, delivered=goal.first.waiting, waiting=0, problem=None)
        if whole.run_id:
            found = open_store(self._settings).find_runs([whole.run_id])
        else:
            ours = Comparison(Field("tag", UUID_TAG), "=", goal.folder.uuid)
            found = list(open_store(self._settings).search_runs(RunQuery(filter=ours, limit=1, view="all")))
        return replace(whole, run_id=found[0].run_id, status=found[0].status) if found else whole


def _parent_of(folder: RunFolder) -> RunFolder | None:
    parent = first_record(folder).get("parent")
    return folder.store.run(str(parent)) if parent else None
