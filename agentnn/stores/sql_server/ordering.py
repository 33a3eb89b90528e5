"""Runs sorted by params or tags, of which some are numbers: by the values alone, here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.query.evaluation import sort_key
from agentnn.stores.sql.where import KEYED_TABLES, attribute_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.runs import OrderBy
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql_server.database import ServerDatabase


def is_sorted_here(order_by: Sequence[OrderBy]) -> bool:
    """Whether a database server can't sort so."""
    return any(order.field.kind in ("param", "tag") for order in order_by)


def ids_sorted_here(database: ServerDatabase, order_by: Sequence[OrderBy], scope: Sql) -> list[str]:
    """The ids of the runs in scope, in an order."""
    columns, joins, values = _sources(database, order_by)
    rows = database.rows(
        f"SELECT r.run_uuid, r.start_time, {', '.join(columns)} FROM runs r {' '.join(joins)} WHERE {scope.text}",
        (*values, *scope.values),
    )
    rows.sort(key=lambda row: (math.inf if row[1] is None else -row[1], row[0]))
    for index, order in reversed(list(enumerate(order_by))):
        rows.sort(key=lambda row, at=2 + 2 * index, order=order: sort_key(_values(row[at], row[at + 1]), order))  # type: ignore[misc]
    return [row[0] for row in rows]


def _sources(database: ServerDatabase, order_by: Sequence[OrderBy]) -> tuple[list[str], list[str], list[Any]]:
    """For each sort key a column of values and one that says whether it is NaN; the joins that they take."""
    columns: list[str] = []
    joins: list[str] = []
    values: list[Any] = []
    for index, order in enumerate(order_by):
        if order.field.kind == "attribute":
            columns += [attribute_column(order.field.key, database.dialect), "1 = 0"]
            continue
        alias = f"o{index}"
        named = database.dialect.equal(f"{alias}.key", order.field.key)
        joins.append(
            f"LEFT JOIN {KEYED_TABLES[order.field.kind]} {alias} ON {named.text} AND {alias}.run_uuid = r.run_uuid"
        )
        values += named.values
        columns += [f"{alias}.value", f"{alias}.is_nan" if order.field.kind == "metric" else "1 = 0"]
    return columns, joins, values


def _values(value: Any, is_nan: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (math.nan,) if is_nan else (value,)
