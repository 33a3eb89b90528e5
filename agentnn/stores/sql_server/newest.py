"""The newest runs, and the newest that a filter lets through, which are looked for among the newest first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.stores.sql.mlflow_tables import RUN_TABLES

if TYPE_CHECKING:
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql_server.database import ServerDatabase

_WINDOW = 32
"""So many times as many runs as are wanted are looked at; joining all runs to what they are filtered by costs more."""

_COLUMNS = ", ".join(f"r.{column}" for column in sorted(RUN_TABLES["runs"]))
"""What a condition may ask of a run; a server reckons with the longest text that each of the others could hold."""


def newest_ids(database: ServerDatabase, scope: Sql, limit: int) -> list[str] | None:
    """The ids of the newest runs in scope, sorted by their start alone, since servers are slow at sorting text.

    ``None`` when runs that began together stand on both sides of the edge: then their ids say which is newer.
    """
    rows = database.rows(
        f"SELECT r.run_uuid, r.start_time FROM runs r WHERE {scope.text} "
        f"ORDER BY {database.dialect.descending('r.start_time')} LIMIT ?",
        (*scope.values, limit + 1),
    )
    if len(rows) > limit and rows[limit - 1][1] == rows[limit][1]:
        return None
    rows.sort(key=lambda row: (math.inf if row[1] is None else -row[1], row[0]))
    return [row[0] for row in rows[:limit]]


def newest_filtered_ids(database: ServerDatabase, scope: Sql, condition: Sql, limit: int) -> list[str] | None:
    """The ids of the newest runs that fulfil a condition; ``None`` when too few of the newest in scope do.

    Args:
        database: Where to look.
        scope: Which runs there are, as a condition on ``runs r``.
        condition: Which of them are wanted, likewise.
        limit: How many.
    """
    order = database.dialect.natural_order
    rows = database.rows(
        f"SELECT r.run_uuid FROM (SELECT {_COLUMNS} FROM runs r WHERE {scope.text} ORDER BY {order} LIMIT ?) r "
        f"WHERE {condition.text} ORDER BY {order} LIMIT ?",
        (*scope.values, _WINDOW * limit, *condition.values, limit),
    )
    return [row[0] for row in rows] if len(rows) == limit else None
