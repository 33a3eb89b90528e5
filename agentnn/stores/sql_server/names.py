"""The names of metrics, params and tags that runs have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.sql.where import KEYED_TABLES

if TYPE_CHECKING:
    from agentnn.query.runs import FieldKind
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql_server.database import ServerDatabase


def keys_in_scope(database: ServerDatabase, kind: FieldKind, scope: Sql) -> list[str]:
    """The names that runs in scope have, sorted.

    Collations may take two names for one, so names are jumped to by the index as the collation sees them, and told
    apart among the rows of each.

    Args:
        database: Where to look.
        kind: Of what the names are.
        scope: A condition on ``runs r``.
    """
    table = KEYED_TABLES[kind]
    alike = database.rows(
        f"WITH RECURSIVE k(name) AS (SELECT min(t.key) FROM {table} t UNION ALL "
        f"SELECT (SELECT min(t.key) FROM {table} t WHERE t.key > k.name) FROM k WHERE k.name IS NOT NULL) "
        "SELECT name FROM k WHERE name IS NOT NULL"
    )
    told_apart = [key for (name,) in alike for key in _told_apart(database, table, name)]
    inside = f"SELECT 1 FROM {table} x JOIN runs r ON r.run_uuid = x.run_uuid WHERE"
    found = []
    for key in told_apart:
        named = database.dialect.equal("x.key", key)
        if database.rows(f"{inside} {named.text} AND {scope.text} LIMIT 1", (*named.values, *scope.values)):
            found.append(key)
    return sorted(found)


def _told_apart(database: ServerDatabase, table: str, name: str) -> list[str]:
    """The names that are one to a collation."""
    if database.dialect.is_exact:
        return [name]
    exact = database.dialect.exact("x.key")
    rows = database.rows(f"SELECT DISTINCT {exact} FROM {table} x WHERE x.key = ?", (name,))
    return [key.decode() for (key,) in rows]
