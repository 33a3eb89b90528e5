"""MySQL and MariaDB through PyMySQL."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, UsageError
from agentnn.extras import require
from agentnn.stores.sql.sqlite_file import SchemaMismatch
from agentnn.stores.sql_server.database import (
    CONNECT_TIMEOUT_S,
    LOCK_TIMEOUT_S,
    SILENCE_S,
    STATEMENT_TIMEOUT_S,
    LostConnection,
    ServerDatabase,
)
from agentnn.stores.sql_server.dialects import MySqlDialect

if TYPE_CHECKING:
    from collections.abc import Sequence

_SSL_VARIABLES = {
    "ssl_ca": "MLFLOW_MYSQL_SSL_CA", "ssl_cert": "MLFLOW_MYSQL_SSL_CERT", "ssl_key": "MLFLOW_MYSQL_SSL_KEY",
}  # fmt: skip
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
        variables = {key: os.environ.get(name) for key, name in _SSL_VARIABLES.items()}
        options: dict[str, Any] = {key: value for key, value in {**variables, **named}.items() if value}
        for key, values in address.query.items():
            options[key] = int(values[-1]) if key in _NUMBERS and values[-1].isdecimal() else values[-1]
        defaults = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": SILENCE_S}
        return {**defaults, **options, "charset": "utf8mb4", "autocommit": True}

    def _connect(self) -> Any:
        try:
            connection = self._driver.connect(**self._options)
        except TypeError as error:  # an option that is none
            raise UsageError(f"{self.address.uri}: {self._said(error)}", hint="check the tracking URI") from error
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
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, tuple(values))
                return list(cursor.fetchall())
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


def _code(error: Any) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
