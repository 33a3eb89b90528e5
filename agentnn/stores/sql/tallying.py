"""Counting the runs that could be best, and those that could not, and why."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agentnn.query.selection import Excluded
from agentnn.stores.sql.best import FINITE, judged_values, narrowed, scan_hint, taking_part
from agentnn.stores.sql.dialect import FALSE, Sql
from agentnn.stores.sql.meanwhile import meanwhile
from agentnn.stores.sql.sweep import share_of_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentnn.query.selection import BestQuery
    from agentnn.stores.sql.dialect import Database
    from agentnn.stores.sql.odd_values import OddValues

    Tallied = tuple[int, Excluded]

_FEW = 1 / 3
"""The runs that have no part are few where they are no greater a share."""


@contextmanager
def tallying(database: Database, query: BestQuery, scope: Sql) -> Iterator[Callable[[OddValues], Tallied]]:
    """Count while the best runs are looked for: how many runs in scope could be best, and how many could not, and why.

    To look up the metric of every run takes SQLite long. So where few runs have no part only these are looked up, all
    values of the metric are counted by its index, and those that are not finite have been set aside by the sweep for
    the best. Every value belongs to a run, as the table's foreign key says.

    Args:
        database: Where to look.
        query: What is asked.
        scope: The query's scope as a condition on ``runs r``.
    """
    if query.aggregate == "last" and query.scope.filter is None and database.dialect.has_rowid:
        judging = _Judging.of(database, query, scope)
        if share_of_runs(database, judging.others) <= _FEW:
            with meanwhile(database, judging.counted) as counts:
                yield lambda odd: _by_difference(database, judging, counts(), odd)
            return
    yield lambda _: _by_join(database, query, scope)


class _Counts(NamedTuple):
    """What SQLite counts.

    Attributes:
        every: All runs.
        valued: Those that have the metric.
        others: Those that could not be best even if they had it.
        unfinished: Of the others, those that are looked at.
        valued_others: Of the others, those that have the metric.
    """

    every: int
    valued: int
    others: int
    unfinished: int
    valued_others: int


class _Judging(NamedTuple):
    """How runs are told apart, by conditions.

    Attributes:
        named: On ``latest_metrics m``: that it is the metric.
        judged: On ``runs r``: 1 of a run that could be best, 0 of one that is looked at and could not, else NULL.
    """

    named: Sql
    judged: Sql

    @classmethod
    def of(cls, database: Database, query: BestQuery, scope: Sql) -> _Judging:
        inside = taking_part(query, scope)
        finished = "1" if query.include_unfinished else "r.status IS 'FINISHED'"
        judged = Sql(f"CASE WHEN {inside.text} THEN {finished} END", inside.values)
        return cls(database.dialect.equal("m.key", query.metric), judged)

    @property
    def others(self) -> Sql:
        return Sql(f"({self.judged.text}) IS NOT 1", self.judged.values)

    @property
    def could_be(self) -> Sql:
        return Sql(f"({self.judged.text}) IS 1", self.judged.values)

    def counted(self, database: Database) -> _Counts:
        named, judged, others = self.named, self.judged, self.others
        [counts] = database.rows(
            f"SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM latest_metrics m WHERE {named.text}), "
            f"count(*), count({judged.text}), count(m.key) "
            f"FROM runs r LEFT JOIN latest_metrics m ON {named.text} AND m.run_uuid = r.run_uuid WHERE {others.text}",
            (*named.values, *judged.values, *named.values, *others.values),
        )
        return _Counts(*counts)


def _by_difference(database: Database, judging: _Judging, counts: _Counts, odd: OddValues) -> Tallied:
    count_odd = odd.counted if odd.complete else partial(_swept, named=judging.named)
    nan, infinite = count_odd(database, judging.could_be)
    with_value = counts.valued - counts.valued_others
    missing = counts.every - counts.others - with_value
    return with_value - nan - infinite, Excluded(counts.unfinished, missing, nan, infinite)


def _swept(database: Database, could_be: Sql, named: Sql) -> tuple[int, int]:
    """How many of the runs that could be best have NaN, and how many an infinity."""
    [(odd, nan)] = database.rows(
        "SELECT count(*), total(is_nan) FROM (SELECT m.is_nan <> 0 AS is_nan, "
        f"(SELECT {could_be.text} FROM runs r WHERE r.run_uuid = m.run_uuid) AS counts "
        f"FROM latest_metrics m {scan_hint(database)} WHERE {named.text} AND ({FINITE}) IS NOT 1) WHERE counts",
        (*could_be.values, *named.values),
    )
    return int(nan), odd - int(nan)


def _by_join(database: Database, query: BestQuery, scope: Sql) -> Tallied:
    # Runs have a mean where they have a maximum, which costs less.
    judged = judged_values(database, query._replace(aggregate="max") if query.aggregate == "mean" else query)
    inside = narrowed(database, query, taking_part(query, scope))
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
