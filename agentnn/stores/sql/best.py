"""The best run of an MLflow database, chosen inside the database.

What best means is said in :mod:`agentnn.query.selection`; the contract tests hold the two together.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from agentnn.records import PARENT_TAG
from agentnn.stores.sql.dialect import Sql, SweptDatabase, Tree
from agentnn.stores.sql.sweep import is_swept, runs_by_sweep
from agentnn.stores.sql.where import LARGEST, all_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from agentnn.query.selection import BestQuery
    from agentnn.stores.sql.dialect import Database
    from agentnn.stores.sql.odd_values import OddValues

FINITE = f"NOT m.is_nan AND m.value > {-LARGEST!r} AND m.value < {LARGEST!r}"
"""A condition on a row of metrics: its value is neither NaN nor an infinity."""

VALUES_INDEX = "agentnn_latest_metrics_by_value"
"""An index on (key, value) that users may make, by which the best are found without a look at all the others."""

_TOP_STEPS = (64, 1024, 16_384)
_CHUNK = 500


def best_candidates(
    database: Database, query: BestQuery, scope: Sql, odd: OddValues | None = None
) -> list[tuple[str, float]]:
    """The ids and values of the ``query.top`` + 1 best runs, the best first.

    Args:
        database: Where to look.
        query: What is asked.
        scope: The query's scope as a condition on ``runs r``.
        odd: Takes the values that are not finite, where a sweep over the metric table comes by all of them.
    """
    inside = eligible(query, scope)
    ranked = None
    if query.aggregate == "last":
        named = database.dialect.equal("m.key", query.metric)
        finite = Sql(f"{named.text} AND {FINITE}", named.values)
        aside = None
        if odd is not None and query.scope.filter is None and _is_ranked_by_sweep(database):
            finite, aside = odd.begin(FINITE, named), odd.add
        descending = query.mode == "max"
        ranked = top_of_metric_table(database, finite, inside, query.top + 1, descending=descending, aside=aside)
    return _ranked_by_join(database, query, inside) if ranked is None else ranked


def reading_ahead_of_best(database: Database, query: BestQuery) -> AbstractContextManager[None]:
    """Until the block ends, have the pages read that the best runs and their tally take, where these are many."""
    if query.aggregate != "last" or not _is_ranked_by_sweep(database):
        return nullcontext()
    sweep, values = Tree("latest_metrics"), Tree("sqlite_autoindex_latest_metrics_1", query.metric)
    counted = [
        values,
        sweep,
        Tree("runs"),
        Tree("sqlite_autoindex_runs_1"),
    ]  # values first: few, and looked up at random
    return database.reading_ahead(counted if query.tally else [sweep])


def eligible(query: BestQuery, scope: Sql) -> Sql:
    """A condition on ``runs r``: those that can be best if they have a finite value."""
    inside = taking_part(query, scope)
    return inside if query.include_unfinished else all_of([inside, Sql("r.status = 'FINISHED'")])


def taking_part(query: BestQuery, scope: Sql) -> Sql:
    """A condition on ``runs r``: those that are looked at."""
    if query.include_children:
        return scope
    nested = f"SELECT 1 FROM tags c WHERE c.key = '{PARENT_TAG}' AND c.run_uuid = r.run_uuid"
    return all_of([scope, Sql(f"NOT EXISTS ({nested})")])


def top_of_metric_table(
    database: Database,
    of: Sql,
    scope: Sql,
    wanted: int,
    *,
    descending: bool,
    aside: Callable[[Any, Any], object] | None = None,
) -> list[tuple[str, float]] | None:
    """The first runs by a metric, with its values, by a scan of the metric table alone and a look at those few runs.

    It is exact when enough of the first K rows qualify and no tie reaches over the edge; then the answer stands,
    else K grows, and ``None`` says that only the join can tell.

    Args:
        database: Where to look.
        of: Which values, as a condition on ``latest_metrics m``.
        scope: Which runs, as a condition on ``runs r``.
        wanted: How many of them; there may be fewer.
        descending: Whether the greatest values come first.
        aside: Takes what the condition sets aside.
    """
    hint = "NOT INDEXED" if _is_ranked_by_sweep(database) else ""
    asked = database.rows
    if aside is not None and isinstance(database, SweptDatabase):
        asked = partial(database.sweep, aside)
    for size in (step + 2 * wanted for step in _TOP_STEPS):
        rows = asked(
            f"SELECT m.run_uuid, m.value FROM latest_metrics m {hint} "
            f"WHERE {of.text} ORDER BY m.value {'DESC' if descending else 'ASC'} LIMIT ?",
            (*of.values, size),
        )
        ranked = _qualified(database, rows, scope, descending)[:wanted]
        exhausted = len(rows) < size
        if exhausted or (len(ranked) == wanted and ranked[-1][1] != rows[-1][1]):
            return ranked
    return None


def _qualified(database: Database, rows: list[Any], scope: Sql, descending: bool) -> list[tuple[str, float]]:
    """Those rows of (run id, value) whose runs are in scope, ranked."""
    dialect, values = database.dialect, dict(rows)
    starts: dict[str, float] = {}
    run_ids = list(values)
    for index in range(0, len(run_ids), _CHUNK):
        among = dialect.one_of("r.run_uuid", run_ids[index : index + _CHUNK])
        sql = f"SELECT r.run_uuid, {dialect.integer('r.start_time')} FROM runs r WHERE {among.text} AND {scope.text}"
        for run_id, start in database.rows(sql, among.values + scope.values):
            starts[run_id] = math.inf if start is None else -start
    sign = -1 if descending else 1
    ordered = sorted(starts, key=lambda run_id: (sign * values[run_id], starts[run_id], run_id))
    return [(run_id, values[run_id]) for run_id in ordered]


def _ranked_by_join(database: Database, query: BestQuery, scope: Sql) -> list[tuple[str, float]]:
    judged, scope = judged_values(database, query), narrowed(database, query, scope)
    direction = "DESC" if query.mode == "max" else "ASC"
    return database.rows(
        f"SELECT r.run_uuid, j.value FROM {judged.text} JOIN runs r ON r.run_uuid = j.run_uuid "
        f"WHERE j.value IS NOT NULL AND {scope.text} "
        f"ORDER BY j.value {direction}, {database.dialect.natural_order} LIMIT ?",
        (*judged.values, *scope.values, query.top + 1),
    )


def narrowed(database: Database, query: BestQuery, scope: Sql) -> Sql:
    """The scope, which says before all else where few runs pass the filter."""
    few = None
    if query.scope.filter is not None and database.dialect.has_rowid:
        few = runs_by_sweep(database, query.scope.filter)
    if few is None:
        return scope
    return all_of([Sql(f"r.run_uuid IN (SELECT s.run_uuid FROM {few.runs.text})", few.runs.values), scope])


def _is_ranked_by_sweep(database: Database) -> TypeGuard[SweptDatabase]:
    """Whether the greatest values are found by a sweep over the metric table; its user may have made an index."""
    if not database.dialect.has_rowid or not scan_hint(database):
        return False
    return not database.rows("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", (VALUES_INDEX,))


def scan_hint(database: Database) -> str:
    """Reading the metric table in one sweep beats the index unless runs have very many metrics."""
    return "NOT INDEXED" if is_swept(database, "latest_metrics") else ""


def judged_values(database: Database, query: BestQuery) -> Sql:
    """The values that runs are judged by, as a table ``j (run_uuid, value, infinite)``.

    ``value`` is NULL where a run has the metric, but no finite value of it; ``infinite`` is 0 or 1.
    """
    infinite = f"CASE WHEN m.is_nan OR (m.value > {-LARGEST!r} AND m.value < {LARGEST!r}) THEN 0 ELSE 1 END"
    named = database.dialect.equal("m.key", query.metric)
    finite = f"CASE WHEN {FINITE} THEN m.value END"
    if query.aggregate == "last":
        table = f"SELECT m.run_uuid, {finite} AS value, {infinite} AS infinite FROM latest_metrics m WHERE {named.text}"
    elif query.aggregate == "first":
        table = (
            f"SELECT m.run_uuid, {finite} AS value, {infinite} AS infinite, row_number() OVER (PARTITION BY m.run_uuid "
            f"ORDER BY {finite} IS NULL, {infinite} DESC, m.step, m.timestamp, m.value) AS place "
            f"FROM metrics m WHERE {named.text}"
        )
        table = f"SELECT run_uuid, value, infinite FROM ({table}) placed WHERE place = 1"
    else:
        function = {"mean": "exact_mean", "min": "min", "max": "max"}[query.aggregate]
        table = (
            f"SELECT m.run_uuid, {function}({finite}) AS value, max({infinite}) AS infinite "
            f"FROM metrics m WHERE {named.text} GROUP BY m.run_uuid"
        )
    return Sql(f"({table}) j", named.values)
