"""Database servers that hold what an MLflow database of SQLite holds, so that tests write one kind of store only."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from real_stores import MariaCluster, PostgresCluster

    from agentnn.stores.sql_server.store import ServerRegistry, ServerStore

SERVERS = ("postgresql", "mysql")
"""The kinds of servers."""

TABLES = (
    "experiments", "experiment_tags", "runs", "params", "tags", "metrics", "latest_metrics", "datasets", "inputs",
    "input_tags", "registered_models", "registered_model_tags", "model_versions", "model_version_tags",
    "registered_model_aliases",
)  # fmt: skip
"""What is mirrored, each after those that it refers to."""

BOOLEANS = ("is_nan",)


class Mirror:
    """One store on a server, which takes over what a SQLite database holds."""

    def __init__(self, uri: str, connect: Callable[[], Any]) -> None:
        from agentnn.stores.sql_server.store import ServerRegistry, ServerStore

        self.uri = uri
        self.store: ServerStore = ServerStore(uri)
        self.registry: ServerRegistry = ServerRegistry(uri)
        self._connect = connect
        self._quote = "`" if uri.startswith("mysql") else '"'
        self._held: tuple[Any, ...] = ()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self.store, self.registry):
            one.close()

    def show(self, database: Path) -> Mirror:
        """Hold what a database holds; nothing is done where it is known to."""
        with database.open("rb") as file:
            header = file.read(100)  # with a count of its changes
        state = (database, database.stat().st_mtime_ns, header)
        if state != self._held:
            self._fill(database)
            self._held = state
        return self

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A cursor of somebody else, whose changes are committed; what the store holds is no longer known."""
        self._held = ()
        with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            yield cursor
            connection.commit()

    def _fill(self, database: Path) -> None:
        with self.writing() as cursor, closing(sqlite3.connect(database)) as source:
            for table in reversed(TABLES):
                cursor.execute(f"DELETE FROM {table}")
            for table in TABLES:
                self._copy(source, cursor, table)

    def _copy(self, source: sqlite3.Connection, cursor: Any, table: str) -> None:
        columns = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
        flags = {index for index, column in enumerate(columns) if column in BOOLEANS}
        rows = [
            [bool(value) if index in flags else value for index, value in enumerate(row)]
            for row in source.execute(f"SELECT {', '.join(columns)} FROM {table}")
        ]
        if rows:
            names = ", ".join(f"{self._quote}{column}{self._quote}" for column in columns)
            places = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)


class Mirrors:
    """A mirror of each kind, made when a test first asks for it."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._made: dict[str, Mirror] = {}

    def __enter__(self) -> Mirrors:
        return self

    def __exit__(self, *_: object) -> None:
        for mirror in self._made.values():
            mirror.__exit__()

    def of(self, kind: str, database: Path | str) -> Mirror:
        """The mirror of a database, given by its path or its URI."""
        if kind not in self._made:
            self._made[kind] = self._postgres() if kind == "postgresql" else self._maria()
        return self._made[kind].show(Path(str(database).removeprefix("sqlite:///")))

    def _postgres(self) -> Mirror:
        import psycopg

        cluster: PostgresCluster = self._request.getfixturevalue("postgres")
        uri = cluster.create_store("/nowhere/0")
        return Mirror(uri, lambda: psycopg.connect(uri.replace("+psycopg", "")))

    def _maria(self) -> Mirror:
        import pymysql

        cluster: MariaCluster = self._request.getfixturevalue("mariadb")

        def connect() -> Any:
            return pymysql.connect(
                host="127.0.0.1", port=cluster.port, user="root", database=cluster.TEMPLATE, init_command=(
                    "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
                ),
            )  # fmt: skip

        mirror = Mirror(cluster.uri, connect)
        # What a collation takes for one name, and a key for one row: the tests tell them apart.
        with mirror.writing() as cursor:
            cursor.execute("ALTER TABLE datasets DROP PRIMARY KEY, ADD INDEX (experiment_id)")
            cursor.execute("ALTER TABLE registered_model_aliases DROP PRIMARY KEY, ADD INDEX (workspace, name)")
        return mirror
