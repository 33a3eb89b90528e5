"""What PostgreSQL and MySQL say in their own ways, so that text is compared and sorted by its code points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.query.evaluation import ascii_lower
from agentnn.stores.sql.dialect import FALSE, Dialect, Sql

if TYPE_CHECKING:
    from collections.abc import Sequence


class ServerDialect(Dialect):
    """What both have in common: columns hold what they were declared to hold.

    Attributes:
        has_ilike: Whether it can ignore the case of ASCII letters, and of no others.
        is_exact: Whether texts are equal only to themselves.
    """

    has_rowid = False
    has_ilike = False
    is_exact = False

    def integer(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return column

    def text(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return column

    def unindexed(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`; they know better."""
        return column


class PostgresDialect(ServerDialect):
    """PostgreSQL's; equality goes by bytes there already."""

    has_ilike = True
    is_exact = True
    natural_order = 'r.start_time DESC NULLS LAST, r.run_uuid COLLATE "C"'

    def exact(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return f'{column} COLLATE "C"'

    def descending(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return f"{column} DESC NULLS LAST"

    def compared(self, column: str, operator: str, value: str) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        if operator in ("=", "!="):
            return super().compared(column, operator, value)
        return Sql(f"({self.exact(column)} {operator} ?)", (value,))

    def like(self, column: str, operator: str, pattern: str) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        if operator.endswith("ILIKE"):
            column, operator = f"lower({self.exact(column)})", operator.replace("ILIKE", "LIKE")
            pattern = ascii_lower(pattern)
        return Sql(f"{column} {operator} ? ESCAPE ''", (pattern,))

    def one_of(self, column: str, values: Sequence[Any]) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`; as one value, of which there may be no more than 65,535."""
        return Sql(f"{column} = ANY(?)", (list(values),)) if values else FALSE


class MySqlDialect(ServerDialect):
    """MySQL's and MariaDB's, whose collations mostly take ``a`` for ``A`` and for ``á``, and ``a`` for ``a `` too."""

    def exact(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`: the bytes of UTF-8 sort as code points do."""
        return f"CAST(CONVERT({column} USING utf8mb4) AS BINARY)"

    def as_text(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return f"CAST({column} AS CHAR)"

    def filled(self, column: str) -> str:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`; to a collation, blanks are no text either."""
        return f"CASE WHEN length({column}) > 0 THEN {column} END"

    def equal(self, column: str, value: str) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`; the first condition finds the index."""
        return Sql(f"({column} = ? AND {self.exact(column)} = ?)", (value, value))

    def compared(self, column: str, operator: str, value: str) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return super().compared(self.exact(column), operator, value)

    def like(self, column: str, operator: str, pattern: str) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`; LIKE goes character by character, also over blanks."""
        return Sql(f"CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin {operator} ? ESCAPE ''", (pattern,))

    def among(self, column: str, texts: Sequence[str]) -> Sql:
        """See :class:`~agentnn.stores.sql.dialect.Dialect`."""
        return self.one_of(self.exact(column), texts)
