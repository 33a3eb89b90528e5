"""MySQL and MariaDB through PyMySQL."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, UsageError
from agentnn.extras import require
from agentnn.stores.sql.mlflow_tables import SchemaMismatch
from agentnn.stores.sql_server.database import (
    AT_ONCE,
    CONNECT_TIMEOUT_S,
    LOCK_TIMEOUT_S,
    SILENCE_S,
    STATEMENT_TIMEOUT_S,
    LostConnection,
    ServerDatabase,
)
from agentnn.stores.sql_server.dialects import MySqlDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SSL_VARIABLES = {
    "ssl_ca": "MLFLOW_MYSQL_SSL_CA", "ssl_cert": "MLFLOW_MYSQL_SSL_CERT", "ssl_key": "MLFLOW_MYSQL_SSL_KEY",
}  # fmt: skip
_TLS = {
    "ssl_ca": "ca", "ssl_capath": "capath", "ssl_cert": "cert", "ssl_key": "key", "ssl_key_password": "password",
    "ssl_cipher": "cipher", "ssl_check_hostname": "check_hostname", "ssl_verify_identity": "check_hostname",
    "ssl_verify_cert": "verify_mode",
}  # fmt: skip
"""Options that SQLAlchemy makes one of, as PyMySQL takes them apart: given alone, a certificate of the user's own would
be looked at by nobody."""

_FLAGS = ("ssl_check_hostname", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity")
_NUMBERS = ("connect_timeout", "read_timeout", "write_timeout", "client_flag", "local_infile", "max_allowed_packet")
_WINDOWS_SINCE = {"MariaDB": (10, 2), "MySQL": (8, 0)}

# https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
_DENIED = (1044, 1045, 1698)
_NO_SUCH_DATABASE = 1049
_NO_PRIVILEGE = (1142, 1143)
_NO_SUCH_TABLE, _NO_SUCH_COLUMN = 1146, 1054
_LOCKED = (1205, 1213)
_TOO_SLOW = (1969, 3024, 1317)
_GONE = (2006, 2013, 2014, 2055, 1053, 1927, 4031)


class MySqlDatabase(ServerDatabase):
    """See :class:`~agentnn.stores.sql_server.database.ServerDatabase`."""

    dialect = MySqlDialect()
    product = "MySQL"

    @cached_property
    def _driver(self) -> Any:
        return require("pymysql", extra="mysql")

    @property
    def _options(self) -> dict[str, Any]:
        address = self.address
        named = {
            "host": address.host, "port": address.port, "database": address.database, "user": address.user,
            "password": address.password,
        }  # fmt: skip
        options: dict[str, Any] = {key: value for key, value in named.items() if value}
        for key, values in address.query.items():
            options[key] = _typed(key, values[-1])
        tls = {name: options.pop(key) for key, name in _TLS.items() if key in options}
        if "verify_mode" in tls:
            tls.setdefault("check_hostname", False)
        variables = {key: os.environ.get(name) for key, name in _SSL_VARIABLES.items()}
        options |= {"ssl": tls} if tls else {key: value for key, value in variables.items() if value}
        defaults = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": SILENCE_S}
        return {**defaults, **options, "charset": "utf8mb4", "autocommit": True}

    def _connect(self) -> Any:
        try:
            connection = self._driver.connect(**self._options)
        except TypeError as error:  # an option that is none
            raise UsageError(f"{self.address.uri}: {self._said(error)}", hint="check the tracking URI") from error
        except OSError as error:  # of the line it would be the driver's own
            raise UsageError(
                f"{self.address.uri}: {self._said(error)}", hint="check the certificates that the tracking URI names"
            ) from error
        except self._driver.Error as error:
            raise self._why_not(error) from error
        try:
            self._prepare(connection)
        except self._driver.Error as error:
            raise self._unreachable(error) from error
        return connection

    def _prepare(self, connection: Any) -> None:
        version = connection.get_server_info()
        self.product = "MariaDB" if "MariaDB" in version else "MySQL"
        numbers = tuple(int(part) for part in version.removeprefix("5.5.5-").split(".")[:2])
        if numbers < _WINDOWS_SINCE[self.product]:
            connection.close()
            raise SchemaMismatch(f"{self.product} {version} at {self.address.server} is too old to be read directly")
        limit = (
            f"max_statement_time = {STATEMENT_TIMEOUT_S}"
            if self.product == "MariaDB"
            else f"max_execution_time = {STATEMENT_TIMEOUT_S * 1000}"
        )
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(f"SET SESSION {limit}, lock_wait_timeout = {LOCK_TIMEOUT_S}")

    def _begin_snapshot(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def _schema_query(self) -> str:
        return "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = database()"

    def _fetch(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._asking(self._driver.cursors.Cursor) as cursor:
            cursor.execute(sql, tuple(values))
            return list(cursor.fetchall())

    def _fetch_each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any]) -> None:
        with self._asking(self._driver.cursors.SSCursor) as cursor:
            cursor.execute(sql, tuple(values))
            while rows := cursor.fetchmany(AT_ONCE):
                take(rows)

    @contextmanager
    def _asking(self, kind: Any) -> Iterator[Any]:
        try:
            with self._connection.cursor(kind) as cursor:
                yield cursor
        except self._driver.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            raise self._lost(error) from error

    def _said(self, error: BaseException) -> str:
        text = error.args[-1] if error.args else error
        return super()._said(Exception(text))

    def _why_not(self, error: Any) -> AgentNNError:
        code = _code(error)
        if code in _DENIED:
            return self._refused("the user or the password is wrong", "check the tracking URI")
        if code == _NO_SUCH_DATABASE:
            return self._refused(
                f"there is no database {self.address.database!r}", f"CREATE DATABASE, or check {self.address.uri}"
            )
        return self._unreachable(error)

    def _translated(self, error: Any) -> AgentNNError:
        code = _code(error)
        if code in _TOO_SLOW or "timed out" in str(error):
            return self._too_slow()
        if code in _LOCKED:
            return self._locked()
        if code in (_NO_SUCH_TABLE, _NO_SUCH_COLUMN):
            return self._unknown_schema(error)
        if code in _NO_PRIVILEGE:
            return self._refused(self._said(error), "GRANT SELECT on MLflow's tables to this user")
        if code in _GONE or isinstance(error, self._driver.InterfaceError):
            return self._lost(error)
        return self._refused(self._said(error), "look at the server's log")

    def _lost(self, error: BaseException) -> LostConnection:
        return LostConnection(
            f"{self.product} at {self.address.server} broke off the connection: {self._said(error)}",
            hint="check that the server runs",
        )


def _typed(key: str, text: str) -> Any:
    """An option of a URI as PyMySQL takes it."""
    if key in _FLAGS:
        return text.lower() in ("1", "true", "yes", "on")
    return int(text) if key in _NUMBERS and text.isdecimal() else text


def _code(error: Any) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
