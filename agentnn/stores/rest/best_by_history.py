"""The best runs of a server by what whole histories come to: the greatest value of a run, the mean of all, …

All runs in scope are searched, which also shows whose histories are known; the others' are read, several at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from agentnn.query.runs import RunQuery
from agentnn.query.selection import rank
from agentnn.records import Metric
from agentnn.stores.aggregates import Summarised, judged_values, summarised
from agentnn.stores.history_traces import trace_of
from agentnn.stores.rest import searching
from agentnn.stores.rest.best import takes_part
from agentnn.stores.rest.histories import metric_histories
from agentnn.stores.rest.run_records import metric_value, odd_answer, run_of
from agentnn.stores.rest.side_by_side import CONNECTIONS, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Run
    from agentnn.stores.history_cache import HistoryCache
    from agentnn.stores.history_traces import Trace
    from agentnn.stores.rest.searching import Scope
    from agentnn.stores.rest.transport import Transport

_FEW = 25
"""Runs that are not worth a connection of their own."""

_MANY = 50
"""Runs whose histories are read before what they come to is kept."""


def best_by_history(transport: Transport, query: BestQuery, scope: Scope, cache: HistoryCache) -> Best:
    """The best by an aggregate of their histories, with a tally where one is wanted."""
    records = _Records(query.metric, cache.now())
    everything = RunQuery(query.scope.experiment_ids, query.scope.filter, view=query.scope.view)
    found = searching.search(transport, everything, scope, records.read)
    runs = [run for run in found if takes_part(query, run)]

    def read(missing: Sequence[Run]) -> Iterator[list[Summarised]]:
        def work(own: Transport, some: Sequence[Run]) -> list[Summarised]:
            histories = metric_histories(own, some, (query.metric,))
            known = (summarised(one, records.traces.get(one.run_id)) for one in histories)
            return [one for one in known if one is not None]

        return side_by_side(transport, _parts(missing), work)

    values = judged_values(query, runs, records.traces, cache, read)
    return rank(query, ((run, values[run.run_id]) for run in runs))


class _Records:
    """Reads runs, and remembers what each shows of the history of a metric.

    Attributes:
        traces: What they show, by run.
    """

    def __init__(self, metric: str, now: float) -> None:
        self._metric = metric
        self._now = now
        self.traces: dict[str, Trace] = {}

    def read(self, one: Mapping[str, Any], names: Mapping[str, str]) -> Run:
        """A run, of what the server says."""
        run = run_of(one, names)
        if self._metric in run.metrics:
            trace = trace_of(run, self._metric, _latest(one), now=self._now)
            if trace is not None:
                self.traces[run.run_id] = trace
        return run


def _latest(one: Mapping[str, Any]) -> list[Metric]:
    """The latest point of each metric of a run."""
    try:
        return [
            Metric(
                point["key"],
                metric_value(point.get("value", 0.0)),
                int(point.get("step") or 0),
                int(point.get("timestamp") or 0),
            )
            for point in one["data"]["metrics"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd_answer("a run's metrics") from error


def _parts(runs: Sequence[Run]) -> list[Sequence[Run]]:
    """As many runs as are asked for at once, and fewer of few, so that all connections have something to do."""
    size = min(_MANY, max(_FEW, math.ceil(len(runs) / CONNECTIONS)))
    return [runs[start : start + size] for start in range(0, len(runs), size)]
