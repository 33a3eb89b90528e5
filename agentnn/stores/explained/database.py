"""Statements: their text, their rows, their time, and of slow ones SQLite's plan."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from agentnn.errors import AgentNNError
from agentnn.stores.explained.between import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from agentnn.query.explanation import Taking
    from agentnn.stores.sql.dialect import Dialect, Tree

_SLOW_S = 0.01
"""A statement that took so long is worth a look at how it was done."""


class SeenDatabase(Seen):
    """A database; see :class:`~agentnn.stores.sql.dialect.Database`."""

    @property
    def dialect(self) -> Dialect:
        """What it says in its own way."""
        return self.inner.dialect  # type: ignore[no-any-return]

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query at once."""
        with self._statement(sql, values) as taking:
            found: list[Any] = self.inner.rows(sql, values)
            taking.read["rows"] = len(found)
        return found

    def each(self, take: Callable[[list[Any]], object], sql: str, values: Sequence[Any] = ()) -> None:
        """All rows of a query, some at a time."""
        with self._statement(sql, values) as taking:
            taking.read["rows"] = 0

            def seen(rows: list[Any]) -> None:
                taking.read["rows"] += len(rows)
                take(rows)

            self.inner.each(seen, sql, values)

    def sweep(self, aside: Callable[[Any, Any], object], sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query, which hands others over on its way."""
        with self._statement(sql, values) as taking:
            found: list[Any] = self.inner.sweep(aside, sql, values)
            taking.read["rows"] = len(found)
        return found

    def reading_ahead(self, trees: Sequence[Tree]) -> AbstractContextManager[None]:
        """What is read ahead is shown where it is asked for."""
        return cast("AbstractContextManager[None]", self.inner.reading_ahead(trees))

    def columns(self, table: str) -> set[str]:
        """The columns of a table."""
        with self._explanation.step("look at the schema"):
            return set(self.inner.columns(table))

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is a table, with these columns."""
        with self._explanation.step("look at the schema"):
            return bool(self.inner.has(table, *columns))

    @contextmanager
    def snapshot(self) -> Iterator[SeenDatabase]:
        """The same database as it is now."""
        with self.inner.snapshot() as view:
            yield SeenDatabase(view, self._explanation)

    def close(self) -> None:
        """Close the connection."""
        self.inner.close()

    @contextmanager
    def _statement(self, sql: str, values: Sequence[Any]) -> Iterator[Taking]:
        began = time.perf_counter()
        with self._explanation.step(sql) as taking:
            yield taking
            if self.dialect.has_rowid and time.perf_counter() - began >= _SLOW_S:
                taking.details += self._plan(sql, values)

    def _plan(self, sql: str, values: Sequence[Any]) -> list[str]:
        """How SQLite goes about a statement, which is asked without running it."""
        with suppress(AgentNNError):
            steps = [row[3] for row in self.inner.rows(f"EXPLAIN QUERY PLAN {sql}", values)]
            return [f"plan: {'; '.join(steps)}"] if steps else []
        return []
