"""What the history of a metric comes to, and what the record of its run shows of it.

A value that was kept may be used again only if the run is still as it was: that is proven by what the search of runs
says of it now. See :mod:`agentnn.stores.history_cache`.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from agentnn.query.selection import aggregate_history

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentnn.query.selection import Aggregate
    from agentnn.records import Metric, Run

SETTLED_S = 60
"""How long ago a run has to have ended: what was still under way when it did has come by then."""

_ENDED = ("FINISHED", "FAILED", "KILLED")


class Summary(NamedTuple):
    """What a history, which holds at least one point, comes to by each aggregate; see ``aggregate_history``."""

    first: float
    min: float
    max: float
    mean: float

    def by(self, aggregate: Aggregate) -> float:
        """What it comes to by one of them."""
        return float(getattr(self, aggregate))


class Trace(NamedTuple):
    """What the record of an ended run shows of a metric's history.

    Attributes:
        proof: A digest of all that tells whether the run is still as it was.
        latest: The metric's latest point.
    """

    proof: bytes
    latest: Metric


def summary_of(points: Sequence[Metric]) -> Summary | None:
    """What a history comes to; ``None`` for an empty one."""
    if not points:
        return None
    comes_to = partial(aggregate_history, points)
    return Summary(*(_number(comes_to(one)) for one in ("first", "min", "max", "mean")))


def trace_of(run: Run, metric: str, latest: Iterable[Metric], *, now: float) -> Trace | None:
    """What a record shows of the history of a metric; ``None`` where that must not be kept.

    Args:
        run: The run.
        metric: The metric's name.
        latest: The latest point of each metric of the run.
        now: The time, in seconds since the epoch.
    """
    if run.status not in _ENDED or run.end_time is None or run.end_time / 1000 > now - SETTLED_S:
        return None
    points = sorted(latest)
    mine = next((one for one in points if one.key == metric), None)
    if mine is None:
        return None
    shown = repr((run.status, run.end_time, [tuple(one) for one in points]))
    return Trace(blake2b(shown.encode("utf-8", "surrogatepass"), digest_size=16).digest(), mine)


def is_proven(trace: Trace, points: Sequence[Metric]) -> bool:
    """Whether a history, by (step, timestamp), is the one that the record speaks of: it may have grown meanwhile."""
    latest, last = trace.latest, points[-1]
    place = (latest.step, latest.timestamp)
    if (last.step, last.timestamp) != place:
        return False
    same = repr(latest.value)  # NaN equals no NaN
    for one in reversed(points):
        if (one.step, one.timestamp) != place:
            break
        if repr(one.value) == same:
            return True
    return False


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
