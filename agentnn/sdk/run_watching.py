"""Looking on while runs train."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentnn.query.expressions import Comparison, Field
from agentnn.sdk.store_access import Experiments, StoreAccess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.query.progress import RunProgress
    from agentnn.records import Run

_SHARE = 10
"""Looking takes at most a tenth of the time, however large the histories are."""


class RunWatching(StoreAccess):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that looks on."""

    def watch_runs(
        self, run: str | None = None, *, experiment: Experiments = None, interval: float = 2.0
    ) -> Iterator[tuple[RunProgress, ...]]:
        """How far runs are, again and again until all of them have ended.

        Args:
            run: One run, by a selector; without it all that are running now.
            experiment: Where to look.
            interval: Seconds between two looks; more where a look takes long.

        Yields:
            The progress of each run, the newest first; nothing when no run is running.

        Raises:
            NotFoundError: There is no such run.
        """
        from agentnn.query.progress import RunProgress

        watched = self._watched(run, experiment)
        while watched:
            started = time.monotonic()
            seen = tuple(RunProgress.of(one, self._histories_of(one), time.time_ns() // 1_000_000) for one in watched)
            yield seen
            if not any(one.is_open for one in seen):
                return
            time.sleep(max(interval, _SHARE * (time.monotonic() - started)))
            watched = self._store.find_runs([one.run_id for one in watched])

    def _watched(self, run: str | None, experiment: Experiments) -> list[Run]:
        scope = self._scope(experiment, None, "active")
        if run is not None:
            return [self._find_run(run, scope)]
        running = Comparison(Field("attribute", "status"), "=", "RUNNING")
        return list(self._store.search_runs(scope._replace(filter=running)))
