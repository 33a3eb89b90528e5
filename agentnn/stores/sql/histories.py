"""The histories of many runs out of an MLflow database, in few queries."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from agentnn.records import Metric
from agentnn.stores.base import History
from agentnn.stores.sql.dialect import TRUE, Sql
from agentnn.stores.sql.where import all_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from agentnn.records import Run
    from agentnn.stores.sql.dialect import Database

_MOST_ROWS = 50_000
"""Values that one query is to give; a run that has more is asked for metric by metric."""

_MOST_KEYS = 500
_MOST_RUNS = 1000


def metric_histories(
    database: Database,
    runs: Sequence[Run],
    keys: Collection[str] | None,
    scope: Sql,
    value_of: Callable[[object, int], float],
) -> Iterator[History]:
    """See :class:`~agentnn.stores.base.TrackingStore`.

    Args:
        database: The database.
        runs: The runs.
        keys: The metrics; all of them where it is ``None``.
        scope: A condition on ``runs r`` that the runs must fulfil.
        value_of: A value as it was logged, out of the columns ``value`` and ``is_nan``.
    """
    for start in range(0, len(runs), _MOST_RUNS):
        chunk = runs[start : start + _MOST_RUNS]
        counts = _counts(database, chunk, scope)
        for group in _groups([one for one in chunk if one.run_id in counts], counts):
            is_large = counts[group[0].run_id] > _MOST_ROWS
            for asked in _asked_together(group, keys, is_large):
                yield from _histories(database, group, asked, value_of)


def _counts(database: Database, runs: Sequence[Run], scope: Sql) -> dict[str, int]:
    """How many values each run has, of those that may be read."""
    among = database.dialect.one_of("m.run_uuid", [run.run_id for run in runs])
    return dict(
        database.rows(
            "SELECT m.run_uuid, count(*) FROM metrics m JOIN runs r ON r.run_uuid = m.run_uuid "
            f"WHERE {among.text} AND {scope.text} GROUP BY m.run_uuid",
            (*among.values, *scope.values),
        )
    )


def _groups(runs: Sequence[Run], counts: Mapping[str, int]) -> Iterator[list[Run]]:
    """Runs that are asked for together; one with too many values is alone."""
    group: list[Run] = []
    rows = 0
    for run in runs:
        if group and rows + counts[run.run_id] > _MOST_ROWS:
            yield group
            group, rows = [], 0
        group.append(run)
        rows += counts[run.run_id]
    if group:
        yield group


def _asked_together(
    runs: Sequence[Run], keys: Collection[str] | None, is_large: bool
) -> Iterator[Collection[str] | None]:
    """The metrics of each query; ``None`` for all of them."""
    if is_large:
        yield from ([key] for key in sorted(runs[0].metrics if keys is None else keys))
    elif keys is not None:
        ordered = sorted(keys)
        yield from (ordered[start : start + _MOST_KEYS] for start in range(0, len(ordered), _MOST_KEYS))
    else:
        yield None


def _histories(
    database: Database,
    runs: Sequence[Run],
    keys: Collection[str] | None,
    value_of: Callable[[object, int], float],
) -> Iterator[History]:
    # Without its index, which keeps SQLite from walking through all values of a metric, of whatever run.
    dialect = database.dialect
    wanted = TRUE if keys is None else dialect.among(dialect.unindexed("m.key"), list(keys))
    condition = all_of([dialect.one_of("m.run_uuid", [run.run_id for run in runs]), wanted])
    rows = database.rows(
        f"SELECT m.run_uuid, m.key, m.value, m.is_nan, {dialect.integer('m.step')}, {dialect.integer('m.timestamp')} "
        f"FROM metrics m WHERE {condition.text} "
        f"ORDER BY m.run_uuid, {dialect.exact('m.key')}, m.step, m.timestamp, m.value",
        condition.values,
    )
    found: dict[str, list[Any]] = {}
    for (run_id, key), group in groupby(rows, key=itemgetter(0, 1)):
        found.setdefault(run_id, []).append((key, list(group)))
    for run in runs:
        for key, group in found.get(run.run_id, ()):
            points = [Metric(key, value_of(row[2], row[3]), row[4], row[5]) for row in group]
            yield History(run.run_id, key, points)
