"""Runs on their way to the screen, and what is to be said of them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentnn.records import Run

Item = TypeVar("Item")


class Seen:
    """Passes runs on, and remembers what went by.

    Args:
        find_runs: Gives the runs, one more than the limit where there are so many.
        find_ids: Gives their ids, for who wants no more.
        limit: Pass on so many; 0 for all.
        columns: What ``--columns`` named.

    Attributes:
        count: How many were passed on.
        more: Whether there were more than the limit.
        empty: Those columns ``metrics.…``, ``params.…`` and ``tags.…`` that no run had a value for.
    """

    def __init__(
        self,
        find_runs: Callable[[], Iterable[Run]],
        find_ids: Callable[[], Iterable[str]],
        limit: int,
        columns: str | None,
    ) -> None:
        self._find_runs = find_runs
        self._find_ids = find_ids
        self._limit = limit
        self.count = 0
        self.more = False
        chosen = (one.strip().partition(".") for one in (columns or "").split(","))
        self.empty = [(kind, key) for kind, dot, key in chosen if dot and kind in ("metrics", "params", "tags")]

    def __iter__(self) -> Iterator[Run]:
        for run in self._up_to_the_limit(self._find_runs()):
            if self.empty:
                self.empty = [(kind, key) for kind, key in self.empty if key not in getattr(run, kind)]
            yield run

    def run_ids(self) -> Iterator[str]:
        """The ids of the runs; they are looked at whole only where columns are to be seen in them."""
        if self.empty:
            return (run.run_id for run in self)
        return self._up_to_the_limit(self._find_ids())

    def _up_to_the_limit(self, found: Iterable[Item]) -> Iterator[Item]:
        for one in found:
            if self._limit and self.count == self._limit:
                self.more = True
                return
            self.count += 1
            yield one
