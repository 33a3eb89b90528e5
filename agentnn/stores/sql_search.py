"""Which runs a question is about, in its order, as their ids out of an MLflow database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.sql_dialect import Sql
from agentnn.stores.sql_where import all_of, order_terms

if TYPE_CHECKING:
    from agentnn.query.runs import RunQuery
    from agentnn.stores.sql_dialect import Database


def ids_in_order(database: Database, query: RunQuery, scope: Sql) -> list[str]:
    """The ids of the runs that a query asks for, in its order.

    Args:
        database: Where to look.
        query: What is asked.
        scope: The query's scope as a condition on ``runs r``.
    """
    dialect = database.dialect
    if query.limit is not None and not query.order_by and dialect.has_rowid:
        threshold = _newest_threshold(database, scope, query.limit)
        if threshold is not None:
            scope = all_of([scope, Sql("r.start_time >= ?", (threshold,))])
    joins, join_values, terms = order_terms(query.order_by, dialect)
    cut_off = ("", ()) if query.limit is None else (" LIMIT ?", (query.limit,))
    rows = database.rows(
        f"SELECT r.run_uuid FROM runs r {joins} WHERE {scope.text} "
        f"ORDER BY {', '.join([*terms, dialect.natural_order])}{cut_off[0]}",
        (*join_values, *scope.values, *cut_off[1]),
    )
    return [row[0] for row in rows]


def _newest_threshold(database: Database, scope: Sql, limit: int) -> int | None:
    """A start time that the newest ``limit`` runs have all reached, from the rows that were written last.

    Rows are mostly written in the order of their start: when enough of the last ones qualify, no older start time
    can be among the newest, and the sort has few rows to look at.
    """
    rows = database.rows(
        "SELECT r.start_time FROM (SELECT * FROM runs ORDER BY rowid DESC LIMIT ?) r "
        f"WHERE r.start_time IS NOT NULL AND {scope.text} ORDER BY r.start_time DESC LIMIT ?",
        (4 * limit + 100, *scope.values, limit),
    )
    return rows[-1][0] if rows and len(rows) == limit else None
