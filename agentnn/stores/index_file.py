"""An index of files as a file: found or made, opened, and made again when it is damaged.

An index only says faster what the files say, so it can be thrown away at any time. It is a SQLite database with a
rollback journal, since that leaves no file behind, and its transactions are whole: a reader sees what was there before
or what is there after.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from agentnn.errors import StoreUnavailable
from agentnn.stores.sql.sqlite_errors import sqlite_errors
from agentnn.stores.state_folder import make_private_folder, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

LOCK_TIMEOUT_S = 30.0
"""How long to wait for a process that is bringing the index up to date."""

APPLICATION_ID = 0x61676E6E
"""Tells an index from every other SQLite database: "agnn"."""

_ATTEMPTS = 4
_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_REFUSED = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
)

T = TypeVar("T")


class DamagedIndex(Exception):
    """What the index holds makes no sense."""


class NoPlaceForIndex(StoreUnavailable):
    """An index can be kept nowhere."""


class _Refused(Exception):
    """The index can't be kept at its place."""


class IndexSchema(NamedTuple):
    """What an index is made of.

    Attributes:
        version: Tells its tables from those of another version, and of another kind of index: such an index is made
            again.
        statements: The SQL that makes the tables.
    """

    version: int
    statements: Sequence[str]


class IndexFile:
    """An index, wherever it can be kept.

    Args:
        places: Where it may lie, at least one: at the first of them that takes it.
        schema: What it is made of.
        lock_timeout_s: How long to wait for another process that holds it.

    Attributes:
        path: Where it lies, or would lie.
    """

    def __init__(self, places: Iterable[Path], schema: IndexSchema, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._schema = schema
        self._lock_timeout_s = lock_timeout_s
        self._places = iter(places)
        self.path = next(self._places)

    def exists(self) -> bool:
        """Whether there is one already; one that may not be looked at is none."""
        try:
            return self.path.exists()
        except OSError:
            return False

    def use(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the open index; what was begun is undone before it is tried again.

        An index that is damaged, or of another format, is thrown away first. One that can't be written at its place,
        since there is no room, or another database has its name, is kept at the next one from then on.

        Raises:
            NoPlaceForIndex: There is no place for an index.
            StoreUnavailable: Another process holds it for too long.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._use(act)
            except DamagedIndex:
                self.discard()
            except _Refused as refused:
                elsewhere = next(self._places, None)
                if elsewhere is None:
                    raise NoPlaceForIndex(
                        f"there is no place for the index of a folder of runs: {self.path}: {refused}",
                        hint="set AGENTNN_STATE_DIR to a folder that you may write to",
                    ) from refused
                self.path = elsewhere
        raise NoPlaceForIndex(f"{self.path} is damaged again and again", hint="check the disk that it is on")

    def discard(self) -> None:
        """Throw the index away; the next use makes it again."""
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _use(self, act: Callable[[sqlite3.Connection], T]) -> T:
        self._make()
        try:
            connection = sqlite3.connect(self.path, timeout=self._lock_timeout_s, isolation_level=None)
            with closing(connection):
                _prepare(connection, self._schema)
                return act(connection)  # closing undoes what is not committed
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _REFUSED:
                raise _Refused(str(error)) from error
            if code in _HELD:
                with sqlite_errors(self.path):
                    raise
            raise DamagedIndex from error
        except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message
            raise DamagedIndex from error

    def _make(self) -> None:
        try:
            if not self.path.exists():
                _make_empty(self.path)
        except (OSError, StoreUnavailable) as error:
            raise _Refused(str(error)) from error


def memory_index(schema: IndexSchema) -> sqlite3.Connection:
    """An index that is kept nowhere."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(connection, schema)
    return connection


def place_in_state(folder: Path, suffix: str) -> Path:
    """A place in this machine's own folder, the same by whatever links the folder of runs is reached."""
    import hashlib  # seldom needed

    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    return state_directory() / "indexes" / f"{digest}{suffix}"


def _make_empty(path: Path) -> None:
    """Make an empty index, private to the user; one that is there stays as it is.

    Raises:
        StoreUnavailable: There is no place for it.
        OSError: The file can't be made.
    """
    make_private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # Not opened: closing it again would drop the locks that another thread holds on it through SQLite.
        # https://www.sqlite.org/howtocorrupt.html
        return


def _prepare(connection: sqlite3.Connection, schema: IndexSchema) -> None:
    """See that the database is an index of this format; an empty one becomes one.

    Raises:
        DamagedIndex: It is an index of another format.
        _Refused: It is another program's database.
    """
    connection.execute("PRAGMA synchronous = NORMAL")
    if _is_index(connection, schema):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not _is_index(connection, schema):  # another process may have made it meanwhile
        for statement in schema.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.version}")
    connection.execute("COMMIT")


def _is_index(connection: sqlite3.Connection, schema: IndexSchema) -> bool:
    [(application,)] = connection.execute("PRAGMA application_id")
    [(version,)] = connection.execute("PRAGMA user_version")
    if application == APPLICATION_ID:
        if version != schema.version:
            raise DamagedIndex
        return True
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    if tables or application or version:
        raise _Refused("another program's database has its name")
    return False
