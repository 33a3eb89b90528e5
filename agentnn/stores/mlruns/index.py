"""What the files of many runs said when they were read last, so that a question opens only those that have changed.

A question asks the same of every run: its value of a metric, a param, its ``meta.yaml``. So the index keeps columns:
of one file of each run, what tells whether it has changed, and what it said. A question looks at the status of each
file and believes the column where nothing has changed, whoever changed it and how. A folder's own time would not do,
since MLflow writes into files that are there. On a network file system a status is as old as the kernel lets it become
(NFS: a minute at most), and so is the answer.

The index lies in this machine's own folder, since the folder of runs is MLflow's. Without it, or where it is damaged,
full or held, the files are read.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agentnn.errors import StoreUnavailable
from agentnn.stores.file_signature import NUMBERS, UNSETTLED_NS, is_settled, packed, signature

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from agentnn.stores.index_file import IndexFile
    from agentnn.stores.mlruns.facts import Fact

T = TypeVar("T")

_VERSION = 1001
"""Other kinds of indexes have other numbers."""

_TABLES = """
CREATE TABLE columns (
    folder BLOB, file TEXT, fact TEXT, runs TEXT, signatures BLOB, said TEXT, checksum INTEGER, saved INTEGER,
    PRIMARY KEY (folder, file, fact)
)
"""

_LOCK_TIMEOUT_S = 1.0
"""Reading the files takes about as long."""

_PAUSE_S = 60.0
"""How long the index is left alone after it could not be used."""

_MANY_RUNS, _FEW_FILES, _MANY_FILES, _LARGE_FILE = 1000, 20, 500, 1 << 18
"""A column is worth its own reading once so many of its files are asked for, few where the experiment has many runs, or
a file has so many bytes."""

_NEW_SHARE, _NEW_BYTES = 20, 1 << 20
"""A column is saved when one file in so many was read, or so many bytes: fewer are read again as fast."""

_LONGEST_TEXT = 500


class _Key(NamedTuple):
    """What a column is called; SQLite takes no text that is not Unicode, and a folder may have any name."""

    folder: bytes
    file: str
    fact: str


class _Known(NamedTuple):
    """What a file said, and its signature then."""

    numbers: tuple[int, int, int, int]
    said: Any


class _Column:
    """One file of every run of an experiment."""

    __slots__ = ("asked", "fresh", "is_loaded", "known")

    def __init__(self) -> None:
        self.known: dict[str, _Known] = {}
        self.fresh: dict[str, _Known] = {}
        self.asked = 0
        self.is_loaded = False


class RunIndex:
    """The index of a folder of runs; threads and processes may share it.

    Args:
        root: The folder.
        megabytes: How large it may become; the columns that were saved longest ago go first.
    """

    def __init__(self, root: Path, megabytes: float) -> None:
        self._most = int(megabytes * 1e6)
        self._root = root
        self._file: IndexFile | None = None
        self._not_before = 0.0

    def load(self, key: _Key, fact: Fact) -> dict[str, _Known]:
        """What a column holds, by the runs' ids; nothing when it is new."""
        return self._use(lambda connection: _load(connection, key, fact)) or {}

    def save(self, columns: Sequence[tuple[_Key, dict[str, _Known]]]) -> None:
        """Keep columns, each in place of what was there."""
        self._use(lambda connection: _save(connection, columns, self._most))

    def _use(self, act: Callable[[sqlite3.Connection], T]) -> T | None:
        if time.monotonic() < self._not_before:
            return None
        try:
            self._file = self._file or _index_file(self._root)
            return self._file.use(act)
        except (StoreUnavailable, OSError):
            self._not_before = time.monotonic() + _PAUSE_S  # and nobody misses it but by its speed
            return None


