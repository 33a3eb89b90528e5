"""A database on a server, open for reading, and only for reading.

What the drivers of PostgreSQL and MySQL have in common stands here: the session may not write, a statement has an end,
a connection that broke is made once more, and every error is one of ours, without the password.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from agentnn.errors import AgentNNError, NotAStoreError, StoreUnavailable, UsageError
from agentnn.settings import redact
from agentnn.stores.sql.mlflow_tables import RUN_TABLES, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentnn.stores.sql.mlflow_tables import Tables
    from agentnn.stores.sql_server.address import Address
    from agentnn.stores.sql_server.dialects import ServerDialect

Answer = TypeVar("Answer")

CONNECT_TIMEOUT_S = 5
"""How long a server may take to let us in."""

LOCK_TIMEOUT_S = 5
"""How long a read waits for a lock that somebody holds on a table; MLflow's migrations do."""

STATEMENT_TIMEOUT_S = 25
"""How long a statement may take."""

SILENCE_S = STATEMENT_TIMEOUT_S + 3
"""How long a server may be silent, which should have broken off the statement itself."""

AT_ONCE = 5000
"""Rows of a long answer that are held at a time."""


class LostConnection(StoreUnavailable):
    """A connection that was of use, and is so no more."""


class ServerDatabase:
    """An MLflow database on a server; threads and forked processes may share it.

    Args:
        address: The database.
        required: The tables and columns that must be there.

    Raises:
        StoreUnavailable: The server can't be reached, or lets us not in.
        MissingDependencyError: Its driver is not installed.
        NotAStoreError: It is a database, but not MLflow's.
        SchemaMismatch: It is MLflow's, but lacks a table or a column that is required.
    """

    dialect: ServerDialect
    product: str

    def __init__(self, address: Address, required: Tables = RUN_TABLES) -> None:
        self.address = address
        self._lock = RLock()
        self._abandoned: list[Any] = []
        self._known: dict[str, set[str]] = {}
        self._open()
        try:
            self._check(required)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query at once; threads take turns."""
        with self._lock:
            if os.getpid() != self._pid:
                self._abandoned.append(self._connection)  # closing it would end the session of the other process
                self._open()
            try:
                return self._asked(self._fetch, sql, values)
            except LostConnection:
                if self._in_snapshot:
                    raise
                self._open()
                return self._asked(self._fetch, sql, values)

    def each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any] = ()) -> None:
        """Hand all rows of a query over; in a snapshot some at a time, so that memory does not grow with their number.

        ``take`` asks the database nothing.
        """
        if not self._in_snapshot:
            take(self.rows(sql, values))
            return
        with self._lock:
            self._asked(partial(self._fetch_each, take), sql, values)

    def columns(self, table: str) -> set[str]:
        """The columns of a table when the database was opened; empty when there is no such table."""
        return self._known.get(table, set())

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is a table, which older schemas do without.

        Raises:
            SchemaMismatch: It is there, but lacks one of these columns.
        """
        found = self.columns(table)
        if found and not found >= set(columns):
            self._check({table: frozenset(columns)})
        return bool(found)

    @contextmanager
    def snapshot(self) -> Iterator[ServerDatabase]:
        """The same database as it is now, on a connection of its own: what others write is not seen there."""
        view = object.__new__(type(self))
        view.address, view._known, view._lock, view._abandoned = self.address, self._known, RLock(), []
        view._open(snapshot=True)
        try:
            yield view
        finally:
            view.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # -- what a driver does -----------------------------------------------------------------------------

    def _connect(self) -> Any:
        """A session that may only read, as our errors say if not."""
        raise NotImplementedError

    def _begin_snapshot(self, connection: Any) -> None:
        raise NotImplementedError

    def _fetch(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """All rows; ``%s`` stands for a value."""
        raise NotImplementedError

    def _fetch_each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any]) -> None:
        """Hand all rows over, some at a time; asked in a snapshot only."""
        raise NotImplementedError

    def _schema_query(self) -> str:
        """The tables and their columns, those that a statement without a schema's name finds."""
        raise NotImplementedError

    # -- how --------------------------------------------------------------------------------------------

    def _asked(self, fetch: Callable[[str, Sequence[Any]], Answer], sql: str, values: Sequence[Any]) -> Answer:
        try:
            return fetch(sql.replace("%", "%%").replace("?", "%s"), values)
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is not valid Unicode", hint="check the terminal's encoding") from None

    def _open(self, *, snapshot: bool = False) -> None:
        self._pid = os.getpid()
        self._in_snapshot = snapshot
        self._connection = self._connect()
        if snapshot:
            self._begin_snapshot(self._connection)

    def _check(self, required: Tables) -> None:
        if not self._known:
            for table, column in self.rows(self._schema_query()):
                self._known.setdefault(table, set()).add(column)
        if "experiments" not in self._known or "runs" not in self._known:
            raise NotAStoreError(
                f"{self.address.uri} is a {self.product} database, but not an MLflow store",
                hint="check the tracking URI; MLflow needs a database of its own"
                if self._known
                else "check the tracking URI; MLflow makes its tables when a run is first logged there",
            )
        lacking = sorted(
            f"{table}.{column}" for table, needed in required.items() for column in needed - self.columns(table)
        )
        if lacking:
            raise SchemaMismatch(
                f"{self.address.uri} has an MLflow schema that is not known here: no {', '.join(lacking)}"
            )

    # -- errors -----------------------------------------------------------------------------------------

    def _said(self, error: BaseException) -> str:
        """What a driver says, on one line and without the password."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else type(error).__name__
        return redact(said, self.address.secrets)[:300]

    def _unreachable(self, error: BaseException) -> StoreUnavailable:
        return StoreUnavailable(
            f"no {self.product} can be reached at {self.address.server}: {self._said(error)}",
            hint="check the tracking URI and that the server runs",
        )

    def _refused(self, what: str, hint: str) -> StoreUnavailable:
        return StoreUnavailable(f"{self.product} at {self.address.server} refuses: {what}", hint=hint)

    def _too_slow(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.product} at {self.address.server} took longer than {STATEMENT_TIMEOUT_S} s for an answer",
            hint="ask for less, or look at what else the server does",
        )

    def _locked(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.address.uri} is locked by another session; gave up after {LOCK_TIMEOUT_S} s",
            hint="try again when it is done",
        )

    def _unknown_schema(self, error: BaseException) -> AgentNNError:
        return SchemaMismatch(
            f"{self.address.uri} has an MLflow schema that is not known here: {self._said(error)}",
            hint="a newer agentnn may know it",
        )
