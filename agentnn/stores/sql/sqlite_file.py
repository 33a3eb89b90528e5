"""Opening an MLflow SQLite database to read it, and only to read it.

MLflow creates sixty tables in whatever file it is given. Here nothing is ever created, changed or migrated: the file is
looked at first, opened with ``mode=ro``, and every error of SQLite becomes one of ours.
File format: https://www.sqlite.org/fileformat.html#the_database_header
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock, current_thread, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from agentnn.errors import AgentNNError, CorruptDataError, NotAStoreError, StoreUnavailable, UsageError
from agentnn.query.expressions import to_number
from agentnn.query.selection import exact_mean
from agentnn.stores.sql.dialect import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOCK_TIMEOUT_S = 5.0
"""How long a read waits for a writer that holds the database, in seconds, before it exits with code 4."""

_PATIENCE_S = 0.2
_STEPS_DEAF = 100_000
"""Steps of SQLite's virtual machine between two looks for a signal: some milliseconds."""

_AT_ONCE = 5000
_MAGIC = b"SQLite format 3\x00"
_WAL_MODE = 2
_BACKUP = "restore a backup, or try: sqlite3 FILE .recover"
_DAMAGE = ("decode to UTF-8", "unsupported file format", "user-defined function", "malformed")
_LIMITS = ("stack overflow", "too large", "too many", "too deep", "too complex", "string or blob too big")

Tables = Mapping[str, frozenset[str]]

RUN_TABLES: Tables = {
    "experiments": frozenset({"experiment_id", "name", "artifact_location", "lifecycle_stage"}),
    "runs": frozenset(
        {
            "run_uuid", "name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri",
            "experiment_id",
        }
    ),
    "latest_metrics": frozenset({"key", "value", "is_nan", "run_uuid"}),
    "metrics": frozenset({"key", "value", "timestamp", "step", "is_nan", "run_uuid"}),
    "params": frozenset({"key", "value", "run_uuid"}),
    "tags": frozenset({"key", "value", "run_uuid"}),
    "experiment_tags": frozenset({"key", "value", "experiment_id"}),
}  # fmt: skip
"""The tables and columns that a question about runs stands on. They have not changed since MLflow 2.0."""

MODEL_TABLES: Tables = {
    "registered_models": frozenset({"name", "description", "creation_time", "last_updated_time"}),
    "model_versions": frozenset(
        {
            "name", "version", "current_stage", "status", "source", "run_id", "description", "user_id",
            "creation_time", "last_updated_time",
        }
    ),
    "registered_model_tags": frozenset({"name", "key", "value"}),
    "model_version_tags": frozenset({"name", "version", "key", "value"}),
}  # fmt: skip
"""The tables and columns that a question about registered models stands on."""


class SchemaMismatch(AgentNNError):
    """An MLflow database whose tables this reader does not know; MLflow itself may still read it."""

    exit_code = 2


class StoreLocked(StoreUnavailable):
    """A writer holds the database."""


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
        self._met_damage: list[object] = []
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

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _answer(self, sql: str, values: Sequence[Any]) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            self._reopen_if_needed()
            self._met_damage.clear()
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
                if _code(error) != sqlite3.SQLITE_BUSY or monotonic() >= deadline:
                    raise

    def _is_interruption(self, error: BaseException | None) -> bool:
        """Whether a query broke off since Ctrl-C was heard in one of our functions, which SQLite calls.

        Python's own error can't pass through SQLite, which has another one for it.
        """
        if current_thread() is not main_thread():
            return False
        failed = "user-defined" in str(error) and not self._met_damage
        return isinstance(error, sqlite3.Error) and (_code(error) == sqlite3.SQLITE_INTERRUPT or failed)

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
            connection.set_progress_handler(_heed_signals, _STEPS_DEAF)
            connection.execute("PRAGMA case_sensitive_like = ON")
            connection.create_function("number_of", 1, to_number, deterministic=True)
            connection.create_function("regexp", 2, _regexp, deterministic=True)
            connection.create_function("damaged", 1, partial(_damaged, self._met_damage))
            connection.create_aggregate("exact_mean", 1, _Mean)  # type: ignore[arg-type]
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
        with _os_errors(self.path):
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


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message
        raise CorruptDataError(f"{path} is damaged: its schema is no text", hint=_BACKUP) from error


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except FileNotFoundError:
        raise StoreUnavailable(
            f"there is no store at {path}",
            hint="name one with --tracking-uri or MLFLOW_TRACKING_URI, or begin with: agentnn quickstart",
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"{path} can't be read: {error.strerror}", hint="check the path and its permissions"
        ) from error


def _header(path: Path) -> bytes:
    if path.is_dir():
        raise StoreUnavailable(
            f"{path} is a directory, not a database file", hint=f"did you mean sqlite:///{path / 'mlflow.db'}?"
        )
    with _os_errors(path):
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreUnavailable(f"{path} is not a file", hint="check the path in the tracking URI")
        with path.open("rb") as file:
            header = file.read(100)
    if not header:
        raise NotAStoreError(f"{path} is empty: nothing was ever logged to it", hint="agentnn quickstart fills a store")
    if not header.startswith(_MAGIC):
        raise CorruptDataError(f"{path} is not a SQLite database", hint="check the path, or restore a backup")
    return header


class _Mean:
    """The mean of the values that are not NULL, as an aggregate function of SQLite."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        return exact_mean(self._values) if self._values else None


def _damaged(met: list[object], value: object) -> None:
    """Called by SQL where a value is not of its column's type, so that the answer is an error and no nonsense."""
    met.append(value)
    raise ValueError(value)


def _heed_signals() -> int:
    """Called by SQLite as it works: Python hears Ctrl-C when a function is called. 0 is for going on."""
    return 0


def _regexp(pattern: str, text: str | None) -> bool:
    return text is not None and re.search(pattern, text) is not None


def _code(error: BaseException | None) -> int:
    """The primary result code of https://www.sqlite.org/rescode.html; 0 where the error is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _translated(error: sqlite3.Error, path: Path) -> AgentNNError:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(
            f"{path} is locked by another process; gave up after {LOCK_TIMEOUT_S:g} s", hint="try again when it is done"
        )
    if "no such column" in str(error) or "no such table" in str(error):
        return SchemaMismatch(
            f"{path} has an MLflow schema that is not known here: {error}", hint="a newer agentnn may know it"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or any(sign in str(error) for sign in _DAMAGE):
        return CorruptDataError(f"{path} is damaged: {error}", hint=_BACKUP)
    if any(limit in str(error) for limit in _LIMITS):
        return UsageError(
            f"the question is too complex for SQLite: {error}", hint="a filter with fewer or flatter parts"
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(
            f"{path} was left in the middle of a write by a process that died",
            hint="the next MLflow write repairs it",
        )
    return StoreUnavailable(f"{path} can't be read: {error}", hint="check the path and its permissions")
