"""Opening an MLflow SQLite database to read it, and only to read it.

MLflow creates sixty tables in whatever file it is given. Here nothing is ever created, changed or migrated: the file is
looked at first, opened with ``mode=ro``, and every error of SQLite becomes one of ours.
File format: https://www.sqlite.org/fileformat.html#the_database_header
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from agentnn.errors import AgentNNError, CorruptDataError, NotAStoreError, StoreUnavailable, UsageError
from agentnn.query.expressions import to_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCK_TIMEOUT_S = 5.0
"""How long a read waits for a writer that holds the database, in seconds, before it exits with code 4."""

_MAGIC = b"SQLite format 3\x00"
_WAL_MODE = 2
_LIMITS = ("stack overflow", "too large", "too many", "too deep", "too complex", "string or blob too big")

REQUIRED = {
    "experiments": {"experiment_id", "name", "artifact_location", "lifecycle_stage"},
    "runs": {
        "run_uuid", "name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri",
        "experiment_id",
    },
    "latest_metrics": {"key", "value", "is_nan", "run_uuid"},
    "metrics": {"key", "value", "timestamp", "step", "is_nan", "run_uuid"},
    "params": {"key", "value", "run_uuid"},
    "tags": {"key", "value", "run_uuid"},
}  # fmt: skip
"""The tables and columns that the reader stands on. They have not changed since MLflow 2.0."""


class SchemaMismatch(AgentNNError):
    """An MLflow database whose tables this reader does not know; MLflow itself may still read it."""

    exit_code = 2


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
    """An MLflow database that is open for reading.

    Args:
        path: The file.
        check: Whether the schema must be one that is known here.

    Raises:
        StoreUnavailable: There is no such file, it is a directory, or it can't be read.
        CorruptDataError: It is not a SQLite database, or a damaged one.
        NotAStoreError: It is a SQLite database, but not MLflow's.
        SchemaMismatch: It is MLflow's, but lacks a table or a column that is needed here.
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        self.path = path
        self._open()
        try:
            if check:
                _check_schema(self)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query at once, so that no read lock outlives it and holds up a training run."""
        if self._frozen_state is not None and self._frozen_state != self._file_state():
            self.close()
            self._open()
        with _sqlite_errors(self.path):
            return self._connection.execute(sql, values).fetchall()

    def columns(self, table: str) -> set[str]:
        """The columns of a table; empty when there is no such table."""
        return {row[1] for row in self.rows(f'PRAGMA table_info("{table}")')}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> None:
        """Open the file so that nothing is created beside it.

        A database in WAL mode makes SQLite create two files even for a reader. Where no such file stands there is
        nothing but the database to read, which ``immutable`` says; should it change, it is opened again.
        """
        header = _header(self.path)
        frozen = len(header) > 18 and header[18] == _WAL_MODE and not self._wal.exists()
        self._frozen_state = self._file_state() if frozen else None
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro" + ("&immutable=1" if frozen else "")
        with _sqlite_errors(self.path):
            connection = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, check_same_thread=False)
            connection.execute("PRAGMA case_sensitive_like = ON")
            connection.create_function("number_of", 1, to_number, deterministic=True)
            connection.create_function("regexp", 2, _regexp, deterministic=True)
        self._connection = connection

    @property
    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _file_state(self) -> tuple[int, int, bool]:
        with _os_errors(self.path):
            status = self.path.stat()
        return status.st_mtime_ns, status.st_size, self._wal.exists()


def schema_revision(path: Path) -> str:
    """The revision of an MLflow database's schema, as Alembic keeps it; empty when there is none.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError: see :class:`ReadOnlyDatabase`.
    """
    database = ReadOnlyDatabase(path, check=False)
    try:
        if not database.columns("alembic_version") or not database.columns("runs"):
            raise NotAStoreError(
                f"{path} is a SQLite database, but not an MLflow store", hint="check the path in the tracking URI"
            )
        return ",".join(row[0] for row in database.rows("SELECT version_num FROM alembic_version"))
    finally:
        database.close()


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error


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
    with _os_errors(path), path.open("rb") as file:
        header = file.read(100)
    if not header:
        raise NotAStoreError(f"{path} is empty: nothing was ever logged to it", hint="agentnn quickstart fills a store")
    if not header.startswith(_MAGIC):
        raise CorruptDataError(f"{path} is not a SQLite database", hint="check the path, or restore a backup")
    return header


def _check_schema(database: ReadOnlyDatabase) -> None:
    path = database.path
    missing = {table: needed - database.columns(table) for table, needed in REQUIRED.items()}
    if missing["experiments"] == REQUIRED["experiments"] or missing["runs"] == REQUIRED["runs"]:
        raise NotAStoreError(
            f"{path} is a SQLite database, but not an MLflow store", hint="check the path in the tracking URI"
        )
    lacking = sorted(f"{table}.{column}" for table, columns in missing.items() for column in columns)
    if lacking:
        raise SchemaMismatch(f"{path} has an MLflow schema that is not known here: it lacks {', '.join(lacking)}")


def _regexp(pattern: str, text: str | None) -> bool:
    return text is not None and re.search(pattern, text) is not None


def _translated(error: sqlite3.Error, path: Path) -> AgentNNError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(
            f"{path} is locked by another process; gave up after {LOCK_TIMEOUT_S:g} s", hint="try again when it is done"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return CorruptDataError(f"{path} is damaged: {error}", hint="restore a backup, or try: sqlite3 FILE .recover")
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
