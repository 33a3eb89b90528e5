"""What waits on this machine for delivery, what was refused or is damaged, and how it is thrown away."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, CorruptDataError, NotFoundError, StoreUnavailable
from agentnn.tracking.journal.journal import count_records, read_journal
from agentnn.tracking.journal.process_identity import ProcessIdentity
from agentnn.tracking.journal.state import RunFolder, StoreFolder, read_json, state_directory
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.problem import Problem
from agentnn.tracking.sending.sender_control import sender_status, with_absolute_uris

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentnn.settings import Settings
    from agentnn.tracking.sending.sender_control import SenderStatus

_SHORTEST_PREFIX = 4
_SHOWN = 5
_OPEN = ("", "RUNNING")


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
        refused_keys: What these were: ``params.learning_rate``, ``artifact equity.png``.
        damaged: Records of the journal that can't be read.
        problem: Why the rest waits; ``None`` when nothing stands in its way.
        folder: Where the journal is, and beside it what was refused or is damaged.
    """

    uuid: str
    run_id: str
    name: str
    status: str
    delivered: int
    waiting: int
    refused: int
    refused_keys: tuple[str, ...]
    damaged: int
    problem: Problem | None
    folder: Path

    @property
    def is_of_note(self) -> bool:
        """Whether there is anything to say of it."""
        return bool(self.delivered or self.waiting or self.refused or self.damaged or self.problem)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        problem = self.problem.message if self.problem else None
        keys = list(self.refused_keys)
        return {**asdict(self), "refused_keys": keys, "problem": problem, "folder": str(self.folder)}


def waiting_elsewhere(settings: Settings) -> dict[str, int]:
    """How many runs wait on this machine for other stores and are not being delivered, by the store's URI."""
    own = StoreFolder.of(with_absolute_uris(settings)).path
    found: dict[str, int] = {}
    for description in sorted(state_directory().glob("*/store.json")):
        store = StoreFolder(description.parent)
        if store.path == own or is_at_work(sender_status(store)):
            continue
        waiting = sum(1 for folder in store.runs() if _waiting(folder, Cursor.read(folder).offset))
        if waiting:
            uri = str(read_json(description).get("tracking_uri"))
            found[uri] = found.get(uri, 0) + waiting
    return found


def find_folders(store: StoreFolder, run: str | None = None) -> list[RunFolder]:
    """The runs that have a journal on this machine.

    Args:
        store: The store's folder.
        run: Only those that this means: a uuid, a run id, the beginning of one of them, or a name.
    """
    return [folder for folder in store.runs() if run is None or _is_meant(folder, run)]


def standing(
    folder: RunFolder, cursor: Cursor, *, began: int | None = None, problem: Problem | None = None
) -> SyncedRun:
    """How a run's delivery stands.

    Args:
        folder: The run's folder.
        cursor: How far its delivery is.
        began: How far it was when it was looked at first, in bytes of the journal; as far as now without it.
        problem: Why the store can't be used.
    """
    waiting = _waiting(folder, cursor.offset)
    delivered = 0 if began is None else _between(folder, began, cursor.offset)
    is_held_up = waiting > 0 or (is_open(cursor) and not is_written(cursor))
    return SyncedRun(
        uuid=folder.uuid,
        run_id=cursor.run_id,
        name=cursor.name or str(first_record(folder).get("name", "")),
        status=cursor.status,
        delivered=delivered,
        waiting=waiting,
        refused=cursor.refused,
        refused_keys=tuple(_refused_keys(folder)) if cursor.refused else (),
        damaged=cursor.damaged,
        problem=Problem.from_dict(cursor.problem) or (problem if is_held_up else None),
        folder=folder.path,
    )


def first_record(folder: RunFolder) -> dict[str, Any]:
    """What a run's journal says first, which is how it started; empty when that can't be read."""
    with suppress(StoreUnavailable):
        first = next(read_journal(folder.journal), None)
        return first.body if first is not None and first.body else {}
    return {}


def is_at_work(status: SenderStatus) -> bool:
    """Whether a sender is about to deliver."""
    return status.state in ("starting", "delivering")


def is_open(cursor: Cursor) -> bool:
    """Whether a run goes on in the store, or is not there yet."""
    return cursor.status in _OPEN


def is_written(cursor: Cursor) -> bool:
    """Whether a process that writes the run is alive; one that has not said so yet counts as alive."""
    writers = [ProcessIdentity.from_json(text) for text in cursor.writers]
    return not writers or any(one is not None and one.is_here and one.is_alive for one in writers)


def undelivered(runs: Sequence[SyncedRun]) -> AgentNNError | None:
    """Why not everything was delivered: the gravest reason, as the error with its exit code; else ``None``."""
    if held_up := [one for one in runs if one.problem]:
        return _waits(held_up)
    if damaged := [one for one in runs if one.damaged]:
        return _damage(damaged)
    if refused := [one for one in runs if one.refused]:
        return _refusal(refused)
    return None


