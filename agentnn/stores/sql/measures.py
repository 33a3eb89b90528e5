"""The figures of an MLflow database, and what would make it faster."""

from __future__ import annotations

import shutil
from shlex import quote
from typing import TYPE_CHECKING

from agentnn.stores.measures import Advice, StoreMeasures, tables_of
from agentnn.stores.sql.best import VALUES_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agentnn.stores.sql.dialect import Database
    from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase

_MANY_RUNS = 2_000
"""Ten thousand take MLflow five seconds to sort on a SQLite database without statistics, and the time is quadratic."""

_MANY_VALUES = 500_000
"""So many latest values take agentnn 50 ms to look through, and MLflow a second to sort."""


def measure_sqlite(database: ReadOnlyDatabase) -> StoreMeasures:
    """What a SQLite file with MLflow's tables tells of itself."""
    from sqlite3 import sqlite_version

    experiments, runs, values = counts_of(database)
    is_indexed = bool(database.rows("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", [VALUES_INDEX]))
    is_analysed = _is_analysed(database)
    return StoreMeasures(
        reader=tables_of("SQLite"),
        software=f"SQLite {sqlite_version}",
        schema=schema_of(database),
        experiments=experiments,
        runs=runs,
        size_bytes=database.path.stat().st_size,
        indexes=(VALUES_INDEX,) if is_indexed else (),
        analysed=is_analysed,
        advice=tuple(
            [
                *([] if is_analysed else advise_statistics(runs, _shell(database.path))),
                *([] if is_indexed else advise_index(values, _shell(database.path), "key")),
            ]
        ),
    )


def counts_of(database: Database) -> Sequence[int]:
    """How many experiments, runs and latest values there are."""
    tables = ("experiments", "runs", "latest_metrics")
    [row] = database.rows("SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables))
    return [int(count) for count in row]


def schema_of(database: Database) -> str | None:
    """The revision of the schema, as Alembic keeps it."""
    if not database.columns("alembic_version"):
        return None
    return ",".join(row[0] for row in database.rows("SELECT version_num FROM alembic_version"))


def advise_statistics(runs: int, command: Callable[[str], str]) -> list[Advice]:
    """The advice for a database without statistics.

    Args:
        runs: How many runs it has.
        command: Makes a statement into a command of the shell.
    """
    if runs < _MANY_RUNS:
        return []
    problem = (
        f"the database has no statistics of its {runs:,} runs: MLflow, and a server on it, sort them by a metric in a "
        "time that grows with the square of their number"
    )
    return [Advice("statistics", problem, command("ANALYZE"))]


def advise_index(values: int, command: Callable[[str], str], key: str) -> list[Advice]:
    """The advice for a database of which all values are looked through for the best.

    Args:
        values: How many latest values it has.
        command: Makes a statement into a command of the shell.
        key: The column of the metric's name, quoted where that is a word of the database's own.
    """
    if values < _MANY_VALUES:
        return []
    problem = f"the best run by a metric is looked for among {values:,} values; an index would find it at once"
    return [Advice("index", problem, command(f"CREATE INDEX {VALUES_INDEX} ON latest_metrics ({key}, value)"))]


def _is_analysed(database: ReadOnlyDatabase) -> bool:
    has_statistics = database.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")
    return bool(has_statistics and database.rows("SELECT 1 FROM sqlite_stat1 WHERE tbl = 'latest_metrics' LIMIT 1"))


def _shell(path: Path) -> Callable[[str], str]:
    """Makes a statement into a command of the shell; SQLite's own program is not everywhere."""
    if shutil.which("sqlite3"):
        return lambda sql: f"sqlite3 {quote(str(path))} {quote(sql)}"
    return lambda sql: f"python -c {quote(f'import sqlite3; sqlite3.connect({str(path)!r}).execute({sql!r})')}"
