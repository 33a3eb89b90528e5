"""Counting the runs that could be best by those that could not, where these are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.query.selection import Excluded
from agentnn.stores.sql.best import FINITE, scan_hint

if TYPE_CHECKING:
    from agentnn.query.selection import BestQuery
    from agentnn.stores.sql.dialect import Database, Sql

_FEW = 3
"""The others are few where they are no more than one in so many."""


def tally_by_difference(database: Database, query: BestQuery, inside: Sql) -> tuple[int, Excluded] | None:
    """How many runs could be best, and how many could not, and why; ``None`` where it is no shorter way.

    To look up the metric of every run takes SQLite long. So all values of the metric are counted by its index, the
    values that are not finite by one sweep over the table, and only the runs that have no part are looked up. Every
    value belongs to a run, as the table's foreign key says.

    Args:
        database: Where to look; a SQLite file.
        query: What is asked; of the last values.
        inside: Which runs are looked at, as a condition on ``runs r``.
    """
    finished = "1" if query.include_unfinished else "r.status IS 'FINISHED'"
    judged = f"CASE WHEN {inside.text} THEN {finished} END"
    [(every, looked_at, could_be)] = database.rows(
        f"SELECT count(*), count(j), total(j) FROM (SELECT {judged} AS j FROM runs r)", inside.values
    )
    others = every - int(could_be)
    if others * _FEW > every:
        return None
    named = database.dialect.equal("m.key", query.metric)
    [(valued,)] = database.rows(f"SELECT count(*) FROM latest_metrics m WHERE {named.text}", named.values)
    if not valued:
        return 0, Excluded(unfinished=looked_at - int(could_be), missing=int(could_be))
    [(valued_others,)] = database.rows(
        "SELECT count(*) FROM runs r CROSS JOIN latest_metrics m ON m.run_uuid = r.run_uuid "
        f"WHERE {named.text} AND ({judged}) IS NOT 1",
        (*named.values, *inside.values),
    )
    [(odd, nan)] = database.rows(
        f"SELECT count(*), total(m.is_nan <> 0) FROM latest_metrics m {scan_hint(database)} "
        f"CROSS JOIN runs r ON r.run_uuid = m.run_uuid WHERE {named.text} AND ({FINITE}) IS NOT 1 AND ({judged}) IS 1",
        (*named.values, *inside.values),
    )
    with_value = valued - valued_others
    return with_value - odd, Excluded(
        unfinished=looked_at - int(could_be),
        missing=int(could_be) - with_value,
        nan=int(nan),
        infinite=odd - int(nan),
    )