class IndexedFiles:
    """Answers from the index where a file has not changed; see :class:`~agentnn.stores.mlruns.facts.Files`.

    It is made for one question, and used by one thread.

    Args:
        folder: The experiment's folder.
        run_ids: The names of all that may be runs in it.
        index: The index.
    """

    def __init__(self, folder: str, run_ids: Sequence[str], index: RunIndex) -> None:
        self._folder = folder
        self._name = os.fsencode(folder)
        self._run_ids = run_ids
        self._index = index
        self._columns: dict[tuple[str, str], _Column] = {}
        self._settled_before = time.time_ns() - UNSETTLED_NS

    def ask(self, run_id: str, file: str, fact: Fact, *, of_all: bool = True) -> Any:
        """See :class:`~agentnn.stores.mlruns.facts.Files`."""
        path = f"{self._folder}/{run_id}/{file}"
        try:
            numbers = signature(os.stat(path), self._settled_before)  # noqa: PTH116 - for speed
        except FileNotFoundError:
            raise
        except OSError:
            return fact.read(path)  # it says what is wrong
        column = self._columns.get((file, fact.name)) or self._columns.setdefault((file, fact.name), _Column())
        if not column.is_loaded and self._is_worth_loading(column, numbers[2], of_all=of_all):
            column.known = self._index.load(_Key(self._name, file, fact.name), fact)
            column.is_loaded = True
        known = column.known.get(run_id)
        if known is not None and known[0] == numbers:
            return known[1]
        said = fact.read(path)
        is_short = not isinstance(said, str) or len(said) <= _LONGEST_TEXT
        if is_short and is_settled(numbers) and (of_all or column.is_loaded):
            column.fresh[run_id] = _Known(numbers, said)
        return said

    def keep(self) -> None:
        """Save what was read, at the end of a question."""
        columns = [
            (_Key(self._name, *names), self._merged(column))
            for names, column in self._columns.items()
            if column.is_loaded and self._is_worth_saving(column.fresh.values())
        ]
        if columns:
            self._index.save(columns)

    def _is_worth_loading(self, column: _Column, size: int, *, of_all: bool) -> bool:
        column.asked += of_all
        enough = _FEW_FILES if len(self._run_ids) >= _MANY_RUNS else _MANY_FILES
        return column.asked >= enough or size >= _LARGE_FILE

    def _is_worth_saving(self, fresh: Iterable[_Known]) -> bool:
        sizes = [one.numbers[2] for one in fresh]
        return len(sizes) * _NEW_SHARE >= len(self._run_ids) or sum(sizes) >= _NEW_BYTES

    def _merged(self, column: _Column) -> dict[str, _Known]:
        """What was known and what is new, of the runs that are still there."""
        merged = {**column.known, **column.fresh}
        return {run_id: merged[run_id] for run_id in self._run_ids if run_id in merged}


def _index_file(root: Path) -> IndexFile:
    from agentnn.stores.index_file import IndexFile, IndexSchema, place_in_state  # not for a few runs

    schema = IndexSchema(_VERSION, [_TABLES])
    return IndexFile([place_in_state(root, ".mlruns.sqlite")], schema, lock_timeout_s=_LOCK_TIMEOUT_S)


def _load(connection: sqlite3.Connection, key: _Key, fact: Fact) -> dict[str, _Known]:
    row = connection.execute(
        "SELECT runs, signatures, said, checksum FROM columns WHERE folder = ? AND file = ? AND fact = ?", key
    ).fetchone()
    try:
        runs, signatures, said, checksum = row or ("[]", b"", "[]", _checksum("[]", b"", "[]"))
        if _checksum(runs, signatures, said) != checksum:
            return {}
        numbers = zip(*[iter(array("q", signatures))] * NUMBERS, strict=True)
        known = map(_Known, numbers, map(fact.restored, json.loads(said)))
        return dict(zip(json.loads(runs), known, strict=True))
    except (AttributeError, TypeError, ValueError):
        return {}  # it is saved again when all has been read


def _save(connection: sqlite3.Connection, columns: Sequence[tuple[_Key, dict[str, _Known]]], most: int) -> None:
    now = time.time_ns()
    connection.execute("BEGIN IMMEDIATE")
    for key, known in columns:
        try:
            runs, said = json.dumps([*known]), json.dumps([one.said for one in known.values()])
        except (TypeError, ValueError):  # YAML knows more than JSON
            continue
        signatures = packed([number for one in known.values() for number in one.numbers]).tobytes()
        if len(runs) + len(signatures) + len(said) > most:
            continue
        row = (*key, runs, signatures, said, _checksum(runs, signatures, said), now)
        connection.execute("INSERT OR REPLACE INTO columns VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    sizes = connection.execute(
        "SELECT rowid, ifnull(length(runs) + length(signatures) + length(said), 0) FROM columns "
        "ORDER BY saved DESC, rowid DESC"
    ).fetchall()
    for rowid, size in sizes:
        most -= size
        if most < 0:
            connection.execute("DELETE FROM columns WHERE rowid = ?", (rowid,))
    connection.execute("COMMIT")


def _checksum(runs: str, signatures: bytes, said: str) -> int:
    """SQLite sees damage to its own structures, not to what they hold."""
    return zlib.crc32(said.encode(), zlib.crc32(signatures, zlib.crc32(runs.encode())))
