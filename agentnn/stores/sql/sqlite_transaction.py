"""Changing rows of an MLflow SQLite database: one short transaction, all of it or nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from agentnn.errors import StoreUnavailable
from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S, sqlite_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REFUSED = {
    sqlite3.SQLITE_READONLY: "it may not be written",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened for writing",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk does not take it",
}


@contextmanager
def write_transaction(path: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
    """A transaction that holds the write lock from its beginning, and is undone when an error leaves the block.

    Args:
        path: A database that :class:`~agentnn.stores.sql.sqlite_file.ReadOnlyDatabase` has looked at.
        lock_timeout_s: How long to wait for another writer.

    Raises:
        StoreLocked: Another writer held the file for longer; nothing was changed.
        StoreUnavailable: The file can't be written to; nothing was changed.
        CorruptDataError: It is damaged.
        SchemaMismatch: It lacks a table or a column.
    """
    with sqlite_errors(path), _refusals(path):
        uri = f"file:{quote(str(path.absolute()))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=lock_timeout_s, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """What only a writer meets."""
    try:
        yield
    except sqlite3.Error as error:
        reason = _REFUSED.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if reason is None:
            raise
        raise StoreUnavailable(
            f"{path} was not changed: {reason} ({error})", hint="check its permissions and its disk"
        ) from error
