"""Every sample judges the model before it is learnt from: its errors are counted, and watched for drift."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from agentnn.errors import TrainingError, UsageError
from agentnn.nn_models.online.drift import Drift, make_detector
from agentnn.nn_models.online.prequential import Prequential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_counts import Counts

    PerSample = Callable[[Tensor, Tensor], Tensor]

LOSS = "loss"
"""The measure that is always there, and that the detector watches."""

_DRIFTS_KEPT = 1000


class StreamJudge:
    """Counts the errors of predictions in the order of the samples, and looks for a drift after each.

    Args:
        measures: By name, (outputs, targets) to one error a sample; ``loss`` is among them.
        options: Which detector, and how errors are averaged.
        counts: Where judged samples and drifts are counted.
        on_drift: Told of every drift.
    """

    def __init__(
        self,
        measures: Mapping[str, PerSample],
        options: OnlineOptions,
        counts: Counts,
        on_drift: Callable[[Drift], None],
    ) -> None:
        self.prequential = {name: Prequential(options.fading, options.error_window) for name in measures}
        self.drifts: deque[Drift] = deque(maxlen=_DRIFTS_KEPT)
        """The latest of them."""
        self._measures, self._options, self._counts, self._on_drift = measures, options, counts, on_drift
        self._detector = make_detector(options)
        self._quiet_until = 0

    def judge(self, outputs: Tensor, targets: Tensor) -> None:
        """Take what was said of the next samples, and what came true, in the shape that losses take.

        Raises:
            TrainingError: An error is no longer finite.
            UsageError: A measure gives something else than one error a sample.
        """
        errors = {name: self._errors(name, outputs, targets) for name in self._measures}
        losses = errors[LOSS]
        if not math.isfinite(sum(losses)):
            raise TrainingError(
                f"the loss is no longer finite after {self._counts.judged} samples",
                hint="try a lower learning rate, or clip_norm=1.0",
            )
        for name, values in errors.items():
            self.prequential[name].update(values)
        self._watch(losses)

    def _errors(self, name: str, outputs: Tensor, targets: Tensor) -> list[float]:
        errors = self._measures[name](outputs, targets)
        if errors.ndim != 1 or len(errors) != len(outputs):
            raise UsageError(
                f"the measure {name!r} gives shape {tuple(errors.shape)} for {len(outputs)} samples",
                hint="give one number a sample",
            )
        found: list[float] = errors.tolist()
        return found

    def _watch(self, errors: list[float]) -> None:
        """Count the samples, and look for a drift after each."""
        before = self._counts.judged
        self._counts.judged += len(errors)
        if self._detector is None:
            return
        for number, error in enumerate(errors, start=before + 1):
            change = self._detector.update(error)
            if change is not None and change.is_rise and number >= self._quiet_until:
                self._quiet_until = number + self._options.drift_cooldown
                self._drifted(Drift(number, change.before, change.after, self._options.reactions))

    def _drifted(self, drift: Drift) -> None:
        self._counts.drifts += 1
        self.drifts.append(drift)
        self._on_drift(drift)

    def state(self) -> dict[str, Any]:
        """All that it remembers, as plain values."""
        return {
            "detector": None if self._detector is None else self._detector.state(),
            "prequential": {name: one.state() for name, one in self.prequential.items()},
            "drifts": [tuple(one) for one in self.drifts],
            "quiet_until": self._quiet_until,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        if self._detector is not None:
            self._detector.restore(state["detector"])
        for name, one in self.prequential.items():
            one.restore(state["prequential"][name])
        self.drifts = deque((Drift(*one) for one in state["drifts"]), maxlen=_DRIFTS_KEPT)
        self._quiet_until = state["quiet_until"]
