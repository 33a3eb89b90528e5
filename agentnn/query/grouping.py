"""Runs that differ in nothing but a seed, taken together: a mean and its spread instead of one lucky value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.query.comparison import typed
from agentnn.query.selection import exact_mean
from agentnn.records import finite_or_none, in_order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from agentnn.query.selection import Mode
    from agentnn.records import Run


class Summary(NamedTuple):
    """The finite values of a metric in a group of runs.

    Attributes:
        mean: Their mean.
        std: The sample's standard deviation (ddof = 1); ``None`` for a single value.
        n: How many they are.
        min, max: The smallest and the greatest.
    """

    mean: float
    std: float | None
    n: int
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary | None:
        """The summary of some values; ``None`` when none of them is finite."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return None
        mean = exact_mean(finite)
        std = _deviation(finite, mean) if len(finite) > 1 else None
        return cls(mean, std, len(finite), min(finite), max(finite))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**self._asdict(), "mean": finite_or_none(self.mean), "std": finite_or_none(self.std)}


class RunGroup(NamedTuple):
    """Runs of one experiment with the same params, but for those that are varied over.

    Attributes:
        experiment: The experiment's name.
        params: What the runs have in common.
        run_ids: Their ids, in the order they came.
        values: The values of each metric, one a run that has it.
    """

    experiment: str
    params: Mapping[str, str]
    run_ids: list[str]
    values: dict[str, list[float]]

    @property
    def size(self) -> int:
        """How many runs there are."""
        return len(self.run_ids)

    def summary(self, metric: str) -> Summary | None:
        """A metric's summary; ``None`` when no run has a finite value of it."""
        return Summary.of(self.values.get(metric, ()))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        found = {metric: self.summary(metric) for metric in sorted(self.values)}
        return {
            "experiment": self.experiment,
            "params": in_order(self.params),
            "size": self.size,
            "run_ids": self.run_ids,
            "metrics": {metric: one.to_dict() for metric, one in found.items() if one is not None},
        }


class RankedGroup(NamedTuple):
    """A group and the summary that it is judged by."""

    group: RunGroup
    metric: str
    mode: Mode
    summary: Summary

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the group, with what it is judged by under ``best``."""
        best = {"metric": self.metric, "mode": self.mode, **self.summary.to_dict()}
        return {**self.group.to_dict(), "best": best}


class GroupRanking(NamedTuple):
    """Groups by the mean of a metric, the best first.

    Attributes:
        groups: The groups.
        too_small: How many groups were left out because too few of their runs have a finite value.
        without_metric: How many were left out because none has.
    """

    groups: tuple[RankedGroup, ...]
    too_small: int
    without_metric: int


def group_runs(runs: Iterable[Run], over: Collection[str]) -> list[RunGroup]:
    """Take runs together that have the same params, by what they mean: ``1e-05`` is ``0.00001``.

    Args:
        runs: The runs.
        over: The params that may differ, such as ``seed``.
    """
    groups: dict[Any, RunGroup] = {}
    for run in runs:
        common = {key: value for key, value in run.params.items() if key not in over}
        meaning = frozenset((key, isinstance(typed(value), bool), typed(value)) for key, value in common.items())
        group = groups.setdefault((run.experiment_id, meaning), RunGroup(run.experiment, common, [], {}))
        group.run_ids.append(run.run_id)
        for metric, value in run.metrics.items():
            group.values.setdefault(metric, []).append(value)
    return list(groups.values())


def rank_groups(groups: Iterable[RunGroup], metric: str, mode: Mode, *, min_runs: int) -> GroupRanking:
    """Order groups by the mean of a metric; ties go to the larger group, then to the first.

    Args:
        groups: The groups.
        metric: The metric.
        mode: Whether the greatest or the smallest mean is best.
        min_runs: How many finite values a group needs to take part.
    """
    ranked, too_small, without = [], 0, 0
    for group in groups:
        summary = group.summary(metric)
        if summary is None:
            without += 1
        elif summary.n < min_runs:
            too_small += 1
        else:
            ranked.append(RankedGroup(group, metric, mode, summary))
    sign = -1 if mode == "max" else 1
    ranked.sort(key=lambda one: (sign * one.summary.mean, -one.summary.n))
    return GroupRanking(tuple(ranked), too_small, without)


def _deviation(values: Sequence[float], mean: float) -> float:
    """The sample's standard deviation; scaled first, so that no square overflows."""
    scale = max(abs(value - mean) for value in values)
    if not scale or math.isinf(scale):
        return scale
    return scale * math.sqrt(math.fsum(((value - mean) / scale) ** 2 for value in values) / (len(values) - 1))
