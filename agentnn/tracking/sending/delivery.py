"""One run's way from its journal into the store, record by record; the cursor moves after the store has answered."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import (
    AgentNNError,
    ConflictError,
    CorruptDataError,
    StoreUnavailable,
    UsageError,
)
from agentnn.records import PARENT_TAG
from agentnn.stores.run_writer import UUID_TAG, RunMender
from agentnn.tracking.endings import REASON_TAG
from agentnn.tracking.journal.journal import read_journal
from agentnn.tracking.journal.process_identity import ProcessIdentity
from agentnn.tracking.journal.state import open_private
from agentnn.tracking.sending.batches import Batch, Damage, Event, gather
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.value_delivery import REFUSALS, ValueDelivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.stores.run_writer import RunWriter
    from agentnn.tracking.journal.state import RunFolder

NOT_FINITE_TAG = "agentnn.non_finite"
PROCESS_TAG = "agentnn.process"
HEARTBEAT_TAG = "agentnn.heartbeat"
MISSING_PARENT_TAG = "agentnn.missing_parent"

HEARTBEAT_S = 60.0


class RunDelivery:
    """Delivers one run.

    Args:
        folder: The run's folder.
        writer: Writes to the store.

    Attributes:
        answered: How many requests the store has answered.
    """

    def __init__(self, folder: RunFolder, writer: RunWriter) -> None:
        self.folder = folder
        self.cursor = Cursor.read(folder)
        self.cursor.problem = None  # a new sender tries again
        self._writer = writer
        self._letters: list[str] = []
        self._values = ValueDelivery(writer, self.cursor, self._bury)
        self._values.unsure = self._is_taken_over = folder.cursor.exists()
        self.answered = 0
        self._next_heartbeat = time.monotonic() + HEARTBEAT_S

    @property
    def waits(self) -> bool:
        """Whether the journal holds more than was delivered."""
        return self.folder.journal.stat().st_size > self.cursor.offset

    @property
    def is_open(self) -> bool:
        """Whether the run goes on in the store."""
        return self.cursor.status in ("", "RUNNING")

    def has_living_writers(self) -> bool:
        """Whether a process that writes the run is alive; what has not said so yet counts as alive."""
        living = [text for text in self.cursor.writers if _is_alive(text)]
        if self.cursor.writers:  # workers come and go by the thousand; the first is the run's own process
            self.cursor.writers = list(dict.fromkeys([self.cursor.writers[0], *living]))
        return bool(living) or not self.cursor.writers

    def is_over(self, kept_s: float) -> bool:
        """Whether everything is delivered and nothing can follow.

        Args:
            kept_s: For how many seconds the folder stays while its process lives, which may want to know the run's id.
        """
        if self.is_open or self.waits or self.cursor.refused or self.cursor.damaged:
            return False
        only_its_owner = len(self.cursor.writers) == 1  # and that one takes nothing more once the run has ended
        delivered_for = time.time() - self.folder.cursor.stat().st_mtime
        return not self.has_living_writers() or (only_its_owner and delivered_for > kept_s)

    def deliver(self, most: int | None = None) -> int:
        """Deliver what the journal holds by now.

        Args:
            most: At most so many requests; all by default.

        Returns:
            How many requests were answered.

        Raises:
            StoreUnavailable: The store can't be used; what was delivered before is kept in mind.
        """
        count = 0
        self._take_over()
        for piece in gather(read_journal(self.folder.journal, self.cursor.offset)):
            self._letters.clear()
            try:
                self._deliver_piece(piece)
                self._move_to(piece.end)
            except (StoreUnavailable, CorruptDataError):
                self._values.unsure = self._values.unanswered = True
                raise
            if isinstance(piece, Event) and "copy" in piece.body and not self._letters:
                shutil.rmtree(self._copy(piece.body).parent, ignore_errors=True)
            count += 1
            self.answered += 1
            if count == most:
                break
        return count

    def close_abandoned(self) -> None:
        """Close a run whose writers are all dead: FAILED, with the reason, at the time of the last record."""
        last, end = 0, self.cursor.offset
        self._take_over()
        for record in read_journal(self.folder.journal):
            last, end = (record.body["time"] if record.body else last), record.end
        died = [one for text in self.cursor.writers if (one := ProcessIdentity.from_json(text))]
        who = f"process {died[0].pid} on {died[0].host}" if died else "its process"
        self._letters.clear()
        self._end("FAILED", f"{who} ended without closing the run: it was killed, or the machine stopped", last)
        self._move_to(max(end, self.folder.journal.stat().st_size))  # what broke off was never acknowledged

    def cut_tail(self) -> None:
        """Leave out what broke off at the end of the journal: it was never acknowledged, and nobody will end it."""
        self._letters.clear()
        self._move_to(self.folder.journal.stat().st_size)

    def beat(self) -> None:
        """Say in the store that the run's process lives, every minute."""
        if time.monotonic() >= self._next_heartbeat and self.cursor.run_id:
            self._next_heartbeat = time.monotonic() + HEARTBEAT_S
            self._writer.log_batch(self.cursor.run_id, tags={HEARTBEAT_TAG: str(_now())})

    def _deliver_piece(self, piece: Batch | Event | Damage) -> None:
        if isinstance(piece, Batch):
            self._values.send(piece)
        elif isinstance(piece, Damage):
            self._set_apart(piece)
        else:
            getattr(self, f"_on_{piece.body['kind']}", self._on_unknown)(piece.body)

    def _move_to(self, end: int) -> None:
        """Note that everything up to there is in the store, or among the dead letters.

        Raises:
            StoreUnavailable: There is no room for the note; nothing was noted.
        """
        before = self.cursor.offset, self.cursor.refused
        self.cursor.offset, self.cursor.refused = end, self.cursor.refused + len(self._letters)
        try:
            for letter in self._letters:
                _append_line(self.folder.dead_letters, letter)
            self.cursor.write(self.folder)
        except StoreUnavailable:
            self.cursor.offset, self.cursor.refused = before
            raise

    # --- what happens to a run

    def _on_start(self, body: dict[str, Any]) -> None:
        self._remember_writer(body)
        if "run_id" in body:
            self.cursor.experiment_id = self._writer.experiment_of(body["run_id"])
            self.cursor.run_id, self.cursor.name = body["run_id"], body["name"]
            self._on_resume(body)
        elif not self.cursor.run_id:
            self._create(body)
        if body.get("tags"):
            self._values.send(Batch(0, tags=dict(body["tags"])))

    def _on_resume(self, body: dict[str, Any]) -> None:
        others = [one for one in self.cursor.writers if one != body["process"]]
        self.cursor.writers = [body["process"], *others]  # the first is the one that has to close the run
        self._writer.reopen(self.cursor.run_id)
        self._writer.delete_tag(self.cursor.run_id, REASON_TAG)  # why it ended the last time is no longer so
        self._writer.log_batch(self.cursor.run_id, tags={PROCESS_TAG: body["process"]})
        self.cursor.status = "RUNNING"

    def _on_writer(self, body: dict[str, Any]) -> None:
        self._remember_writer(body)

    def _on_end(self, body: dict[str, Any]) -> None:
        self._end(body["status"], body["reason"], body["time"])

    def _on_file(self, body: dict[str, Any]) -> None:
        self._put([(self._copy(body), body["target"])], body)

    def _on_folder(self, body: dict[str, Any]) -> None:
        self._put(_files_in(self._copy(body), body["target"]), body)

    def _on_model(self, body: dict[str, Any]) -> None:
        from agentnn.tracking.models.model_files import build_model_folder

        with tempfile.TemporaryDirectory() as scratch:
            built = Path(scratch, "model")
            build_model_folder(self._copy(body), built)
            self._put(_files_in(built, body["target"]), body)

    def _on_unknown(self, body: dict[str, Any]) -> None:
        self._bury(body, "a newer agentnn wrote it")

    def _create(self, body: dict[str, Any]) -> None:
        cursor = self.cursor
        cursor.name = body["name"]
        cursor.experiment_id = self._writer.ensure_experiment(body["experiment"])
        tags = {
            UUID_TAG: self.folder.uuid,
            PROCESS_TAG: body["process"],
            "mlflow.user": body["user"],
            "mlflow.source.name": body["source"],
            "mlflow.source.type": "LOCAL",
            **self._parent_tag(body),
        }
        if cursor.creating:
            cursor.run_id = self._values.settled(lambda: self._find_made(body)) or ""
            if cursor.run_id:
                self._mend(body)
                self._writer.log_batch(cursor.run_id, tags=tags)  # it may have been made without
            cursor.asked_again = True
        cursor.creating = True
        cursor.write(self.folder)
        if not cursor.run_id:
            cursor.run_id = self._writer.create_run(
                cursor.experiment_id, body["name"], body["time"], tags, body["source"]
            )
        cursor.creating, cursor.status = False, "RUNNING"
        cursor.write(self.folder)

    def _take_over(self) -> None:
        """Before anything else: the sender that had the run may have been killed while it wrote to it."""
        if self._is_taken_over and self.cursor.run_id:
            first = next(read_journal(self.folder.journal), None)
            body = first.body if first is not None else None
            if body is not None and body["kind"] == "start" and "run_id" not in body:
                self._mend(body)
        self._is_taken_over = False

    def _mend(self, body: dict[str, Any]) -> None:
        if isinstance(self._writer, RunMender):
            self._writer.mend_run(self.cursor.experiment_id, self.cursor.run_id, body["name"], body["time"])

    def _find_made(self, body: dict[str, Any]) -> str | None:
        """The run that the store was asked for, if it has made it."""
        found = self._writer.find_runs_by_uuid(self.cursor.experiment_id, self.folder.uuid)
        if found:
            return found[0]
        return self._writer.find_run_without_tags(self.cursor.experiment_id, body["name"], body["time"])

    def _parent_tag(self, body: dict[str, Any]) -> dict[str, str]:
        if "parent" in body:
            parent = self.folder.store.run(body["parent"])
            cursor = Cursor.read(parent)
            run_id = cursor.run_id
            if not run_id and parent.journal.exists():
                if cursor.problem:
                    raise ConflictError(f"the parent of {body['name']!r} was refused: {cursor.problem['message']}")
                raise ParentNotReady(f"the parent of {body['name']!r} is not in the store yet")
            return {PARENT_TAG: run_id} if run_id else {MISSING_PARENT_TAG: body["parent"]}
        if "parent_run_id" not in body:
            return {}
        try:
            self._writer.experiment_of(body["parent_run_id"])
        except REFUSALS:
            return {MISSING_PARENT_TAG: body["parent_run_id"]}
        return {PARENT_TAG: body["parent_run_id"]}

    def _remember_writer(self, body: dict[str, Any]) -> None:
        if body["process"] not in self.cursor.writers:
            self.cursor.writers.append(body["process"])

    def _end(self, status: str, reason: str, end_time: int) -> None:
        tags = {REASON_TAG: reason} if reason else {}
        if self.cursor.not_finite:
            tags[NOT_FINITE_TAG] = json.dumps(self.cursor.not_finite)
        if tags:
            self._values.send(Batch(0, tags=tags))
        self._writer.terminate(self.cursor.run_id, status, end_time)
        if self.cursor.asked_again:
            self._delete_twins()
        self.cursor.status = status

    def _delete_twins(self) -> None:
        """Delete what the store made of a request for this run that it carried out after a second one."""
        found = self._writer.find_runs_by_uuid(self.cursor.experiment_id, self.folder.uuid)
        for twin in found if self.cursor.run_id in found else ():
            if twin != self.cursor.run_id:
                self._writer.delete_run(twin)

    # --- files, and what can't be delivered

    def _copy(self, body: dict[str, Any]) -> Path:
        """Where the copy of a logged file waits; it is removed once delivered, so it must be one of ours."""
        folder, name = Path(body["copy"]).parts
        if {folder, name} & {"..", "/"}:
            raise UsageError(f"{body['copy']} is not in {self.folder.files}")
        return self.folder.files / folder / name

    def _put(self, files: Sequence[tuple[Path, str]], body: dict[str, Any]) -> None:
        try:
            for source, target in files:
                if not source.is_file():
                    raise UsageError(f"{source} is not there any more")
                self._writer.put_file(self.cursor.run_id, source, target)
        except REFUSALS as error:
            self._bury(body, str(error))

    def _bury(self, body: dict[str, Any], reason: str) -> None:
        """Put what the store refused for good where the user finds it, once the rest of the request is delivered."""
        self._letters.append(json.dumps({"time": _now(), "reason": reason, "record": body}))

    def _set_apart(self, damage: Damage) -> None:
        """Keep damaged bytes, with a line before them that says where they were."""
        _append_line(self.folder.damaged, f"bytes {damage.offset} to {damage.end} of the journal: {damage.raw!r}")
        self.cursor.damaged += 1


class ParentNotReady(AgentNNError):
    """A child's turn came before its parent's."""


def _is_alive(identity: str) -> bool:
    process = ProcessIdentity.from_json(identity)
    return process is not None and process.is_here and process.is_alive


def _files_in(folder: Path, target: str) -> list[tuple[Path, str]]:
    return [
        (file, "/".join(filter(None, (target, file.relative_to(folder).as_posix()))))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]


def _append_line(path: Path, line: str) -> None:
    try:
        with os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(line.encode("utf-8") + b"\n")
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be written: {error.strerror}", hint="make room on the disk") from error


def _now() -> int:
    return time.time_ns() // 1_000_000
