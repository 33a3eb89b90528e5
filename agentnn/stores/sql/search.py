"""Which runs a question is about, in its order, as their ids out of an MLflow database.

Of many runs the newest come first, and at once; only then are the others looked for, which takes a scan of all runs.
That is two questions to a database which others write to meanwhile. Still no run comes twice, and none is left out
that was there from the first question to the last: a run's start never changes, and those that come second started
before those that came first. The ids are kept in 16 bytes each, so that no question lasts as long as its answer is
being read: a reader would hold up who writes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.stores.sql.dialect import Sql, SweptDatabase, Tree
from agentnn.stores.sql.run_ids import RunIds
from agentnn.stores.sql.sweep import rows_of, runs_among, runs_by_id, runs_by_sweep
from agentnn.stores.sql.where import all_of, order_terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from agentnn.query.runs import RunQuery
    from agentnn.stores.sql.dialect import Database

CHUNK = 1000
"""Runs that are read at once."""

_AT_FIRST = 50
_FEW = 10_000
"""A limit that is no more than this asks for so few runs that one question is enough."""

_STRIDE = 16
_WIDEST = 60_000
"""More of the newest runs are not looked at, one by one, before all are."""


def ids_in_chunks(database: Database, query: RunQuery, scope: Sql) -> Iterator[Sequence[str]]:
    """The ids of the runs that a query asks for, in its order, some at a time.

    Args:
        database: Where to look.
        query: What is asked.
        scope: The query's scope as a condition on ``runs r``.
    """
    if query.order_by or (query.limit is not None and query.limit <= _FEW):
        top = _top_by_metric(database, query, scope)
        if top is not None:
            yield top
            return
        yield from _in_order(database, query, scope).chunks(CHUNK)
        return
    newest = _newest(database, query._replace(limit=CHUNK), scope)
    run_ids = [run_id for run_id, _ in newest]
    yield run_ids[:_AT_FIRST]  # whoever waits for the first line need not wait for a thousand
    yield run_ids[_AT_FIRST:]
    if len(newest) == CHUNK:
        limit = None if query.limit is None else query.limit - CHUNK
        older = query._replace(limit=limit), all_of([scope, _after(newest, database)])
        yield from _in_order(database, *older).chunks(CHUNK)


def _in_order(database: Database, query: RunQuery, scope: Sql) -> RunIds:
    joins, join_values, terms = order_terms(query.order_by, database.dialect)
    place = _place(database, query, scope)
    cut_off = ("", ()) if query.limit is None else (" LIMIT ?", (query.limit,))
    run_ids = RunIds()
    with _reading_ahead(database, place):
        database.each(
            lambda rows: run_ids.extend([row[0] for row in rows]),
            f"SELECT {database.dialect.text('r.run_uuid')} FROM {place.runs.text} {joins} WHERE {place.scope.text} "
            f"ORDER BY {', '.join([*terms, database.dialect.natural_order])}{cut_off[0]}",
            (*place.runs.values, *join_values, *place.scope.values, *cut_off[1]),
        )
    return run_ids


def _top_by_metric(database: Database, query: RunQuery, scope: Sql) -> list[str] | None:
    """The ids of few runs in the order of a metric, where its own table tells; ``None`` where it does not."""
    if query.limit is None or query.limit > CHUNK or len(query.order_by) != 1 or not database.dialect.has_rowid:
        return None
    [order] = query.order_by
    if order.field.kind != "metric":
        return None
    from agentnn.stores.sql.best import top_of_metric_table

    rows = Sql("m.key = ? AND NOT m.is_nan AND m.value IS NOT NULL", (order.field.key,))
    top = top_of_metric_table(database, rows, scope, query.limit, descending=not order.ascending)
    return [run_id for run_id, _ in top] if top is not None and len(top) == query.limit else None


def _newest(database: Database, query: RunQuery, scope: Sql) -> list[Any]:
    """The newest runs, each with its start."""
    place = _place(database, query, scope)
    with _reading_ahead(database, place):
        return database.rows(
            f"SELECT {database.dialect.text('r.run_uuid')}, r.start_time FROM {place.runs.text} "
            f"WHERE {place.scope.text} ORDER BY {database.dialect.natural_order} LIMIT ?",
            (*place.runs.values, *place.scope.values, query.limit),
        )


def _after(newest: Sequence[Any], database: Database) -> Sql:
    """A condition on ``runs r``: those that come after these in the natural order."""
    last = newest[-1][1]
    # Of those that began together, which are few, the ids are named: servers differ in how they compare text.
    level = database.dialect.one_of("r.run_uuid", [run_id for run_id, start in newest if start == last])
    if last is None:
        return Sql(f"(r.start_time IS NULL AND NOT {level.text})", level.values)
    older = f"r.start_time < ? OR r.start_time IS NULL OR (r.start_time = ? AND NOT {level.text})"
    return Sql(f"({older})", (last, last, *level.values))


class _Place(NamedTuple):
    """Where runs are looked for.

    Attributes:
        runs: The tables.
        scope: The condition.
        read: The table that is read from its beginning to its end; empty for none.
    """

    runs: Sql
    scope: Sql
    read: str


def _reading_ahead(database: Database, place: _Place) -> AbstractContextManager[None]:
    if place.read and database.dialect.has_rowid and isinstance(database, SweptDatabase):
        return database.reading_ahead([Tree(place.read)])
    return nullcontext()


def _place(database: Database, query: RunQuery, scope: Sql) -> _Place:
    """The shortest way that is known to the runs."""
    if not database.dialect.has_rowid:
        return _Place(runs_among(None), scope, "runs")
    named = None if query.filter is None else runs_by_id(query.filter)
    if named is not None:
        return _Place(runs_among(named), scope, "")
    threshold = None
    if query.limit is not None and not query.order_by:
        threshold = _newest_threshold(database, scope, query.limit)
    if threshold is not None:
        return _Place(runs_among(None), all_of([scope, Sql("r.start_time >= ?", (threshold,))]), "runs")
    few = None if query.filter is None else runs_by_sweep(database, query.filter)
    return _Place(runs_among(None), scope, "runs") if few is None else _Place(runs_among(few.runs), scope, few.table)


def _newest_threshold(database: Database, scope: Sql, limit: int) -> int | None:
    """A start time that the newest ``limit`` runs have all reached, from the rows that were written last.

    Rows are mostly written in the order of their start: when enough of the last ones qualify, no older start time
    can be among the newest, and there is little to look at and to sort. How many rows are enough shows as we go.
    """
    window, every = 4 * limit + 100, rows_of(database, "runs")
    while True:
        rows = database.rows(
            "SELECT r.start_time FROM (SELECT * FROM runs ORDER BY rowid DESC LIMIT ?) r "
            f"WHERE r.start_time IS NOT NULL AND {scope.text} ORDER BY r.start_time DESC LIMIT ?",
            (window, *scope.values, limit),
        )
        if rows and len(rows) == limit:
            return int(rows[-1][0])
        window *= 2 * limit // len(rows) if rows else _STRIDE
        if window > min(every // 4, _WIDEST):
            return None
