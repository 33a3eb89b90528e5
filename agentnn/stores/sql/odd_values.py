"""Values of a metric that are not finite, set aside by the sweep that looks for the best of those that are.

To count them would take a sweep of its own over the largest table. So SQLite calls a function for each of them on its
way, and there are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.sql.dialect import Sql

if TYPE_CHECKING:
    from agentnn.stores.sql.dialect import Database

_MOST = 100_000
"""More of them are not few, and would take much memory: they are counted by a sweep of their own."""

_CHUNK = 1000


class OddValues:
    """Runs whose last value of a metric is not finite.

    Attributes:
        complete: Whether these are all: a whole sweep has come by.
    """

    def __init__(self) -> None:
        self._is_nan: dict[str, bool] = {}
        self.complete = False

    def begin(self, finite: str, named: Sql) -> Sql:
        """A condition on ``latest_metrics m`` that finite values of a metric fulfil, and that sets aside the others.

        It is for whole sweeps, which may come by more than once. Only CASE says in which order SQLite looks, so that
        nothing of another metric is set aside.

        Args:
            finite: Which values are finite, as a condition.
            named: Which metric is meant, as a condition.
        """
        self.complete = True
        judged = f"CASE WHEN {finite} THEN 1 ELSE aside(m.run_uuid, m.is_nan) END"
        return Sql(f"CASE WHEN {named.text} THEN {judged} END", named.values)

    def add(self, run_id: str, is_nan: object) -> None:
        """Take one."""
        if self.complete:
            self._is_nan[run_id] = bool(is_nan)
            self.complete = len(self._is_nan) <= _MOST

    def counted(self, database: Database, inside: Sql) -> tuple[int, int]:
        """How many runs of some have NaN, and how many an infinity.

        Args:
            database: Where to look the runs up.
            inside: Which runs count, as a condition on ``runs r``.
        """
        run_ids, found = list(self._is_nan), {True: 0, False: 0}
        for start in range(0, len(run_ids), _CHUNK):
            among = database.dialect.one_of("r.run_uuid", run_ids[start : start + _CHUNK])
            sql = f"SELECT r.run_uuid FROM runs r WHERE {among.text} AND {inside.text}"
            for (run_id,) in database.rows(sql, among.values + inside.values):
                found[self._is_nan[run_id]] += 1
        return found[True], found[False]
