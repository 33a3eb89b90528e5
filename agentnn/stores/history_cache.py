"""What the histories of ended runs come to, kept from one question to the next.

A server gives histories a few at a time, so a question over those of ten thousand runs takes a minute. What a history
comes to (its first, least and greatest value, and the mean) is kept for runs that have ended, in one file of the user's
own. MLflow lets anybody log to an ended run all the same, so nothing is taken from the file on trust: each value is
sealed with what the search of runs, which is asked for every time, says of the run now: its status, its end, and value,
step and time of the latest point of each of its metrics. A run that was resumed, or got a point that is later than its
last one, is asked for again.

What no record shows is a point that was added behind an ended run's back and is not later than its last one, while
nothing else of the run changed. Therefore a value is kept from a minute after the run's end, and for thirty days; and a
question may leave the cache alone (``--no-cache``).
"""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import time
from contextlib import closing, suppress
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from agentnn.errors import AgentNNError
from agentnn.stores.history_traces import Summary
from agentnn.stores.index_file import DamagedIndex, IndexFile, IndexSchema
from agentnn.stores.state_folder import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.settings import Settings
    from agentnn.stores.history_traces import Trace

T = TypeVar("T")

FILE = "histories.sqlite"
DAYS = 30
"""How long a value is kept."""

_DAY_S = 86_400
_LOCK_TIMEOUT_S = 1.0
_KEYS_IN_A_QUESTION = 500
_NUMBERS = struct.Struct("<4d")
_SCHEMA = IndexSchema(
    0x1001,
    [
        "CREATE TABLE kept (key BLOB PRIMARY KEY, numbers BLOB NOT NULL, seal BLOB NOT NULL,"
        " kept_on INTEGER NOT NULL, used_on INTEGER NOT NULL) WITHOUT ROWID"
    ],
)


class CacheFacts(NamedTuple):
    """What there is to say of the cache.

    Attributes:
        path: Its file, which may not be there.
        size_bytes: How large it is.
        most_bytes: How large it may become; 0 when it is switched off.
        values: How many histories it knows; ``None`` when it can't be read.
    """

    path: str
    size_bytes: int
    most_bytes: int
    values: int | None


