"""Is one version better than another? Asked of the runs behind them, by a finite value of one metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import CheckFailed, NotFoundError, UsageError
from agentnn.query.selectors import nearest, parse_metric
from agentnn.registry.moving import Evidence

if TYPE_CHECKING:
    from agentnn.query.selection import Mode
    from agentnn.records import Run


class Criterion(NamedTuple):
    """What better means.

    Attributes:
        metric: The metric.
        mode: Whether the greatest or the smallest value is best.
        min_delta: By more than how much the new value must be better.
    """

    metric: str
    mode: Mode
    min_delta: float = 0.0


def parse_criterion(text: str) -> tuple[str, Mode | None]:
    """Metric and mode of ``METRIC[:max|:min]``.

    Raises:
        UsageError: There is no metric in it.
    """
    metric, mode = parse_metric(text)
    if not metric:
        raise UsageError("--if-better names no metric", hint="--if-better sharpe_ratio, or val_loss:min")
    return metric, mode


def check_min_delta(min_delta: float) -> float:
    """A margin that means something.

    Raises:
        UsageError: It is negative or not finite.
    """
    if not math.isfinite(min_delta) or min_delta < 0:
        raise UsageError(f"--min-delta {min_delta:g} is no margin", hint="0 or more, in the metric's own unit")
    return min_delta


def value_of(run: Run, what: str, metric: str) -> float:
    """A run's value of a metric, which may be NaN or infinite.

    Raises:
        NotFoundError: The run does not have the metric; the error offers the nearest names.
    """
    if metric not in run.metrics:
        near = nearest(metric, run.metrics)
        known = ", ".join(sorted(run.metrics)[:5]) or "none"
        raise NotFoundError(
            f"{what} has no metric {metric!r}: its run is {run.name or run.run_id}",
            candidates=near,
            hint=f"did you mean {', '.join(near)}?" if near else f"its metrics: {known}",
        )
    return run.metrics[metric]


def judge(criterion: Criterion, candidate: tuple[str, Run], baseline: tuple[str, Run]) -> Evidence:
    """The evidence that one run is better than another.

    A value that is NaN or infinite is never better; a finite one is better than such a value.

    Args:
        criterion: What better means.
        candidate: What to call the one that should be better, and its run.
        baseline: Likewise the one that it is compared with.

    Raises:
        NotFoundError: One of them does not have the metric.
        CheckFailed: It is not better by more than the margin; both values are in the message.
    """
    metric, mode, min_delta = criterion
    new, old = value_of(candidate[1], candidate[0], metric), value_of(baseline[1], baseline[0], metric)
    gain = new - old if mode == "max" else old - new
    better = math.isfinite(new) and (not math.isfinite(old) or gain > min_delta)
    if not better:
        margin = f" by more than {min_delta:g}" if min_delta else ""
        raise CheckFailed(
            f"not better{margin}: {metric} ({mode}) is {new!r} for {candidate[0]} and {old!r} for {baseline[0]}; "
            "nothing was moved",
            hint="without --if-better it is moved all the same",
        )
    return Evidence(metric, mode, new, old)
