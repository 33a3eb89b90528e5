"""The figures of an MLflow database on a server, and what would make it faster."""

from __future__ import annotations

from shlex import join
from typing import TYPE_CHECKING

from agentnn.stores.measures import StoreMeasures, tables_of
from agentnn.stores.sql.best import VALUES_INDEX
from agentnn.stores.sql.measures import advise_index, advise_statistics, counts_of, schema_of

if TYPE_CHECKING:
    from agentnn.stores.sql_server.address import Address
    from agentnn.stores.sql_server.database import ServerDatabase


def measure_server(database: ServerDatabase) -> StoreMeasures:
    """What an MLflow database on PostgreSQL, MySQL or MariaDB tells of itself."""
    is_postgres = database.address.kind == "postgresql"
    version, size, is_indexed, is_analysed = _of_postgres(database) if is_postgres else _of_mysql(database)
    experiments, runs, values = counts_of(database)

    def command(sql: str) -> str:
        return _psql(database.address, sql) if is_postgres else _mysql(database.address, sql)

    return StoreMeasures(
        reader=tables_of(database.product),
        software=f"{database.product} {version}",
        schema=schema_of(database),
        experiments=experiments,
        runs=runs,
        size_bytes=size,
        indexes=(VALUES_INDEX,) if is_indexed else (),
        analysed=is_analysed,
        advice=tuple(
            [
                *([] if is_analysed else advise_statistics(runs, command)),
                *([] if is_indexed else advise_index(values, command, "key" if is_postgres else "`key`")),
            ]
        ),
    )


def _of_postgres(database: ServerDatabase) -> tuple[str, int, bool, bool]:
    """Version, size in bytes, whether our index is there, and whether the planner has statistics."""
    [row] = database.rows(
        "SELECT current_setting('server_version'), pg_database_size(current_database()), "
        "to_regclass(?) IS NOT NULL, EXISTS (SELECT 1 FROM pg_stats "
        "WHERE tablename = 'latest_metrics' AND schemaname = ANY(current_schemas(false)))",
        (VALUES_INDEX,),
    )
    return row[0].split()[0], int(row[1]), bool(row[2]), bool(row[3])


def _of_mysql(database: ServerDatabase) -> tuple[str, int, bool, bool]:
    """The same; InnoDB keeps its statistics up to date itself."""
    [row] = database.rows(
        "SELECT version(), (SELECT coalesce(sum(data_length + index_length), 0) FROM information_schema.tables "
        "WHERE table_schema = database()), EXISTS (SELECT 1 FROM information_schema.statistics "
        "WHERE table_schema = database() AND index_name = ?)",
        (VALUES_INDEX,),
    )
    return row[0].partition("-")[0], int(row[1]), bool(row[2]), True


def _psql(address: Address, sql: str) -> str:
    """A statement at the shell; it asks for the password."""
    options = {"-h": address.host, "-p": address.port, "-U": address.user, "-d": address.database}
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return join(["psql", *words, "-c", sql])


def _mysql(address: Address, sql: str) -> str:
    options = {"-h": address.host, "-P": address.port, "-u": address.user}
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return join(["mysql", *words, *(["-p"] if address.password else []), address.database or "", "-e", sql])
