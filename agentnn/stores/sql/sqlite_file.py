"""Opening an MLflow SQLite database to read it, and only to read it.

MLflow creates sixty tables in whatever file it is given. Here nothing is ever created, changed or migrated: the file is
looked at first, opened with ``mode=ro``, and every error of SQLite becomes one of ours.
File format: https://www.sqlite.org/fileformat.html#the_database_header
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from threading import Lock, current_thread, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from agentnn.errors import AgentNNError, CorruptDataError, NotAStoreError, StoreUnavailable, UsageError
from agentnn.stores.sql.dialect import SQLITE
from agentnn.stores.sql.mlflow_tables import RUN_TABLES, SchemaMismatch
from agentnn.stores.sql.open_descriptor import descriptor_of
from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S, error_code, os_errors, sqlite_errors
from agentnn.stores.sql.sqlite_functions import SqlFunctions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from agentnn.stores.sql.dialect import Tree
    from agentnn.stores.sql.mlflow_tables import Tables

_PATIENCE_S = 0.2
LARGE_BYTES = 64 << 20
"""Smaller files are read before a thread has begun."""

_AT_ONCE = 5000
_MAGIC = b"SQLite format 3\x00"
_WAL_MODE = 2


def sqlite_path(uri: str) -> Path:
    """The file that a ``sqlite:///…`` URI names, as SQLAlchemy reads it: percent-decoded, options cut off.

    Raises:
        UsageError: The URI names no file: a database in memory is empty by nature.
    """
    location = uri.partition("://")[2].partition("?")[0]
    path = unquote(location[1:]) if location.startswith("/") else ""
    if not path or path == ":memory:":
        raise UsageError(
            f"{uri!r} names no file", hint="sqlite:///mlflow.db is a file here, sqlite:////data/mlflow.db one in /data"
        )
    return Path(path)


class ReadOnlyDatabase:
    """An MLflow database that is open for reading; threads and forked processes may share it.

    Args:
        path: The file.
        required: The tables and columns that must be there.
        lock_timeout_s: How long to wait for a writer that holds the file.

    Raises:
        StoreLocked: A writer held it for longer.
        StoreUnavailable: There is no such file, it is a directory, or it can't be read.
        CorruptDataError: It is not a SQLite database, or a damaged one.
        NotAStoreError: It is a SQLite database, but not MLflow's.
        SchemaMismatch: It is MLflow's, but lacks a table or a column that is required.
    """

    dialect = SQLITE

    def __init__(self, path: Path, required: Tables = RUN_TABLES, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.path = path.absolute()
        self._lock_timeout_s = lock_timeout_s
        self._lock = Lock()
        self._abandoned: list[sqlite3.Connection] = []
        self._functions = SqlFunctions()
        self._open()
        try:
            self._check(required)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query at once.

        No read lock outlives the call: the rows are fetched whole, and threads take turns, since SQLite would keep
        the lock for as long as any statement of a connection runs. A training run that writes is not held up.
        """
        with self._answer(sql, values) as cursor:
            return cursor.fetchall()

    def each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any] = ()) -> None:
        """Hand all rows of a query over, some at a time, so that memory does not grow with their number.

        As with :meth:`rows` no read lock outlives the call; ``take`` asks the database nothing, and is quick.
        """
        with self._answer(sql, values) as cursor:
            while rows := cursor.fetchmany(_AT_ONCE):
                take(rows)

    def sweep(self, aside: Callable[[Any, Any], object], sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query; ``aside(a, b)`` in its text is false, and hands the two over on the way.

        As with :meth:`each`, ``aside`` asks the database nothing, and is quick.
        """
        with self._answer(sql, values, aside) as cursor:
            return cursor.fetchall()

    def reading_ahead(self, trees: Sequence[Tree]) -> AbstractContextManager[None]:
        """Until the block ends, have read what is soon asked for, in this order; it makes nothing but haste."""
        if not self.is_large:
            return nullcontext()
        from agentnn.stores.sql.read_ahead import reading_ahead

        roots = dict(self.rows("SELECT name, rootpage FROM sqlite_master"))
        return reading_ahead(self.path, [(roots[tree.name], tree.key) for tree in trees if tree.name in roots])

    def columns(self, table: str) -> set[str]:
        """The columns of a table; empty when there is no such table."""
        return {row[1] for row in self.rows(f'PRAGMA table_xinfo("{table}")')}

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is a table, which older schemas do without.

        Raises:
            SchemaMismatch: It is there, but lacks one of these columns.
        """
        found = self.columns(table)
        if found and not found >= set(columns):
            self._check({table: frozenset(columns)})
        return bool(found)

    @property
    def is_large(self) -> bool:
        """Whether it takes long enough to read the file for threads to be of use."""
        with os_errors(self.path):
            return self.path.stat().st_size >= LARGE_BYTES

    def interrupt(self) -> None:
        """Break off the statement that is running in another thread; it raises an error there."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _answer(
        self, sql: str, values: Sequence[Any], aside: Callable[[Any, Any], object] | None = None
    ) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            self._reopen_if_needed()
            self._functions.begin(aside)
            try:
                with sqlite_errors(self.path), closing(self._begun(sql, values)) as cursor:
                    yield cursor
            except UnicodeEncodeError as error:
                raise UsageError(
                    f"{error.object!r} is not valid Unicode", hint="check the terminal's encoding"
                ) from None
            except AgentNNError as error:
                if self._is_interruption(error.__cause__):
                    raise KeyboardInterrupt from None
                raise

    def _begun(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        """A query whose first row is there. It waits for a writer in short spells, between which Ctrl-C is heard."""
        deadline = monotonic() + self._lock_timeout_s
        while True:
            try:
                return self._connection.execute(sql, values)
            except sqlite3.OperationalError as error:
                if error_code(error) != sqlite3.SQLITE_BUSY or monotonic() >= deadline:
                    raise

    def _is_interruption(self, error: BaseException | None) -> bool:
        """Whether a query broke off since Ctrl-C was heard in one of our functions, which SQLite calls.

        Python's own error can't pass through SQLite, which has another one for it.
        """
        if current_thread() is not main_thread():
            return False
        failed = "user-defined" in str(error) and not self._functions.met_damage
        return isinstance(error, sqlite3.Error) and (error_code(error) == sqlite3.SQLITE_INTERRUPT or failed)

    def _reopen_if_needed(self) -> None:
        """Open the file again when another one stands in its place, or when this is a forked process."""
        if os.getpid() != self._pid:
            # Closing it here would drop the locks of the process that opened it: https://www.sqlite.org/howtocorrupt.html
            self._abandoned.append(self._connection)
            self._open()
        elif self._state() != self._opened_state:
            self._connection.close()
            self._open()

    def _open(self) -> None:
        """Open the file so that nothing is created beside it.

        A database in WAL mode makes SQLite create two files even for a reader. Where no such file stands there is
        nothing but the database to read, which ``immutable`` says; should it change, it is opened again.
        """
        self._pid = os.getpid()
        header = _header(self.path)
        self._frozen = len(header) > 18 and header[18] == _WAL_MODE and not self._wal.exists()
        self._opened_state = self._state()
        uri = f"file:{quote(str(self.path))}?mode=ro" + ("&immutable=1" if self._frozen else "")
        with sqlite_errors(self.path):
            patience = min(self._lock_timeout_s, _PATIENCE_S)
            connection = sqlite3.connect(uri, uri=True, timeout=patience, check_same_thread=False)
            connection.execute("PRAGMA case_sensitive_like = ON")
            self._functions.join(connection)
        self._connection = connection

    def _check(self, required: Tables) -> None:
        missing = {table: needed - self.columns(table) for table, needed in required.items()}
        if not self.columns("experiments") or not self.columns("runs"):
            raise _not_mlflows(self.path)
        lacking = sorted(f"{table}.{column}" for table, columns in missing.items() for column in columns)
        if lacking:
            raise SchemaMismatch(f"{self.path} has an MLflow schema that is not known here: no {', '.join(lacking)}")

    @property
    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _state(self) -> tuple[int, ...]:
        """What tells one file at the path from another, and for an immutable one, whether it has changed."""
        with os_errors(self.path):
            status = self.path.stat()
        identity = (status.st_dev, status.st_ino)
        return (*identity, status.st_mtime_ns, status.st_size, self._wal.exists()) if self._frozen else identity


def schema_revision(path: Path) -> str:
    """The revision of an MLflow database's schema, as Alembic keeps it; empty when there is none.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError: see :class:`ReadOnlyDatabase`.
    """
    database = ReadOnlyDatabase(path, required={})
    try:
        if not database.columns("alembic_version"):
            raise _not_mlflows(path)
        return ",".join(row[0] for row in database.rows("SELECT version_num FROM alembic_version"))
    finally:
        database.close()


def _not_mlflows(path: Path) -> NotAStoreError:
    return NotAStoreError(
        f"{path} is a SQLite database, but not an MLflow store", hint="check the path in the tracking URI"
    )


def _header(path: Path) -> bytes:
    if path.is_dir():
        raise StoreUnavailable(
            f"{path} is a directory, not a database file", hint=f"did you mean sqlite:///{path / 'mlflow.db'}?"
        )
    with os_errors(path):
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreUnavailable(f"{path} is not a file", hint="check the path in the tracking URI")
        opened = descriptor_of(path)
        if opened is not None:
            header = os.pread(opened, 100, 0)
        else:
            with path.open("rb") as file:
                header = file.read(100)
    if not header:
        raise NotAStoreError(f"{path} is empty: nothing was ever logged to it", hint="agentnn quickstart fills a store")
    if not header.startswith(_MAGIC):
        raise CorruptDataError(f"{path} is not a SQLite database", hint="check the path, or restore a backup")
    return header
