"""What runs are judged by when their whole histories count, in a store that gives histories only a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentnn.stores.history_traces import is_proven, summary_of
from agentnn.stores.progress import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agentnn.query.selection import BestQuery
    from agentnn.records import Run
    from agentnn.stores.base import History
    from agentnn.stores.history_cache import HistoryCache
    from agentnn.stores.history_traces import Summary, Trace

    Reading = Callable[[Sequence[Run]], Iterable[Sequence["Summarised"]]]
    """Reads the histories of runs, and gives what they come to as they come."""


class Summarised(NamedTuple):
    """What the history of a run comes to, and whether it may be kept."""

    run_id: str
    summary: Summary
    may_be_kept: bool


def summarised(history: History, trace: Trace | None) -> Summarised | None:
    """What a history comes to.

    Args:
        history: The history.
        trace: What the run's record showed of it before; ``None`` where it showed nothing that proves it.
    """
    summary = summary_of(history.points)
    if summary is None:
        return None
    return Summarised(history.run_id, summary, trace is not None and is_proven(trace, history.points))


def judged_values(
    query: BestQuery, runs: Sequence[Run], traces: Mapping[str, Trace], cache: HistoryCache, read: Reading
) -> dict[str, float | None]:
    """The value that each run is judged by, by its id; the latest one where the run can't be best anyhow.

    What has been read is kept at once: who breaks a long question off finds it again.

    Args:
        query: What is asked: the metric, the aggregate.
        runs: The runs in question.
        traces: What the records of runs show of the metric's history, by the runs' ids.
        cache: What is known already.
        read: Reads what is not.
    """
    values = {run.run_id: run.metrics.get(query.metric) for run in runs}
    judged = [
        run for run in runs if values[run.run_id] is not None and (query.include_unfinished or run.status == "FINISHED")
    ]
    known = cache.find(query.metric, {run.run_id: traces[run.run_id] for run in judged if run.run_id in traces})
    values |= {run_id: summary.by(query.aggregate) for run_id, summary in known.items()}
    missing = [run for run in judged if run.run_id not in known]
    if not missing:
        return values
    done = 0
    for batch in read(missing):
        values |= {one.run_id: one.summary.by(query.aggregate) for one in batch}
        cache.keep(query.metric, traces, {one.run_id: one.summary for one in batch if one.may_be_kept})
        done += len(batch)
        tell("reading histories", done, len(missing))
    return values
