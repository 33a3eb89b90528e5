"""The best runs by the mean of a metric, without reading every value of it.

A server adds up with rounding, and :func:`~agentnn.query.selection.exact_mean` does not. So the server's sums choose
the runs that can be among the best, given how far they may be off, and only the values of these are read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.query.selection import exact_mean
from agentnn.stores.sql.best import FINITE, eligible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.selection import BestQuery
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql_server.database import ServerDatabase

_CHUNK = 500
_SCALE = 2.0**-30
"""So that no sum overflows."""

_TINY = 1e-280
"""Values below it are added up as nothing: a server takes it ill when scaling leaves nothing of a number."""

_ROUNDING = 2.0**-52


def best_by_mean(database: ServerDatabase, query: BestQuery, scope: Sql) -> list[tuple[str, float]]:
    """The ids and means of the ``query.top`` + 1 best runs, the best first.

    Args:
        database: Where to look.
        query: What is asked.
        scope: The query's scope as a condition on ``runs r``.
    """
    inside, named = eligible(query, scope), database.dialect.equal("m.key", query.metric)
    scaled = f"CASE WHEN abs(m.value) < {_TINY!r} THEN 0 ELSE m.value * {_SCALE!r} END"
    rows = database.rows(
        f"SELECT r.run_uuid, r.start_time, j.total, j.size, j.many FROM (SELECT m.run_uuid, sum({scaled}) AS total, "
        f"sum(abs({scaled})) AS size, count(*) AS many FROM metrics m WHERE {named.text} AND {FINITE} "
        f"GROUP BY m.run_uuid) j JOIN runs r ON r.run_uuid = j.run_uuid WHERE {inside.text}",
        (*named.values, *inside.values),
    )
    sign, wanted = -1.0 if query.mode == "max" else 1.0, query.top + 1
    near = [(sign * float(total) / many, _off(float(size), many), run_id) for run_id, _, total, size, many in rows]
    edge = sorted(value + off for value, off, _ in near)[:wanted][-1] if near else math.inf
    chosen = [run_id for value, off, run_id in near if value - off <= edge]
    means = _means(database, query.metric, chosen)
    starts = {run_id: math.inf if start is None else -start for run_id, start, *_ in rows}
    ordered = sorted(means, key=lambda run_id: (sign * means[run_id], starts[run_id], run_id))
    return [(run_id, means[run_id]) for run_id in ordered[:wanted]]


def _off(size: float, many: int) -> float:
    """How far a mean may be off at most that a server adds up, in whatever order."""
    return 4 * _ROUNDING * (many + 1) * size / many + _TINY


def _means(database: ServerDatabase, metric: str, run_ids: Sequence[str]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    named = database.dialect.equal("m.key", metric)
    for start in range(0, len(run_ids), _CHUNK):
        among = database.dialect.one_of("m.run_uuid", run_ids[start : start + _CHUNK])
        for run_id, value in database.rows(
            f"SELECT m.run_uuid, m.value FROM metrics m WHERE {among.text} AND {named.text} AND {FINITE}",
            (*among.values, *named.values),
        ):
            values.setdefault(run_id, []).append(value)
    return {run_id: exact_mean(found) for run_id, found in values.items()}
