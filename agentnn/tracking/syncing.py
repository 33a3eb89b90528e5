"""Delivering what waits on this machine, while somebody watches."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, NotFoundError
from agentnn.tracking.delivered import Cursor
from agentnn.tracking.journal import count_records
from agentnn.tracking.problem import Problem
from agentnn.tracking.sender import Sender
from agentnn.tracking.sender_control import sender_status, take_lock, wake_sender, with_absolute_uris
from agentnn.tracking.state import StoreFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.settings import Settings
    from agentnn.tracking.state import RunFolder

_NAP_S = 0.05
_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class SyncedRun:
    """How a run's delivery stands.

    Attributes:
        uuid: Our own id of the run.
        run_id: MLflow's; empty while the run is not in the store.
        name: The run's name.
        status: The run's status in the store; empty while it is not there.
        delivered, waiting: Records that were delivered now, and those that wait.
        refused: Records that the store refused for good, ever.
        damaged: Records of the journal that can't be read.
        problem: Why the rest waits; empty when nothing does.
        folder: Where the journal is, and beside it what was refused or is damaged.
    """

    uuid: str
    run_id: str
    name: str
    status: str
    delivered: int
    waiting: int
    refused: int
    damaged: int
    problem: str
    folder: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def waiting_runs(settings: Settings) -> list[SyncedRun]:
    """The runs of a store that wait on this machine, or of which something was refused or is damaged."""
    store = StoreFolder.of(with_absolute_uris(settings))
    found = [_state_of(folder, 0, sender_status(store).problem) for folder in store.runs()]
    return [run for run in found if run.waiting or run.refused or run.damaged or run.problem]


def sync(settings: Settings, run: str | None = None) -> Iterator[list[SyncedRun]]:
    """Deliver what waits for a store; the sender of the background does it when there is one.

    Args:
        settings: Name the store.
        run: Only say how this run stands: its uuid, its run id, the beginning of one of them, or its name.

    Yields:
        How the runs stand, again and again while it goes on; the last one is how they stand in the end.

    Raises:
        NotFoundError: No such run waits here.
        AgentNNError: The store can't be used; nothing is lost.
    """
    settings = with_absolute_uris(settings)
    store = StoreFolder.of(settings)
    folders = [one for one in store.runs() if run is None or _is_meant(one, run)]
    if run is not None and not folders:
        raise NotFoundError(f"no run {run!r} waits on this machine", hint="agentnn run sync lists those that do")
    before = {one.uuid: _waiting(one) for one in folders}
    lock = take_lock(store.lock) if folders else None
    problem: AgentNNError | None = None
    try:
        steps = _ours(Sender(store, settings)) if lock is not None else _others(store, folders)
        for _ in steps if folders else ():
            yield [_state_of(one, before[one.uuid], None) for one in folders]
    except AgentNNError as error:
        problem = error
    finally:
        if lock is not None:
            os.close(lock)
    yield [_state_of(one, before[one.uuid], Problem.of(problem) if problem else None) for one in folders]
    if problem is not None:
        raise problem


def _ours(sender: Sender) -> Iterator[None]:
    """Deliver in this process, as long as there is progress."""
    while sender.deliver():
        yield


def _others(store: StoreFolder, folders: list[RunFolder]) -> Iterator[None]:
    """Have the sender that runs already deliver, and look on."""
    last, since = -1, time.monotonic()
    while (waiting := sum(map(_waiting, folders))) and time.monotonic() - since < _PATIENCE_S:
        if waiting != last:
            last, since = waiting, time.monotonic()
        wake_sender(store)
        time.sleep(_NAP_S)
        status = sender_status(store)
        if status.is_unavailable and status.problem is not None and time.monotonic() - since > 1:
            raise status.problem.error()
        yield


def _state_of(folder: RunFolder, before: int, problem: Problem | None) -> SyncedRun:
    cursor = Cursor.read(folder)
    waiting = _waiting(folder)
    own = Problem.from_dict(cursor.problem)
    why = own or (problem if waiting else None)
    return SyncedRun(
        uuid=folder.uuid,
        run_id=cursor.run_id,
        name=cursor.name,
        status=cursor.status,
        delivered=max(before - waiting, 0),
        waiting=waiting,
        refused=cursor.refused,
        damaged=cursor.damaged,
        problem=why.message if why else "",
        folder=str(folder.path),
    )


def _waiting(folder: RunFolder) -> int:
    return count_records(folder.journal, Cursor.read(folder).offset)


def _is_meant(folder: RunFolder, run: str) -> bool:
    cursor = Cursor.read(folder)
    return cursor.name == run or any(len(run) >= 4 and one.startswith(run) for one in (folder.uuid, cursor.run_id))
