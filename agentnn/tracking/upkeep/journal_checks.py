"""What may be wrong with the runs that wait on this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agentnn.errors import StoreUnavailable
from agentnn.tracking.journal.journal import read_journal
from agentnn.tracking.journal.process_identity import ProcessIdentity
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.sender_control import sender_status
from agentnn.tracking.upkeep.findings import Finding
from agentnn.tracking.upkeep.syncing import sync
from agentnn.tracking.upkeep.waiting import first_record, how_to_discard, in_records, is_at_work, is_open, standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.settings import Settings
    from agentnn.tracking.journal.state import RunFolder
    from agentnn.tracking.sending.sender_control import SenderStatus


def journal_findings(folders: Sequence[RunFolder], settings: Settings) -> Iterator[Finding]:
    """What is wrong with runs that have a journal; what a sender is about to deliver is in order.

    Args:
        folders: The runs.
        settings: Name their store.
    """
    if not folders:
        return
    status = sender_status(folders[0].store)
    for folder in folders:
        try:
            yield from list(_of_run(folder, status, settings))
        except StoreUnavailable:
            if folder.journal.exists():
                raise  # else it was delivered and removed just now


def _of_run(folder: RunFolder, status: SenderStatus, settings: Settings) -> Iterator[Finding]:
    cursor = Cursor.read(folder)
    stands = standing(folder, cursor, problem=status.problem)
    experiment = first_record(folder).get("experiment")
    finding = partial(Finding, run_id=cursor.run_id or None, run=stands.name, experiment=experiment)
    deliver = partial(_deliver, settings, folder.uuid)
    waits = f"{in_records(stands.waiting)} wait on this machine"
    if died := _dead_writer(folder, cursor):
        problem = f"process {died.pid} on {died.host} ended without closing the run"
        problem += f"; {waits}" if stands.waiting else ""
        yield finding("dead-process", problem, "deliver what waits, and close it as FAILED", action=deliver)
    elif stands.waiting and (stands.problem or not is_at_work(status)):
        why = f": {stands.problem.message}" if stands.problem else ""
        yield finding("waiting", f"{waits}{why}", "deliver them: agentnn run sync", action=deliver)
    if stands.damaged:
        problem = f"{in_records(stands.damaged)} can't be read, and are kept in {folder.damaged}"
        yield finding("damaged", problem, how_to_discard(stands))
    if stands.refused:
        what = f"{in_records(stands.refused)} for good ({', '.join(stands.refused_keys)})"
        yield finding("refused", f"the store refused {what}; kept in {folder.dead_letters}", how_to_discard(stands))


def _dead_writer(folder: RunFolder, cursor: Cursor) -> ProcessIdentity | None:
    """The process that left a run open, when it and all others that wrote the run are dead."""
    goes_on, said = is_open(cursor), list(cursor.writers)
    for record in read_journal(folder.journal, cursor.offset):
        kind = record.body["kind"] if record.body else ""
        if record.body and kind in ("start", "resume", "writer"):
            said.append(record.body["process"])
        if kind in ("start", "resume", "end"):
            goes_on = kind != "end"
    writers = [one for one in map(ProcessIdentity.from_json, said) if one is not None]
    is_dead = goes_on and not any(one.is_here and one.is_alive for one in writers)
    return writers[0] if writers and is_dead else None


def _deliver(settings: Settings, uuid: str) -> None:
    for one in sync(settings, uuid):
        if one.problem is not None:
            raise one.problem.error()
