"""What an online learner records of itself in its run."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import AgentNNError
from agentnn.tracking.active_run import ActiveRun, NullRun
from agentnn.tracking.run_context import current_run
from agentnn.tracking.starting import start_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.nn_models.online.drift import Drift
    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_buffer import StreamBuffer
    from agentnn.nn_models.online.stream_learning import StreamLearning
    from agentnn.settings import Settings
    from agentnn.tracking.endings import Ending

_log = logging.getLogger("agentnn")

DELIVERY_S = 0.5
"""How long the end waits for the delivery of what was logged; the sender goes on with the rest."""


class RunPlace(NamedTuple):
    """Where a run is begun; or one that is open, which stays open and has params of its own.

    The names of metrics and tags begin with the prefix.
    """

    name: str | None
    experiment: str
    settings: Settings | None
    run: ActiveRun | NullRun | None = None
    prefix: str = ""


class StreamRecord:
    """A run that follows an online learner; each call appends to the run's journal and waits for nothing.

    Args:
        learning: What is followed.
        buffer: Its queue.
        place: Where the run is; without it there is none.
        loss: What is learnt by.
    """

    def __init__(self, learning: StreamLearning, buffer: StreamBuffer, place: RunPlace | None, *, loss: object) -> None:
        self._learning, self._buffer, self._place, self._loss = learning, buffer, place, loss
        self.run: ActiveRun | NullRun = NullRun()
        self._since, self._observed = 0.0, 0

    def begin(self) -> None:
        """Start the run, below the current one where there is one, or take that of the place; log what the learner is.

        Raises:
            AgentNNError: There can't be a store where the settings say.
        """
        learning, place = self._learning, self._place
        self.run = NullRun()
        if place is not None:
            self.run = place.run or self._started(place)
        self._since, self._observed = time.monotonic(), learning.counts.observed

    def _started(self, place: RunPlace) -> ActiveRun:
        nested = current_run() is not None
        run = start_run(place.name, experiment=place.experiment, nested=nested, settings=place.settings)
        run.log_params(_params(self._learning.options, self._learning, self._loss))
        return run

    def log(self) -> None:
        """Log the metrics; their step is the number of samples that were judged."""
        if self._place is None:
            return
        learning, counts, now = self._learning, self._learning.counts, time.monotonic()
        values: dict[str, float] = {}
        if counts.judged:
            for name, one in learning.judge.prequential.items():
                values |= one.values(name)
        rate = (counts.observed - self._observed) / max(now - self._since, 1e-9)
        self._since, self._observed = now, counts.observed
        values |= {
            "learning_rate": learning.steps.learning_rate.value,
            "samples_per_second": rate,
            "queue_depth": float(len(self._buffer)),
            "dropped": float(self._buffer.dropped),
            "longest_put_wait_s": self._buffer.longest_wait_s,
            "waiting_for_labels": float(len(learning.waiting)),
            **{name: float(value) for name, value in asdict(counts).items()},
        }
        self.run.log_metrics(self._named(values), counts.judged)

    def drift(self, drift: Drift) -> None:
        """Log a drift at the sample where it was seen."""
        number = self._learning.counts.drifts
        values = {"drift": float(number), "drift_error_before": drift.before, "drift_error_after": drift.after}
        self.run.log_metrics(self._named(values), drift.sample)
        self.run.set_tags(self._named({"last_drift": str(drift)}))

    def finish(self, ending: Ending, *, is_first_error: bool) -> None:
        """Log the last metrics and end the run, if it was begun here; that waits for half a second at most.

        Raises:
            AgentNNError, OSError: The end could not be recorded, and no other error is on its way.
        """
        run = self.run
        if run.ended:
            return
        try:
            self.log()
            if self._place is not None and self._place.run is not None:
                return
            run.end(ending.status, ending.reason, wait=False)
            if isinstance(run, ActiveRun) and not run.flush(DELIVERY_S):
                _log.warning(
                    "what the run %r logged is not all delivered yet; it waits on this machine: agentnn run sync",
                    run.name,
                )
        except (AgentNNError, OSError) as error:
            if is_first_error:
                raise
            _log.error("%s", error)

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        prefix = "" if self._place is None else self._place.prefix
        return {f"{prefix}{name}": value for name, value in values.items()}


def _params(options: OnlineOptions, learning: StreamLearning, loss: object) -> dict[str, Any]:
    model, optimizer = learning.model, learning.steps.optimizer
    named = {name: value for name, value in asdict(options).items() if value is not None}
    return {
        **named,
        "reactions": ", ".join(options.reactions) or "none",
        "learning_rate": float(optimizer.param_groups[0]["lr"]),
        "device": str(learning.device),
        "model": type(model).__name__,
        "parameters": sum(one.numel() for one in model.parameters()),
        "optimizer": type(optimizer).__name__,
        "loss": getattr(loss, "__name__", type(loss).__name__),
    }