def discard(settings: Settings, run: str) -> SyncedRun:
    """Throw away what was refused or is damaged of a run, and all of a run that was refused as a whole.

    Args:
        settings: Name the store.
        run: Its uuid, its run id, the beginning of one of them, or its name.

    Returns:
        How the run stood; its folder is gone.

    Raises:
        NotFoundError: There is no such run on this machine, or more than one.
        ConflictError: Something of it could still be delivered, or a process still writes it.
    """
    found = find_folders(StoreFolder.of(with_absolute_uris(settings)), run)
    if not found:
        raise NotFoundError(f"nothing of a run {run!r} is kept on this machine", hint="agentnn run sync lists what is")
    if len(found) > 1:
        uuids = tuple(one.uuid for one in found)
        raise NotFoundError(
            f"{len(found)} runs are meant by {run!r}",
            candidates=uuids,
            hint=f"name one by its uuid: {', '.join(uuids)}",
        )
    folder, cursor = found[0], Cursor.read(found[0])
    stood = standing(folder, cursor)
    if stood.waiting and not cursor.problem:
        raise ConflictError(
            f"{in_records(stood.waiting)} of the run {stood.name!r} can still be delivered",
            hint=f"agentnn run sync {run}",
        )
    if is_open(cursor) and (is_written(cursor) or not cursor.problem):
        raise ConflictError(
            f"the run {stood.name!r} has not ended", hint=f"agentnn run sync {run} --watch waits for it"
        )
    shutil.rmtree(folder.path)
    return stood


def in_records(count: int) -> str:
    """``1 record``, ``5 records``."""
    return f"{count} record" if count == 1 else f"{count} records"


def how_to_discard(run: SyncedRun) -> str:
    """What a user may do about refused or damaged records."""
    return f"when it is not needed any more: agentnn run sync {run.run_id or run.uuid} --discard"


def _waiting(folder: RunFolder, offset: int) -> int:
    """How many records wait; one that breaks off at the end of the journal was never acknowledged."""
    count = count_records(folder.journal, offset)
    if count == 1:
        with suppress(StoreUnavailable):
            return int(next(read_journal(folder.journal, offset), None) is not None)
    return count


def _between(folder: RunFolder, began: int, end: int) -> int:
    """How many records stand between two offsets."""
    return count_records(folder.journal, began) - count_records(folder.journal, end)


def _is_meant(folder: RunFolder, run: str) -> bool:
    cursor = Cursor.read(folder)
    if len(run) >= _SHORTEST_PREFIX and (folder.uuid.startswith(run) or cursor.run_id.startswith(run)):
        return True
    return run == (cursor.name or first_record(folder).get("name"))


def _refused_keys(folder: RunFolder) -> dict[str, None]:
    """What a run's dead letters are about, each once."""
    found: dict[str, None] = {}
    for line in folder.dead_letters.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)["record"]
            kind, values = record["kind"], record.get("values") or ()
        except (ValueError, TypeError, KeyError):  # a line that broke off
            continue
        found |= {f"{kind}.{one['key'] if kind == 'metrics' else one}": None for one in values}
        if not values:
            found[f"artifact {record['target']}" if record.get("target") else kind] = None
    return found


def _waits(runs: Sequence[SyncedRun]) -> AgentNNError:
    problem = next(one.problem for one in runs if one.problem)
    count = sum(one.waiting for one in runs)
    what = f"{in_records(count)} of {_names(runs)} wait" if count else f"{_names(runs)} can't be closed: the end waits"
    return problem.error(
        f"{what} on this machine, nothing is lost: {problem.message}",
        hint="when that is repaired: agentnn run sync",
    )


def _damage(runs: Sequence[SyncedRun]) -> AgentNNError:
    files = _some([str(RunFolder(one.folder).damaged) for one in runs])
    return CorruptDataError(
        f"{in_records(sum(one.damaged for one in runs))} of {_names(runs)} can't be read, and are kept in {files}",
        hint=how_to_discard(runs[0]),
    )


def _refusal(runs: Sequence[SyncedRun]) -> AgentNNError:
    keys = _some(list(dict.fromkeys(key for one in runs for key in one.refused_keys)))
    files = _some([str(RunFolder(one.folder).dead_letters) for one in runs])
    count = in_records(sum(one.refused for one in runs))
    return ConflictError(
        f"the store refused {count} of {_names(runs)} for good ({keys}); kept in {files}",
        hint=how_to_discard(runs[0]),
    )


def _names(runs: Sequence[SyncedRun]) -> str:
    return f"the {'run' if len(runs) == 1 else 'runs'} {_some([repr(one.name or one.uuid) for one in runs])}"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
