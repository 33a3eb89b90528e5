"""The runs that a filter lets through, when these are few: by one sweep over the table of a field.

To look up a metric of a million runs by its index takes SQLite seconds, since the rows lie everywhere; to read the
whole table from its beginning to its end takes a tenth of that. The runs are looked up of the rows that matched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentnn.query.expressions import And, Comparison, Field
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.sql.dialect import Sql
from agentnn.stores.sql.where import KEYED_TABLES, comparison_with, matching_rows, where

if TYPE_CHECKING:
    from agentnn.query.expressions import Expression
    from agentnn.stores.sql.dialect import Database

ROWS_A_RUN = 20
"""To read so many rows in one sweep costs as much as to look one up."""

_SAMPLE = 2000
_PLACES, _RUNS_A_PLACE = 64, 32
_FEW = 20
"""Few is one in so many."""

_RUN_ID, _RUN_NAME = Field("attribute", "run_id"), Field("attribute", "run_name")


def runs_by_id(expression: Expression) -> Sql | None:
    """Which runs a filter lets in by their ids, or the beginning of these, as a table ``s (run_uuid)``.

    Returns:
        ``None`` where it says nothing of ids, which have an index.
    """
    for part in _all_parts(expression):
        if isinstance(part, Comparison) and part.field == _RUN_ID and isinstance(part.value, str):
            begin = part.value.removesuffix("%")
            if part.operator == "=":
                return Sql("(SELECT x.run_uuid FROM runs x WHERE x.run_uuid = ?) s", (part.value,))
            if part.operator == "LIKE" and begin != part.value and not set(begin) & set("%_"):
                between = "x.run_uuid >= ? AND x.run_uuid < ? || char(1114111)"
                return Sql(f"(SELECT x.run_uuid FROM runs x WHERE {between}) s", (begin, begin))
    return None


class Swept(NamedTuple):
    """Few runs, found by reading a whole table.

    Attributes:
        runs: A table ``s (run_uuid)`` of them.
        table: What is read for it.
    """

    runs: Sql
    table: str


def runs_by_sweep(database: Database, expression: Expression) -> Swept | None:
    """Which runs a part of a filter lets in, so that only these are looked at.

    Args:
        database: Where to look; a SQLite file.
        expression: The filter; it must still be asked, of the runs that are left.

    Returns:
        ``None`` where no part of the filter lets few of the newest runs in, or the table is too long to be swept.
    """
    sample = min(_SAMPLE, 1 + rows_of(database, "runs") // 20)
    for part in _all_parts(expression):
        if not isinstance(part, Comparison) or part.operator in ("IS NULL", "IS NOT NULL"):
            continue
        table = "tags" if part.field == _RUN_NAME else KEYED_TABLES.get(part.field.kind)
        if table is None or not is_swept(database, table):
            continue
        condition = where(part)
        [(sampled, matched)] = database.rows(
            f"SELECT count(*), total({condition.text}) FROM (SELECT * FROM runs ORDER BY rowid DESC LIMIT ?) r",
            (*condition.values, sample),
        )
        if matched * _FEW <= sampled:
            return Swept(_swept(part, table), table)
    return None


def _swept(part: Comparison, table: str) -> Sql:
    if part.field != _RUN_NAME:
        rows = matching_rows(part)
        return Sql(f"(SELECT x.run_uuid FROM {table} x NOT INDEXED WHERE {rows.text}) s", rows.values)
    tags = matching_rows(part._replace(field=Field("tag", RUN_NAME_TAG)))
    names = comparison_with("coalesce(x.name, '')", part)
    return Sql(
        f"(SELECT x.run_uuid FROM {table} x NOT INDEXED WHERE {tags.text} "
        f"UNION SELECT x.run_uuid FROM runs x WHERE {names.text}) s",
        (*tags.values, *names.values),
    )


def share_of_runs(database: Database, condition: Sql) -> float:
    """About which share of the runs fulfil a condition on ``runs r``, by some of them from all over the table.

    Args:
        database: Where to look; a SQLite file.
        condition: It is fulfilled where it is 1.
    """
    last = rows_of(database, "runs")
    stride = max(1, last // _PLACES)
    [(looked_at, fulfil)] = database.rows(
        "WITH RECURSIVE place(at) AS (SELECT 1 UNION ALL SELECT at + ? FROM place WHERE at + ? <= ?) "
        f"SELECT count(*), total(({condition.text}) IS 1) FROM place "
        "CROSS JOIN runs r ON r.rowid >= place.at AND r.rowid < place.at + ?",
        (stride, stride, last, *condition.values, min(stride, _RUNS_A_PLACE)),
    )
    return float(fulfil / looked_at) if looked_at else 0.0


def runs_among(few: Sql | None) -> Sql:
    """The runs ``r`` as they stand behind FROM, those of a table ``s`` where there is one."""
    if few is None:
        return Sql("runs r")
    return Sql(f"{few.text} CROSS JOIN runs r ON r.run_uuid = s.run_uuid", few.values)


def is_swept(database: Database, table: str) -> bool:
    """Whether a table is read sooner in one sweep than row by row where its index says, a row a run."""
    return rows_of(database, table) <= ROWS_A_RUN * rows_of(database, "runs")


def rows_of(database: Database, table: str) -> int:
    """About how many rows a table has, and not fewer."""
    [(last,)] = database.rows(f"SELECT max(rowid) FROM {table}")
    return last or 0


def _all_parts(expression: Expression) -> tuple[Expression, ...]:
    """What must all hold."""
    return expression.parts if isinstance(expression, And) else (expression,)
