"""What "best" is: once, for every store.

A run can be best only if its value of the metric is finite. Among those the greatest (or smallest) value wins;
ties go as MLflow orders runs: the later start, then the smaller run id. A run that never had the metric, or has it
as NaN or an infinity, never wins; it is counted as excluded. https://github.com/mlflow/mlflow/issues/5341
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agentnn.query.evaluation import natural_order
from agentnn.query.runs import RunQuery
from agentnn.records import Run, finite_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentnn.records import Metric

Mode = Literal["max", "min"]
Aggregate = Literal["last", "min", "max", "mean", "first"]
Tally = bool | Literal["cheap"]
MODES = ("max", "min")
AGGREGATES = ("last", "min", "max", "mean", "first")


class BestQuery(NamedTuple):
    """Which runs are best.

    Attributes:
        metric: The metric's name.
        mode: Whether the greatest or the smallest value wins.
        aggregate: Which value of a run counts: ``last`` is MLflow's latest, that of the greatest (step, timestamp,
            value); the others are taken over the finite values of the whole history, ``first`` by (step, timestamp).
        scope: The runs that take part: experiments, filter, view. Its order and limit mean nothing here.
        top: How many runs are wanted.
        include_unfinished: Whether runs that are not FINISHED take part.
        include_children: Whether nested runs take part.
        tally: Whether to count what took part and what was left out; it costs a look at every run. With ``cheap`` a
            store that would have to be asked for long does not count.
        use_cache: Whether what histories came to may be taken from the cache, and kept in it, where a store has one.
    """

    metric: str
    mode: Mode = "max"
    aggregate: Aggregate = "last"
    scope: RunQuery = RunQuery()
    top: int = 1
    include_unfinished: bool = False
    include_children: bool = True
    tally: Tally = False
    use_cache: bool = True


class Excluded(NamedTuple):
    """How many runs in scope could not be best, each counted once, by the first reason that holds."""

    unfinished: int = 0
    missing: int = 0
    nan: int = 0
    infinite: int = 0

    @property
    def total(self) -> int:
        """All that were left out."""
        return sum(self)

    def in_words(self) -> dict[str, int]:
        """The counts, by what a person calls the reason."""
        return dict(zip(("not finished", "without the metric", "NaN", "infinite"), self, strict=True))


class Candidate(NamedTuple):
    """A run and the value that it is judged by."""

    run: Run
    value: float


class Best(NamedTuple):
    """A store's answer to a :class:`BestQuery`: up to ``top`` + 1 candidates, the best first.

    ``considered`` and ``excluded`` are ``None`` unless the query asked for a tally, and was given one.
    """

    candidates: tuple[Candidate, ...]
    considered: int | None = None
    excluded: Excluded | None = None


class Verdict(NamedTuple):
    """Why a run is where it is in a ranking.

    Attributes:
        metric, mode, aggregate: What was asked.
        value: The run's value.
        rank: 1 for the best.
        margin: How far the run is ahead of the next one, never negative; ``None`` when there is no next one.
        runner_up: The id of the next run.
        considered: How many runs had a finite value; ``None`` when it was not counted.
        excluded: How many were left out, and why; ``None`` when it was not counted.
    """

    metric: str
    mode: Mode
    aggregate: Aggregate
    value: float
    rank: int = 1
    margin: float | None = None
    runner_up: str | None = None
    considered: int | None = None
    excluded: Excluded | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "metric": self.metric,
            "mode": self.mode,
            "aggregate": self.aggregate,
            "value": self.value,
            "rank": self.rank,
            "margin": finite_or_none(self.margin),
            "runner_up": self.runner_up,
            "considered": self.considered,
            "excluded": None if self.excluded is None else self.excluded._asdict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRun(Run):
    """A run and, in ``best``, why it is where it is in a ranking."""

    best: Verdict

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the run, with the verdict under ``best``."""
        return {**Run.to_dict(self), "best": self.best.to_dict()}


def verdicts(query: BestQuery, best: Best) -> list[BestRun]:
    """The runs that were asked for, each with its verdict, from a store's answer."""
    ranked = best.candidates
    followers = [*ranked[1:], None]
    return [
        BestRun(
            **{one.name: getattr(candidate.run, one.name) for one in fields(Run)},
            best=Verdict(
                metric=query.metric,
                mode=query.mode,
                aggregate=query.aggregate,
                value=candidate.value,
                rank=place,
                margin=abs(candidate.value - follower.value) if follower else None,
                runner_up=follower.run.run_id if follower else None,
                considered=best.considered,
                excluded=best.excluded,
            ),
        )
        for place, (candidate, follower) in enumerate(zip(ranked[: query.top], followers, strict=False), start=1)
    ]


def rank(query: BestQuery, runs: Iterable[tuple[Run, float | None]]) -> Best:
    """Choose the best among runs in scope, in one pass that keeps no more than it returns.

    Args:
        query: What is asked; its scope is taken as already applied.
        runs: Each run with its aggregated value, ``None`` when it never had the metric.
    """
    counts = {"unfinished": 0, "missing": 0, "nan": 0, "infinite": 0}
    considered = 0

    def qualified() -> Iterable[Candidate]:
        nonlocal considered
        for run, value in runs:
            reason = why_excluded(query, run, value)
            if reason is not None:
                counts[reason] += 1
            elif value is not None:
                considered += 1
                yield Candidate(run, value)

    chosen = heapq.nsmallest(query.top + 1, qualified(), key=lambda candidate: _rank_key(query, candidate))
    if not query.tally:
        return Best(tuple(chosen))
    return Best(tuple(chosen), considered, Excluded(**counts))


def why_excluded(query: BestQuery, run: Run, value: float | None) -> str | None:
    """The name of the :class:`Excluded` field that a run counts under, or ``None`` when it qualifies."""
    if run.status != "FINISHED" and not query.include_unfinished:
        return "unfinished"
    if value is None:
        return "missing"
    if math.isnan(value):
        return "nan"
    return "infinite" if math.isinf(value) else None


def aggregate_history(history: Sequence[Metric], aggregate: Aggregate) -> float | None:
    """One value for a metric's history, sorted by (step, timestamp); ``None`` for an empty one.

    Only finite values count. When there are none, the answer is infinite if any value was, else NaN.
    """
    finite = [point.value for point in history if math.isfinite(point.value)]
    if not finite:
        if not history:
            return None
        return math.inf if any(math.isinf(point.value) for point in history) else math.nan
    if aggregate == "mean":
        return exact_mean(finite)
    if aggregate == "min":
        return min(finite)
    if aggregate == "max":
        return max(finite)
    return finite[0] if aggregate == "first" else finite[-1]


def exact_mean(values: Sequence[float]) -> float:
    """The mean of some numbers, at least one, without the rounding of a running sum."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum of the largest doubles; halving them is exact
        return math.fsum(value / 1024 for value in values) / len(values) * 1024


def _rank_key(query: BestQuery, candidate: Candidate) -> tuple[float, tuple[float, str]]:
    value = -candidate.value if query.mode == "max" else candidate.value
    return (value, natural_order(candidate.run))
