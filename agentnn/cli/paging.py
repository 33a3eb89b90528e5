"""Runs on their way to the screen, and what is to be said of them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentnn.records import Run


class Seen:
    """Passes runs on, and remembers what went by.

    Args:
        runs: The runs, one more than the limit where there are so many.
        limit: Pass on so many; 0 for all.
        columns: What ``--columns`` named.

    Attributes:
        count: How many were passed on.
        more: Whether there were more than the limit.
        empty: Those columns ``metrics.…``, ``params.…`` and ``tags.…`` that no run had a value for.
    """

    def __init__(self, runs: Iterable[Run], limit: int, columns: str | None) -> None:
        self._runs = runs
        self._limit = limit
        self.count = 0
        self.more = False
        chosen = (one.strip().partition(".") for one in (columns or "").split(","))
        self.empty = [(kind, key) for kind, dot, key in chosen if dot and kind in ("metrics", "params", "tags")]

    def __iter__(self) -> Iterator[Run]:
        for run in self._runs:
            if self._limit and self.count == self._limit:
                self.more = True
                return
            self.count += 1
            if self.empty:
                self.empty = [(kind, key) for kind, key in self.empty if key not in getattr(run, kind)]
            yield run
