"""Runs sorted by params or tags, of which some are numbers: by the values alone, here."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentnn.query.evaluation import sort_key
from agentnn.stores.sql.run_ids import RunIds
from agentnn.stores.sql.search import CHUNK
from agentnn.stores.sql.where import KEYED_TABLES, attribute_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.runs import OrderBy
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql_server.database import ServerDatabase

_SHARED = 1000
"""Texts whose sort keys are held once for all runs that have them: many runs have the same few values."""


def is_sorted_here(order_by: Sequence[OrderBy]) -> bool:
    """Whether a database server can't sort so."""
    return any(order.field.kind in ("param", "tag") for order in order_by)


def ids_sorted_here(
    database: ServerDatabase, order_by: Sequence[OrderBy], scope: Sql, limit: int | None
) -> Iterator[Sequence[str]]:
    """The ids of the first runs in scope, in an order, some at a time.

    Of each run its packed id, what it is sorted by and its place are held, and no row: runs may be very many.
    """
    columns, joins, values = _sources(database, order_by)
    run_ids, keys = RunIds(), [list[Any]() for _ in order_by]
    key_of = lru_cache(_SHARED)(lambda value, is_nan, order: sort_key(_values(value, is_nan), order))

    def take(rows: list[Any]) -> None:
        run_ids.extend([row[0] for row in rows])
        for index, order in enumerate(order_by):
            keys[index] += [key_of(row[1 + 2 * index], row[2 + 2 * index], order) for row in rows]

    database.each(
        take,
        f"SELECT r.run_uuid, {', '.join(columns)} FROM runs r {' '.join(joins)} WHERE {scope.text} "
        f"ORDER BY {database.dialect.natural_order}",
        (*values, *scope.values),
    )
    places = list(range(len(run_ids)))
    for one in reversed(keys):
        places.sort(key=one.__getitem__)
    wanted = len(places) if limit is None else min(limit, len(places))
    for start in range(0, wanted, CHUNK):
        yield run_ids.picked(places[start : min(start + CHUNK, wanted)])


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
