"""The best run of an MLflow database, chosen inside the database.

What best means is said in :mod:`agentnn.query.selection`; the contract tests hold the two together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.query.selection import Excluded
from agentnn.records import PARENT_TAG
from agentnn.stores.sql_dialect import FALSE, Sql
from agentnn.stores.sql_where import LARGEST, all_of

if TYPE_CHECKING:
    from agentnn.query.selection import BestQuery
    from agentnn.stores.sql_dialect import Database

FINITE = f"NOT m.is_nan AND m.value > {-LARGEST!r} AND m.value < {LARGEST!r}"
"""A condition on a row of metrics: its value is neither NaN nor an infinity."""

_TOP_STEPS = (64, 1024)
_CHUNK = 500
_SCAN_BELOW_KEYS_PER_RUN = 8


def best_candidates(database: Database, query: BestQuery, scope: Sql) -> list[tuple[str, float]]:
    """The ids and values of the ``query.top`` + 1 best runs, the best first.

    Args:
        database: Where to look.
        query: What is asked.
        scope: The query's scope as a condition on ``runs r``.
    """
    inside = eligible(query, scope)
    ranked = _top_of_metric_table(database, query, inside) if query.aggregate == "last" else None
    return _ranked_by_join(database, query, inside) if ranked is None else ranked


def tally(database: Database, query: BestQuery, scope: Sql) -> tuple[int, Excluded]:
    """How many runs in scope could be best, and how many could not, and why."""
    # Runs have a mean where they have a maximum, which costs less.
    judged = judged_values(database, query._replace(aggregate="max") if query.aggregate == "mean" else query)
    inside = taking_part(query, scope)
    unfinished = FALSE.text if query.include_unfinished else "(r.status IS NULL OR r.status <> 'FINISHED')"
    rows = database.rows(
        f"SELECT reason, count(*) FROM (SELECT CASE WHEN {unfinished} THEN 'unfinished' "
        "WHEN j.run_uuid IS NULL THEN 'missing' WHEN j.value IS NOT NULL THEN 'considered' "
        "WHEN j.infinite = 1 THEN 'infinite' ELSE 'nan' END AS reason "
        f"FROM runs r LEFT JOIN {judged.text} ON j.run_uuid = r.run_uuid WHERE {inside.text}) counted GROUP BY reason",
        (*judged.values, *inside.values),
    )
    counts = dict(rows)
    return counts.pop("considered", 0), Excluded(**counts)


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


def _top_of_metric_table(database: Database, query: BestQuery, scope: Sql) -> list[tuple[str, float]] | None:
    """The best by a scan of the metric table alone, then a look at those few runs.

    It is exact when enough of the first K rows qualify and no tie reaches over the edge; then the answer stands,
    else K grows, and ``None`` says that only the join can tell.
    """
    direction = "DESC" if query.mode == "max" else "ASC"
    wanted, hint = query.top + 1, _scan_hint(database) if database.dialect.has_rowid else ""
    named = database.dialect.equal("m.key", query.metric)
    for size in _TOP_STEPS:
        rows = database.rows(
            f"SELECT m.run_uuid, m.value FROM latest_metrics m {hint} "
            f"WHERE {named.text} AND {FINITE} ORDER BY m.value {direction} LIMIT ?",
            (*named.values, size),
        )
        ranked = _qualified(database, rows, scope, query.mode == "max")[:wanted]
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
    judged = judged_values(database, query)
    direction = "DESC" if query.mode == "max" else "ASC"
    return database.rows(
        f"SELECT r.run_uuid, j.value FROM {judged.text} JOIN runs r ON r.run_uuid = j.run_uuid "
        f"WHERE j.value IS NOT NULL AND {scope.text} "
        f"ORDER BY j.value {direction}, {database.dialect.natural_order} LIMIT ?",
        (*judged.values, *scope.values, query.top + 1),
    )


def _scan_hint(database: Database) -> str:
    """Reading the metric table in one sweep beats the index unless runs have very many metrics."""
    [(metrics, runs)] = database.rows("SELECT (SELECT max(rowid) FROM latest_metrics), (SELECT max(rowid) FROM runs)")
    return "NOT INDEXED" if (metrics or 0) <= _SCAN_BELOW_KEYS_PER_RUN * (runs or 0) else ""


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
