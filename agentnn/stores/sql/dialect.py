"""What databases say differently: SQLite's way, from which the database servers depart.

The SQL of the readers is one text for all of them. What stands here is left open in it, so that the answers are the
same: text is equal and sorted by its code points, whatever a database's collation says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager


class Sql(NamedTuple):
    """A piece of SQL and the values of its placeholders."""

    text: str
    values: tuple[Any, ...] = ()


TRUE, FALSE = Sql("1 = 1"), Sql("1 = 0")


class Dialect:
    """SQLite's.

    Attributes:
        has_rowid: Whether rows have a ``rowid``, which grows as they are written.
        natural_order: MLflow's own order of runs: the later start first, then the smaller run id.
    """

    has_rowid = True
    natural_order = "r.start_time DESC, r.run_uuid"

    def integer(self, column: str) -> str:
        """A column that holds whole numbers; anything else in it is damage, where columns may hold anything."""
        return f"CASE WHEN typeof({column}) IN ('integer', 'null') THEN {column} ELSE damaged({column}) END"

    def text(self, column: str) -> str:
        """A column that holds text; anything else in it is damage, where columns may hold anything."""
        return f"CASE WHEN typeof({column}) IN ('text', 'null') THEN {column} ELSE damaged({column}) END"

    def filled(self, column: str) -> str:
        """A column of text, NULL where the text is empty."""
        return f"nullif({self.text(column)}, '')"

    def as_text(self, column: str) -> str:
        """A number as text."""
        return f"CAST({column} AS TEXT)"

    def exact(self, column: str) -> str:
        """Text that is compared and sorted by its code points."""
        return column

    def unindexed(self, column: str) -> str:
        """A column by whose index the rows are not to be looked up."""
        return f"+{column}"

    def descending(self, column: str) -> str:
        """A sort key, the greatest first and NULL at the end."""
        return f"{column} DESC"

    def equal(self, column: str, value: str) -> Sql:
        """A column of text that has an index, and is equal to a text."""
        return Sql(f"{column} = ?", (value,))

    def compared(self, column: str, operator: str, value: str) -> Sql:
        """Text compared with a text."""
        return Sql(f"({column} {operator} ?)", (value,))

    def like(self, column: str, operator: str, pattern: str) -> Sql:
        """``LIKE``, ``ILIKE`` and their negations; ILIKE ignores the case of ASCII letters."""
        if operator.endswith("ILIKE"):
            return Sql(f"lower({column}) {operator.replace('ILIKE', 'LIKE')} lower(?)", (pattern,))
        return Sql(f"{column} {operator} ?", (pattern,))

    def one_of(self, column: str, values: Sequence[Any]) -> Sql:
        """A column that has an index, and is equal to one of some values, of which case tells none apart."""
        return Sql(f"{column} IN ({','.join('?' * len(values))})", tuple(values)) if values else FALSE

    def among(self, column: str, texts: Sequence[str]) -> Sql:
        """Text that is one of some texts."""
        return self.one_of(column, texts)


SQLITE = Dialect()


class Database(Protocol):
    """A database with MLflow's tables, open for reading; threads and forked processes may share it."""

    @property
    def dialect(self) -> Dialect:
        """What it says in its own way."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query at once; ``?`` stands for a value."""

    def each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any] = ()) -> None:
        """Hand all rows of a query over, some at a time, so that memory does not grow with their number.

        The database may be locked until the call returns: ``take`` asks it nothing, and is quick.
        """

    def columns(self, table: str) -> set[str]:
        """The columns of a table; empty when there is no such table."""

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is a table, which older schemas do without.

        Raises:
            SchemaMismatch: It is there, but lacks one of these columns.
        """

    def close(self) -> None:
        """Close the connection."""


class Tree(NamedTuple):
    """What a file keeps sorted: the rows of a table, or the entries of an index.

    Attributes:
        name: The table or the index.
        key: Of an index, only the entries whose first column is this text; empty for all.
    """

    name: str
    key: str = ""


@runtime_checkable
class SweptDatabase(Database, Protocol):
    """A database in a file, of which whole tables are read from beginning to end."""

    def sweep(self, aside: Callable[[Any, Any], object], sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query; ``aside(a, b)`` in its text is false, and hands the two over on the way."""

    def reading_ahead(self, trees: Sequence[Tree]) -> AbstractContextManager[None]:
        """Until the block ends, have read what is soon asked for, in this order; it makes nothing but haste."""
