"""PostgreSQL through psycopg, the third or the second."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, UsageError
from agentnn.extras import require
from agentnn.stores.sql_server.database import (
    AT_ONCE,
    CONNECT_TIMEOUT_S,
    LOCK_TIMEOUT_S,
    SILENCE_S,
    STATEMENT_TIMEOUT_S,
    LostConnection,
    ServerDatabase,
)
from agentnn.stores.sql_server.dialects import PostgresDialect
from agentnn.stores.sql_server.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SETTINGS = {
    "lock_timeout": LOCK_TIMEOUT_S * 1000,
    "statement_timeout": STATEMENT_TIMEOUT_S * 1000,
    "parallel_setup_cost": 10_000,
}
"""To start workers takes longer than to read some hundred thousand rows, whatever PostgreSQL thinks by itself."""

_SESSION = " ".join(
    [
        "-c default_transaction_read_only=on -c jit=off -c cursor_tuple_fraction=1",
        *(f"-c {name}={value}" for name, value in _SETTINGS.items()),
    ]
)
"""Compiling a statement takes longer than ours do, and all rows of a cursor are fetched. It is said when the session
begins, not by SET: a pooler between may give the session to others afterwards, who write."""

_LOCALLY = "".join(f"; SET LOCAL {name} = {value}" for name, value in _SETTINGS.items())
"""The same of one transaction, which a pooler leaves in one session."""

_NO_OPTIONS = ("unsupported startup parameter", "unrecognized configuration parameter")
"""What a pooler or an old server says to these; a pooler may also be told to swallow them."""

_NO_SUCH_TABLE, _NO_SUCH_COLUMN = "42P01", "42703"
_QUERY_CANCELED, _LOCK_NOT_AVAILABLE = "57014", "55P03"
_NO_PRIVILEGE, _NO_SUCH_DATABASE = "42501", "3D000"
_WRONG_PASSWORD = ("28P01", "28000")


class PostgresDatabase(ServerDatabase):
    """See :class:`~agentnn.stores.sql_server.database.ServerDatabase`."""

    dialect = PostgresDialect()
    product = "PostgreSQL"

    @cached_property
    def _driver(self) -> Any:
        if find_spec("psycopg") is None and find_spec("psycopg2") is not None:
            return require("psycopg2", extra="postgres")
        return require("psycopg", extra="postgres")

    @property
    def _options(self) -> dict[str, Any]:
        """The words of libpq for the address: https://www.postgresql.org/docs/current/libpq-connect.html."""
        address = self.address
        named = {
            "host": address.host, "port": address.port, "dbname": address.database, "user": address.user,
            "password": address.password,
        }  # fmt: skip
        options: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
        for key, values in address.query.items():
            options[key] = values[-1]
            if key == "host":
                pairs = [value.rpartition(":") if ":" in value else (value, "", "") for value in values]
                options["host"] = ",".join(host for host, _, _ in pairs)
                if any(port for _, _, port in pairs):
                    options["port"] = ",".join(port for _, _, port in pairs)
        return {"connect_timeout": CONNECT_TIMEOUT_S, **options}

    def _connect(self) -> Any:
        try:
            try:
                connection = self._log_in(_SESSION)
            except self._driver.OperationalError as error:
                if not any(sign in str(error) for sign in _NO_OPTIONS):
                    raise
                connection = self._log_in("")
            self._is_bare = not _is_read_only(connection)
        except self._driver.Error as error:
            raise self._why_not(error) from error
        self._watch = Watch(connection)
        return connection

    def _log_in(self, session: str) -> Any:
        options = self._options
        theirs = options.pop("options", "")
        if session or theirs:
            options["options"] = f"{session} {theirs}".strip()
        connection = self._driver.connect(**options)
        if self._driver.__name__ == "psycopg":
            connection.prepare_threshold = None  # a pooler between may give each statement another session
        connection.autocommit = True
        return connection

    def close(self) -> None:
        """Close the connection."""
        self._watch.end()
        super().close()

    def _begin_snapshot(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{_LOCALLY if self._is_bare else ''}")

    def _schema_query(self) -> str:
        # Not information_schema, which hides what this user may not read, so that it would seem not to be there.
        return (
            "SELECT c.relname::text, a.attname::text FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid "
            "JOIN pg_attribute a ON a.attrelid = c.oid WHERE n.nspname = ANY(current_schemas(false)) "
            "AND pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 "
            "AND NOT a.attisdropped"
        )

    def _fetch(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._asking() as cursor:
            cursor.execute(sql, tuple(values))
            return list(cursor.fetchall())

    def _fetch_each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any]) -> None:
        with self._asking() as cursor:
            cursor.execute(f"DECLARE found NO SCROLL CURSOR FOR {sql}", tuple(values))
        while rows := self._fetch(f"FETCH {AT_ONCE} FROM found", ()):
            take(rows)
        with self._asking() as cursor:
            cursor.execute("CLOSE found")

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """A cursor for one question, whose answer has to come in time."""
        watch = self._watch
        if watch.has_hung_up:
            raise LostConnection("an earlier answer did not come")
        try:
            with watch.at_most(SILENCE_S), self._reading(), self._connection.cursor(**self._binary) as cursor:
                yield cursor
        except self._driver.Error as error:
            raise self._too_slow() if watch.has_hung_up else self._translated(error) from error
        except UnicodeEncodeError:
            raise
        except ValueError as error:  # psycopg2's word for a NUL
            raise UsageError(f"a text can't be asked for: {error}", hint="no text there holds a NUL") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """A transaction that may only read, where the session could not be told so."""
        if not self._is_bare or self._in_snapshot:
            yield
            return
        with self._connection.cursor() as cursor:
            cursor.execute(f"BEGIN READ ONLY{_LOCALLY}")
            try:
                yield
            finally:
                with suppress(self._driver.Error):
                    cursor.execute("ROLLBACK")

    @cached_property
    def _binary(self) -> dict[str, bool]:
        """Numbers in binary: they are read faster, and older servers round them in text."""
        return {"binary": True} if self._driver.__name__ == "psycopg" else {}

    def _why_not(self, error: Any) -> AgentNNError:
        state, said = _state(error), str(error)
        if re.search(r"invalid (connection option|\w+ value)", said):
            return UsageError(f"{self.address.uri}: {self._said(error)}", hint="check the tracking URI")
        if state in _WRONG_PASSWORD or "authentication failed" in said or "no password supplied" in said:
            return self._refused("the user or the password is wrong", "check the tracking URI, or ~/.pgpass")
        if state == _NO_SUCH_DATABASE or ("database" in said and "does not exist" in said):
            return self._refused(
                f"there is no database {self.address.database!r}", f"createdb, or check the URI {self.address.uri}"
            )
        return self._unreachable(error)

    def _translated(self, error: Any) -> AgentNNError:
        state = _state(error)
        if state == _QUERY_CANCELED:
            return self._too_slow()
        if state == _LOCK_NOT_AVAILABLE:
            return self._locked()
        if state in (_NO_SUCH_TABLE, _NO_SUCH_COLUMN):
            return self._unknown_schema(error)
        if state == _NO_PRIVILEGE:
            return self._refused(self._said(error), "GRANT SELECT on MLflow's tables to this user")
        if "NUL" in str(error):
            return UsageError(f"a text can't be asked for: {self._said(error)}", hint="no text there holds a NUL")
        if self._connection.closed or isinstance(error, self._driver.InterfaceError):
            return LostConnection(
                f"{self.product} at {self.address.server} broke off the connection: {self._said(error)}",
                hint="check that the server runs",
            )
        return self._refused(self._said(error), "look at the server's log")


def _is_read_only(connection: Any) -> bool:
    """Whether a session took what it was told when it began."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW default_transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")


def _state(error: Any) -> str:
    """The five characters of https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
