"""How far a run is: its step, its rate and the time that is left, told from what it has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.query.expressions import to_number
from agentnn.records import finite_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import Metric, Run

TOTAL_STEPS = (
    "total_steps",
    "max_steps",
    "num_steps",
    "total_epochs",
    "max_epochs",
    "num_epochs",
    "n_epochs",
    "epochs",
)
"""Params that say how many steps a run will log, in the order of preference; also as the end of a dotted name."""

_WINDOW = 50
_OPEN = ("RUNNING", "SCHEDULED")


class RunProgress(NamedTuple):
    """What is to be seen of a run at one moment.

    Attributes:
        run: The run.
        histories: The points of each metric.
        step: The greatest step that was logged; ``None`` before the first value.
        total_steps: How many steps there will be, where its params tell.
        steps_per_s: How many steps a second it does, over its latest points; ``None`` while it can't be told.
        remaining_s: Seconds to its end at that rate; ``None`` where the total is not known.
        silent_s: Seconds since the last value was logged, or since the start.
    """

    run: Run
    histories: Mapping[str, Sequence[Metric]]
    step: int | None = None
    total_steps: int | None = None
    steps_per_s: float | None = None
    remaining_s: float | None = None
    silent_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended yet."""
        return self.run.status in _OPEN and self.run.lifecycle_stage == "active"

    @classmethod
    def of(cls, run: Run, histories: Mapping[str, Sequence[Metric]], now: int) -> RunProgress:
        """The progress of a run.

        Args:
            run: The run.
            histories: The points of each metric, by (step, timestamp).
            now: Milliseconds since the epoch.
        """
        leading = max(
            histories.values(), key=lambda points: (points[-1].step, len(points)) if points else (-1, 0), default=()
        )
        moments = [one.timestamp for points in histories.values() for one in points[-1:]]
        since = max(moments, default=run.start_time)
        silent_s = None if since is None or run.status not in _OPEN else max(0.0, (now - since) / 1000)
        if not leading:
            return cls(run, histories, total_steps=_total_steps(run.params, 0), silent_s=silent_s)
        first, last = leading[0].step, leading[-1].step
        total = _total_steps(run.params, last)
        rate = _steps_per_s(leading)
        remaining = None
        if total is not None and rate and run.status in _OPEN:
            done = last + 1 if first == 0 else last
            remaining = max(0.0, (total - done) / rate)
        return cls(run, histories, last, total, rate, remaining, silent_s)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the run, and under ``progress`` how far it is."""
        progress = {
            "step": self.step,
            "total_steps": self.total_steps,
            "steps_per_s": finite_or_none(self.steps_per_s),
            "remaining_s": finite_or_none(self.remaining_s),
            "silent_s": self.silent_s,
        }
        return {**self.run.to_dict(), "progress": progress}


def _total_steps(params: Mapping[str, str], step: int) -> int | None:
    """How many steps a run says it will do; a number that it has passed already counts something else."""
    by_name = {key.rpartition(".")[2]: value for key, value in params.items()}
    for name in TOTAL_STEPS:
        number = to_number(by_name.get(name, ""))
        if number is not None and number == number // 1 and number >= max(step, 1):
            return int(number)
    return None


def _steps_per_s(points: Sequence[Metric]) -> float | None:
    """The rate over the latest points; the time is that of the machine which logged them."""
    window = points[-_WINDOW:]
    steps, seconds = window[-1].step - window[0].step, (window[-1].timestamp - window[0].timestamp) / 1000
    return steps / seconds if steps > 0 and seconds > 0 else None