class HistoryCache:
    """What histories in one store came to.

    Several processes may use the file at once, and one may die in the middle of writing. A cache that can't be used
    never fails a question: it knows nothing and keeps nothing, and a damaged one is made anew.

    Args:
        settings: Name the store, and say how large the file may become.
        use: Whether to use it at all.
        now: The time, in seconds since the epoch.
    """

    def __init__(self, settings: Settings, *, use: bool = True, now: Callable[[], float] = time.time) -> None:
        self._most_bytes = _most_bytes(settings)
        self._file = _file() if use and self._most_bytes else None
        self._store = _digest_of_store(settings)
        self.now = now

    def find(self, metric: str, traces: Mapping[str, Trace]) -> dict[str, Summary]:
        """What is known of the histories of runs, by their ids.

        Args:
            metric: The metric.
            traces: What the runs' records show, by the runs' ids.
        """
        if self._file is None or not traces or not self._file.exists():
            return {}
        run_ids = {self._key(run_id, metric): run_id for run_id in traces}
        found: dict[str, Summary] = {}
        long_unused: list[bytes] = []
        for key, numbers, seal, kept_on, used_on in self._use(partial(_rows, keys=list(run_ids))) or ():
            run_id = run_ids.get(key, "")
            if self._is_fresh(kept_on) and run_id and seal == _seal(key, traces[run_id], kept_on, numbers):
                found[run_id] = Summary(*_NUMBERS.unpack(numbers))
                if used_on != self._today():
                    long_unused.append(key)
        if long_unused:
            self._use(partial(_touch, keys=long_unused, day=self._today()))
        return found

    def keep(self, metric: str, traces: Mapping[str, Trace], found: Mapping[str, Summary]) -> None:
        """Keep what histories came to.

        Args:
            metric: The metric.
            traces: What the runs' records show, by the runs' ids.
            found: What the histories came to, by the runs' ids: of those that the records speak of, and no others.
        """
        if self._file is None or not found:
            return
        day = self._today()
        rows = []
        for run_id, summary in found.items():
            key, numbers = self._key(run_id, metric), _NUMBERS.pack(*summary)
            rows.append((key, numbers, _seal(key, traces[run_id], day, numbers), day, day))
        self._use(partial(_insert, rows=rows, most_bytes=self._most_bytes))

    def _use(self, act: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do something with the file; ``None`` where that does not go, and then for the rest of the question."""
        if self._file is None:
            return None
        try:
            return self._file.use(act)
        except (AgentNNError, OSError):
            self._file = None
            return None

    def _key(self, run_id: str, metric: str) -> bytes:
        name = f"{run_id}\0{metric}".encode("utf-8", "surrogatepass")
        return blake2b(self._store + name, digest_size=16).digest()

    def _today(self) -> int:
        return int(self.now() // _DAY_S)

    def _is_fresh(self, kept_on: object) -> bool:
        return isinstance(kept_on, int) and 0 <= self._today() - kept_on <= DAYS


def cache_facts(settings: Settings) -> CacheFacts:
    """Where the cache is, and how large; nothing is made or changed."""
    file = _file()
    if file is None:
        return CacheFacts("", 0, 0, None)
    size, values = 0, None
    with suppress(OSError, sqlite3.Error):
        if not file.exists():
            values = 0
        else:
            size = file.path.stat().st_size
            uri = f"file:{quote(str(file.path))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT_S)) as connection:
                [(values,)] = connection.execute("SELECT count(*) FROM kept")
    return CacheFacts(str(file.path), size, _most_bytes(settings), values)


def _file() -> IndexFile | None:
    """The file; ``None`` where there is no place that is ours alone."""
    with suppress(OSError, RuntimeError):  # nobody knows where home is
        folder = cache_directory()
        if not folder.exists() or _is_ours(folder.stat()):
            return IndexFile([folder / FILE], _SCHEMA, lock_timeout_s=_LOCK_TIMEOUT_S)
    return None


def _is_ours(folder: os.stat_result) -> bool:
    """Whether nobody else can have put a file there."""
    return folder.st_uid == os.geteuid() and not folder.st_mode & 0o022


def _most_bytes(settings: Settings) -> int:
    return int(settings.cache_mb * 1_000_000)


def _digest_of_store(settings: Settings) -> bytes:
    """Tells one store from another, whoever asks it."""
    uri = re.sub(r"(?<=://)[^/]*@", "", settings.tracking_uri).rstrip("/")
    return blake2b(f"{uri}\0{settings.workspace}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _seal(key: bytes, trace: Trace, kept_on: int, numbers: object) -> bytes | None:
    """What only these numbers of this history have; ``None`` for what are no numbers."""
    if not isinstance(numbers, bytes) or len(numbers) != _NUMBERS.size:
        return None
    return blake2b(b"%b%b%d:%b" % (key, trace.proof, kept_on, numbers), digest_size=16).digest()


# -- the file ------------------------------------------------------------------------------------------


def _rows(connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(keys), _KEYS_IN_A_QUESTION):
        asked = keys[start : start + _KEYS_IN_A_QUESTION]
        marks = ",".join("?" * len(asked))
        sql = f"SELECT key, numbers, seal, kept_on, used_on FROM kept WHERE key IN ({marks})"
        found += connection.execute(sql, asked)
    return found


def _touch(connection: sqlite3.Connection, keys: Sequence[bytes], day: int) -> None:
    _begin(connection)
    connection.executemany("UPDATE kept SET used_on = ? WHERE key = ?", [(day, key) for key in keys])
    connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], most_bytes: int) -> None:
    """Keep rows; the file has to be full before others have to go."""
    [(page_bytes,)] = connection.execute("PRAGMA page_size")
    [(pages,)] = connection.execute("PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count = {max(1, most_bytes // page_bytes)}")
    if pages * page_bytes > most_bytes:  # it was allowed to be larger before
        raise DamagedIndex
    try:
        _insert_all(connection, rows)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
            raise
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        _make_room(connection)
        _insert_all(connection, rows)


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write, without waiting for the disk: what a power failure leaves bears no seal, or is made anew."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN IMMEDIATE")


def _insert_all(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT OR REPLACE INTO kept (key, numbers, seal, kept_on, used_on) VALUES (?,?,?,?,?)", rows
    )
    connection.execute("COMMIT")


def _make_room(connection: sqlite3.Connection) -> None:
    """Drop the half that was not used for longest."""
    oldest = "SELECT key FROM kept ORDER BY used_on, kept_on LIMIT (SELECT (count(*) + 1) / 2 FROM kept)"
    connection.execute(f"DELETE FROM kept WHERE key IN ({oldest})")
    connection.execute("VACUUM")
