"""The values of a run: the history of each metric, and the final value of each, two files that say the same.

A call first adds to ``history.jsonl`` and then replaces ``metrics.toml``. Where a writer is killed between the two, the
lock's notes tell, and the next call or the next reader completes the final values from the history.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import CorruptDataError, StoreUnavailable
from agentnn.stores.toml.layout import HISTORY, METRICS
from agentnn.stores.toml.runs import history
from agentnn.stores.toml.runs.final_values import Leaf, put
from agentnn.stores.toml.runs.lock_notes import Notes
from agentnn.stores.toml.runs.replacing import replace_file, sync_folder, unwritable
from agentnn.stores.toml.text.comments import has_comments
from agentnn.stores.toml.text.documents import parse, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Metric

SYNC_S = 1.0
"""How often at most values are synchronised with the disk, which takes it milliseconds."""


class _Known(NamedTuple):
    """What the files held when they were written last.

    Attributes:
        writer: Who wrote them, as the lock notes.
        status: The status of ``metrics.toml``.
        document: What it holds.
        commented: Its text, if it has comments.
        history: The inode of the history.
        end: The end of its last whole line.
        latest: The greatest point of each metric in it.
    """

    writer: str
    status: tuple[int, ...]
    document: dict[str, Any]
    commented: bytes
    history: int
    end: int
    latest: dict[str, Metric]


class RunValues:
    """The values in the folder of a run; it must be locked for everything but reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metrics = folder / METRICS
        self._history = folder / HISTORY
        self._known: _Known | None = None
        self._synced_at = float("-inf")
        self._unsynced = False

    def read(self) -> dict[str, Any]:
        """The final values; see :meth:`~agentnn.stores.toml.runs.run_directory.RunDirectory.read_metrics`."""
        document = self._parsed()[0]
        try:
            size = self._history.stat().st_size
        except OSError:
            return document
        done = Notes.read_from(self._folder).done
        if done is not None and size > done:
            latest: dict[str, Metric] = {}
            _, unfinished = _read_on(self._history, 0, latest, done)
            _put_latest(document, unfinished, latest)
        return document

    def add(
        self,
        descriptor: int,
        given: Sequence[Leaf],
        points_of: Callable[[Mapping[str, Metric]], Iterable[Metric]],
    ) -> dict[str, Any]:
        """Put values into the final ones, and add points to the history.

        Args:
            descriptor: That of the lock.
            given: The values.
            points_of: The points, given the greatest point of each metric so far.

        Returns:
            All final values.
        """
        notes = Notes.read(descriptor)
        known, is_behind = self._current(notes)
        points = list(points_of(known.latest))
        if not (given or points or is_behind):
            return _copy(known.document)
        self._known = None  # until everything is written
        greatest = _take_points(known.latest, points)
        recorded = {point.key for point in points}
        for leaf in given:
            if leaf.name not in recorded or greatest.pop(leaf.name, False):
                put(known.document, leaf)
        _put_latest(known.document, greatest, known.latest)
        self._known = self._write(descriptor, known, notes, history.lines_of(points))
        return _copy(self._known.document)

    def sync(self) -> None:
        """Have the disk hold everything that was logged."""
        if not self._unsynced:
            return
        try:
            for path in (self._history, self._metrics):
                with suppress(FileNotFoundError), path.open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(self._folder)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        self._unsynced = False

    def _current(self, notes: Notes) -> tuple[_Known, bool]:
        """What the files hold now, and whether the final values were behind the history."""
        known, self._known = self._known, None
        status = _status(self._metrics)
        if known is None or (known.writer, known.status) != (notes.writer, status):
            document, commented = self._parsed()
        else:
            document, commented = known.document, known.commented
        size, _, inode = _status(self._history) or (0, 0, 0)
        end, latest = 0, {}
        if known is not None and known.history == inode and known.end <= size:
            end, latest = known.end, known.latest
        unfinished: dict[str, bool] = {}
        if size > end:
            done = size if notes.done is None else notes.done
            try:
                end, unfinished = _read_on(self._history, end, latest, done)
            except CorruptDataError:  # it is, or somebody has changed what came before
                latest = {}
                end, unfinished = _read_on(self._history, 0, latest, done)
            _put_latest(document, unfinished, latest)
        self._known = _Known(notes.writer, status, document, commented, inode, end, latest)
        return self._known, bool(unfinished)

    def _write(self, descriptor: int, known: _Known, before: Notes, lines: bytes) -> _Known:
        data = render(known.document, known.commented)
        now = time.monotonic()
        sync = now - self._synced_at >= SYNC_S
        notes = Notes.by_this_writer(known.end if before.done is None else min(before.done, known.end))
        notes.write(descriptor, self._folder)
        end, inode = known.end, known.history
        try:
            if lines:
                end, inode = history.append(self._history, lines, end, sync=sync)
            status = replace_file(self._metrics, data, sync=sync)
        except BaseException:
            if lines:
                history.cut(self._history, known.end)
            raise
        self._unsynced = not sync or (self._unsynced and not lines)  # the history may still wait
        self._synced_at = now if sync else self._synced_at
        if end != notes.done:
            notes._replace(done=end).write(descriptor, self._folder)
        commented = data if has_comments(data) else b""
        return _Known(notes.writer, _numbers(status), known.document, commented, inode, end, known.latest)

    def _parsed(self) -> tuple[dict[str, Any], bytes]:
        try:
            data = self._metrics.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            data = b""
        except OSError as error:
            raise StoreUnavailable(f"{self._metrics} can't be read: {error.strerror}") from error
        return parse(data, self._metrics), data if has_comments(data) else b""


def _read_on(path: Path, end: int, latest: dict[str, Metric], done: int) -> tuple[int, dict[str, bool]]:
    """Read a history from the end of a line on, and note the greatest points.

    Returns:
        The end of the last whole line, and the metrics of the lines that are not among the final values yet.
    """
    unfinished: dict[str, bool] = {}
    for line in history.read_lines(path, end):
        _take_points(latest, line.points)
        end = line.end
        if line.start >= done:
            unfinished.update((point.key, True) for point in line.points)
    return end, unfinished


def _take_points(latest: dict[str, Metric], points: Iterable[Metric]) -> dict[str, bool]:
    """Note the greatest points; gives the metrics that have a greater one than before, in order."""
    changed: dict[str, bool] = {}
    for point in points:
        there = latest.get(point.key)
        if there is None or history.rank(point) >= history.rank(there):
            latest[point.key] = point
            changed[point.key] = True
    return changed


def _put_latest(document: dict[str, Any], names: Iterable[str], latest: Mapping[str, Metric]) -> None:
    for name in names:
        put(document, Leaf((name,), name, latest[name].value))


def _status(path: Path) -> tuple[int, ...]:
    try:
        return _numbers(path.stat())
    except OSError:
        return ()


def _numbers(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _copy(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict | list) else value for key, value in table.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return _copy(value)
    return [_copied(one) for one in value] if isinstance(value, list) else value
