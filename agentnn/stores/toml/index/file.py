"""The index as a file: found or made, opened, and made again when it is damaged.

It keeps a rollback journal, since that leaves no file behind, and its transactions are whole: a reader sees what was
there before or what is there after.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from agentnn.errors import StoreUnavailable
from agentnn.stores.sqlite_file import sqlite_errors
from agentnn.stores.toml.index.place import make_place, may_write_beside, place_beside, place_elsewhere
from agentnn.stores.toml.index.schema import APPLICATION_ID, FORMAT, HISTORY_INDEXES, INDEXES, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK_TIMEOUT_S = 30.0
"""How long to wait for a process that is bringing the index up to date."""

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
    """An index can be kept neither beside the projects nor in this machine's own folder."""


class _Refused(Exception):
    """The index can't be kept at its place."""


class IndexFile:
    """The index of a folder of projects, wherever it can be kept.

    Args:
        base_dir: The folder of all projects, absolute.

    Attributes:
        path: Where it lies, or would lie.
    """

    def __init__(self, base_dir: Path) -> None:
        self._base_dir = base_dir
        self.path = place_beside(base_dir) if may_write_beside(base_dir) else place_elsewhere(base_dir)

    def exists(self) -> bool:
        """Whether there is one already; one that may not be looked at is none."""
        try:
            return self.path.exists()
        except OSError:
            return False

    def use(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the open index; what was begun is undone before it is tried again.

        An index that is damaged, or of another format, is thrown away first. One that can't be written beside the
        projects, since there is no room, or another database has its name, is kept elsewhere from then on.

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
                elsewhere = place_elsewhere(self._base_dir)
                if self.path == elsewhere:
                    raise NoPlaceForIndex(
                        f"there is no place for the index of a folder of projects: {self.path}: {refused}",
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
            with closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as connection:
                _prepare(connection)
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
                make_place(self.path)
        except (OSError, StoreUnavailable) as error:
            raise _Refused(str(error)) from error


def memory_index() -> sqlite3.Connection:
    """An index that is kept nowhere."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(connection)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """See that the database is an index of this format; an empty one becomes one.

    Raises:
        DamagedIndex: It is an index of another format.
        _Refused: It is another program's database.
    """
    connection.execute("PRAGMA synchronous = NORMAL")
    if _is_index(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not _is_index(connection):  # another process may have made it meanwhile
        for statement in TABLES.split(";"):
            connection.execute(statement)
        for definition in (*INDEXES.values(), *HISTORY_INDEXES.values()):
            connection.execute(f"CREATE {definition}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _is_index(connection: sqlite3.Connection) -> bool:
    [(application,)] = connection.execute("PRAGMA application_id")
    [(version,)] = connection.execute("PRAGMA user_version")
    if application == APPLICATION_ID:
        if version != FORMAT:
            raise DamagedIndex
        return True
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    if tables or application or version:
        raise _Refused("another program's database has its name")
    return False
