"""Runs that are RUNNING in the store though nobody writes them any more.

A run of this machine is judged by its process, which is either there or not. Of a run of another machine only the signs
of life are seen, and of one that agentnn did not start not even these: such a run is closed when the user names it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from agentnn.records import iso_time
from agentnn.stores.run_writer import UUID_TAG
from agentnn.tracking.endings import REASON_TAG
from agentnn.tracking.journal.process_identity import ProcessIdentity, this_process
from agentnn.tracking.sending.delivery import HEARTBEAT_TAG, PROCESS_TAG
from agentnn.tracking.upkeep.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from agentnn.records import Run
    from agentnn.stores.base import TrackingStore
    from agentnn.stores.run_writer import RunWriter

STALE_MS = 180_000
"""A process that lives says so every minute."""

_LONG_MS = 86_400_000
_CLOSE = "close it as FAILED"


def is_ours(run: Run) -> bool:
    """Whether agentnn has started the run, or resumed it."""
    return UUID_TAG in run.tags or PROCESS_TAG in run.tags


class DeadRuns:
    """Finds the dead among the runs that are RUNNING.

    Args:
        store: Tells their signs of life.
        open_writer: Opens what closes them.
        told: The ids of runs that the user named.
        dead_here: The ids of runs whose journal is on this machine and whose process is dead.
    """

    def __init__(
        self,
        store: TrackingStore,
        open_writer: Callable[[], RunWriter],
        *,
        told: Collection[str] = (),
        dead_here: Iterable[str] = (),
    ) -> None:
        self._store = store
        self._open_writer = open_writer
        self._told = told
        self._dead = set(dead_here)

    def find(self, running: Iterable[Run]) -> Iterator[Finding]:
        """The dead, and those that may be.

        Args:
            running: Active runs that are RUNNING and have no journal on this machine.
        """
        others, listed = [], sorted(running, key=lambda run: run.start_time or 0)  # a parent before its children
        self._dead |= self._ended_parents(listed)
        for run in listed:
            process = ProcessIdentity.from_json(run.tags.get(PROCESS_TAG, ""))
            if process is not None:
                yield from self._with_process(run, process)
            elif run.parent_run_id in self._dead:
                self._dead.add(run.run_id)
                yield self._in_doubt(run, f"its parent {run.parent_run_id} has ended")
            elif run.run_id not in self._told:
                others.append(run)
            elif silent_since := self._silent_since(run):
                yield self._in_doubt(run, f"no sign of life since {silent_since}")
        if long := [run for run in others if (run.start_time or 0) < _now() - _LONG_MS]:
            yield _not_ours(long)

    def _ended_parents(self, running: Iterable[Run]) -> set[str]:
        """Those of which a run that agentnn did not start goes on."""
        parents = {run.parent_run_id for run in running if PROCESS_TAG not in run.tags}
        found = self._store.find_runs(sorted(filter(None, parents)))
        return {run.run_id for run in found if run.status not in ("RUNNING", "SCHEDULED")}

    def _with_process(self, run: Run, process: ProcessIdentity) -> Iterator[Finding]:
        name = f"process {process.pid} on {process.host}"
        if process.is_here and process.boot == this_process().boot:
            if not process.is_alive:
                self._dead.add(run.run_id)
                yield self._dead_run(run, name)
        elif silent_since := self._silent_since(run):
            if process.is_here:  # since when the machine was started again
                self._dead.add(run.run_id)
                yield self._dead_run(run, name)
            else:
                yield self._in_doubt(run, f"{name} has shown no sign of life since {silent_since}")

    def _dead_run(self, run: Run, process: str) -> Finding:
        reason = f"{process} ended without closing the run: it was killed, or the machine stopped"
        return Finding.of_run("dead-process", run, f"RUNNING, but {reason}", _CLOSE, partial(self._close, run, reason))

    def _in_doubt(self, run: Run, reason: str) -> Finding:
        """A run that is closed only when the user names it."""
        if run.run_id in self._told:
            action = partial(self._close, run, f"closed by agentnn run doctor: {reason}")
            return Finding.of_run("dead-process", run, f"RUNNING, but {reason}", _CLOSE, action)
        repair = f"if it is dead: agentnn run doctor {run.run_id} --fix"
        return Finding.of_run("dead-process", run, f"RUNNING, but {reason}", repair)

    def _silent_since(self, run: Run) -> str | None:
        """The last sign of life, as text; ``None`` if that was just now."""
        known = max(run.start_time or 0, _heartbeat(run))
        if known > _now() - STALE_MS:  # looking at the metrics costs more
            return None
        last = self._last_sign(run)
        return None if last > _now() - STALE_MS else iso_time(last)

    def _last_sign(self, run: Run) -> int:
        """When the run was started, logged a metric, or had its process say that it lives, whichever came last."""
        histories = (self._store.metric_history(run.run_id, key) for key in run.metrics)
        logged = max((point.timestamp for history in histories for point in history), default=0)
        return max(run.start_time or 0, _heartbeat(run), logged)

    def _close(self, run: Run, reason: str) -> None:
        now = self._store.find_runs([run.run_id])
        if now and now[0].status == "RUNNING":  # it may have ended since it was looked at
            end = self._last_sign(run)
            self._open_writer().log_batch(run.run_id, tags={REASON_TAG: reason})
            self._open_writer().terminate(run.run_id, "FAILED", end)


def _not_ours(runs: Sequence[Run]) -> Finding:
    many = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    started = f"{iso_time(runs[0].start_time)} ({runs[0].name or runs[0].run_id})"
    problem = f"{many} that agentnn did not start: RUNNING for more than a day, the oldest since {started}"
    return Finding("foreign-runs", problem, "agentnn run doctor RUN --fix closes those that you name", "notice")


def _heartbeat(run: Run) -> int:
    text = run.tags.get(HEARTBEAT_TAG, "")
    return int(text) if text.isdecimal() else 0


def _now() -> int:
    return time.time_ns() // 1_000_000
