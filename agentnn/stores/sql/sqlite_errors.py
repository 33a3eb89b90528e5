"""SQLite's errors, and the operating system's about a database file, as ours."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, CorruptDataError, StoreUnavailable, UsageError
from agentnn.stores.sql.mlflow_tables import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_TIMEOUT_S = 5.0
"""How long a read waits for a writer that holds the database, in seconds, before it exits with code 4."""

_BACKUP = "restore a backup, or try: sqlite3 FILE .recover"
_DAMAGE = ("decode to UTF-8", "unsupported file format", "user-defined function", "malformed")
_LIMITS = ("stack overflow", "too large", "too many", "too deep", "too complex", "string or blob too big")


class StoreLocked(StoreUnavailable):
    """A writer holds the database."""


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
def os_errors(path: Path) -> Iterator[None]:
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


def error_code(error: BaseException | None) -> int:
    """The primary result code of https://www.sqlite.org/rescode.html; 0 where the error is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _translated(error: sqlite3.Error, path: Path) -> AgentNNError:
    code = error_code(error)
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
