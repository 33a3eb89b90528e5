"""The newest runs that a filter lets through, looked for among the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql_server.database import ServerDatabase

_WINDOW = 32
"""So many times as many runs as are wanted are looked at; joining all runs to what they are filtered by costs more."""


def newest_ids(database: ServerDatabase, scope: Sql, condition: Sql, limit: int) -> list[str] | None:
    """The ids of the newest runs that fulfil a condition; ``None`` when too few of the newest in scope do.

    Args:
        database: Where to look.
        scope: Which runs there are, as a condition on ``runs r``.
        condition: Which of them are wanted, likewise.
        limit: How many.
    """
    order = database.dialect.natural_order
    rows = database.rows(
        f"SELECT r.run_uuid FROM (SELECT r.* FROM runs r WHERE {scope.text} ORDER BY {order} LIMIT ?) r "
        f"WHERE {condition.text} ORDER BY {order} LIMIT ?",
        (*scope.values, _WINDOW * limit, *condition.values, limit),
    )
    return [row[0] for row in rows] if len(rows) == limit else None
