"""The cache of histories: how many of those that are wanted it knew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.stores.explained.between import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.stores.history_traces import Summary, Trace


class SeenCache(Seen):
    """See :class:`~agentnn.stores.history_cache.HistoryCache`."""

    def find(self, metric: str, traces: Mapping[str, Trace]) -> dict[str, Summary]:
        """What is known of the histories of runs."""
        with self._explanation.step(
            "look into the cache of histories", f"for {len(traces)} that may be in it"
        ) as taking:
            found: dict[str, Summary] = self.inner.find(metric, traces)
            taking.read["histories"] = len(found)
        return found

    def keep(self, metric: str, traces: Mapping[str, Trace], found: Mapping[str, Summary]) -> None:
        """Keep what histories came to."""
        with self._explanation.step("keep histories in the cache"):
            self.inner.keep(metric, traces, found)
