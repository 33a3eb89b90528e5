"""How fast a store answers, how large it is, and what would make it faster."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.stores.measures import measure
from agentnn.tracking.upkeep.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.stores.base import TrackingStore
    from agentnn.stores.measures import StoreMeasures

_TIMES = 5
_FAR_S = 0.25
"""A command asks two or three questions: from here on it takes a person's patience."""


class Latency(NamedTuple):
    """How long a small question takes, in seconds.

    Attributes:
        first: The first one, for which a connection may have been made.
        median: Of the next ones.
    """

    first: float
    median: float


class Measured(NamedTuple):
    """A store's figures, and how fast it is."""

    measures: StoreMeasures
    latency: Latency

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        latency = {"first_s": self.latency.first, "median_s": self.latency.median}
        return {**self.measures.to_dict(), "latency": latency}


def measured(store: TrackingStore) -> Measured:
    """Ask a store a few small questions, and what it is.

    Raises:
        StoreUnavailable, CorruptDataError: The store can't be read.
    """
    first, *others = [_seconds_for_a_small_question(store) for _ in range(1 + _TIMES)]
    return Measured(measure(store), Latency(first, statistics.median(others)))


def advice_findings(found: Measured) -> Iterator[Finding]:
    """What would make a store faster, each with the command that does it."""
    for topic, problem, command in found.measures.advice:
        yield Finding(topic, problem, command, "advice")
    if found.latency.median >= _FAR_S:
        problem = f"the store takes {found.latency.median:.1f} s for the smallest question"
        yield Finding("latency", problem, "look at what else it does, and at the way there", "advice")


def _seconds_for_a_small_question(store: TrackingStore) -> float:
    began = time.perf_counter()
    store.find_experiment(experiment_id="0")
    return time.perf_counter() - began
