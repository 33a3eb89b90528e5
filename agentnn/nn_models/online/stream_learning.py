"""Learning from a stream, event by event: what happens depends on the order of the events alone, not on the time."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from agentnn.errors import UsageError
from agentnn.nn_models.online.served_model import ServedModel
from agentnn.nn_models.online.stream_counts import Counts
from agentnn.nn_models.online.stream_events import Sample, stacked
from agentnn.nn_models.online.stream_judge import LOSS, StreamJudge
from agentnn.nn_models.online.stream_steps import StreamSteps
from agentnn.nn_models.online.waiting_samples import WaitingSamples
from agentnn.training.loop.devices import random_state, set_random_state
from agentnn.training.loop.steps import Samples
from agentnn.training.loop.tensors import matched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn
    from torch.optim import Optimizer

    from agentnn.nn_models.online.drift import Drift
    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_events import Event
    from agentnn.nn_models.online.turn import Turn

    PerSample = Callable[[Tensor, Tensor], Tensor]

__all__ = ["LOSS", "StreamLearning"]


class StreamLearning:
    """A model that predicts each sample before it learns from it; only one thread may use it at a time.

    Samples that have no prediction yet are predicted together, but never across a step: each prediction comes from the
    weights after all steps that the events before it have made. A drift takes effect just before the next step.

    Args:
        model: What learns; it is trained in place.
        criterion: (outputs, targets) to the mean loss.
        optimizer: Of its weights.
        options: How.
        measures: By name, (outputs, targets) to one error a sample; ``loss`` is among them.
        device: Where it happens.
        turn: Held by the thread that uses it.
        on_predictions: Told of every prediction that is made here, by the samples' numbers.
        on_drift: Told of every drift.
        on_report: Called whenever ``log_every`` more samples were judged.

    Attributes:
        counts: What became of the samples so far.
        waiting: Samples that wait for their labels.
        judge: The errors of its predictions.
        steps: How it learns.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        options: OnlineOptions,
        measures: Mapping[str, PerSample],
        device: torch.device,
        turn: Turn,
        *,
        on_predictions: Callable[[list[int], Tensor], None] | None,
        on_drift: Callable[[Drift], None],
        on_report: Callable[[], None],
    ) -> None:
        self.model, self.options, self.device = model, options, device
        self.dtype = next((one.dtype for one in model.parameters() if one.is_floating_point()), torch.float32)
        self.counts = Counts()
        self.waiting = WaitingSamples(options.most_waiting, self.counts)
        self.judge = StreamJudge(measures, options, self.counts, self._note_drift)
        self.steps = StreamSteps(model, criterion, optimizer, options, device, self.counts)
        self._served = ServedModel(model, device, options.precision, turn)
        self._criterion = criterion
        self._on_predictions, self._on_drift, self._on_report = on_predictions, on_drift, on_report
        self._batch: list[Samples] = []
        self._in_batch = 0

    @property
    def room(self) -> int:
        """Labelled samples that are still missing for the next step."""
        return self.options.batch_size - self._in_batch

    def process(self, events: Sequence[Event]) -> None:
        """Take the next events of the stream.

        Raises:
            TrainingError: A prediction is no longer finite.
            UsageError: Targets don't fit the model's outputs.
        """
        start = 0
        while start < len(events):
            most = min(self.room, self.options.log_every - self.counts.judged % self.options.log_every)
            ready = _ready(events[start : start + most])
            if ready:
                self._work_off(ready)
                start += len(ready)
            else:
                start = self._work_off_mixed(events, start, most)
            if self.room <= 0:
                self._learn()

    def _work_off(self, samples: list[Sample]) -> None:
        """The usual case, samples that come with their labels: no row is touched on its own."""
        self.counts.observed += len(samples)
        kept, new = self._finite(samples)
        if kept:
            self._take(self._predict(new.inputs, kept), new)

    def _work_off_mixed(self, events: Sequence[Event], start: int, most: int) -> int:
        """Predict and judge up to so many labelled samples, of which some were there before; gives the next event."""
        unpredicted: list[Sample] = []
        labelled: list[Sample] = []
        while start < len(events) and len(labelled) < most:
            event = events[start]
            sample = self._arrived(event, unpredicted) if isinstance(event, Sample) else self.waiting.labelled(event)
            if sample is not None and sample.y is not None:
                labelled.append(sample)
            start += 1
        if unpredicted:
            inputs = self._to_device(stacked([one.x for one in unpredicted]))
            for sample, output in zip(unpredicted, self._predict(inputs, unpredicted), strict=True):
                sample.output = output
        if labelled:
            kept, known = self._finite(labelled)
            if kept:
                self._take(torch.stack([cast("Tensor", one.output) for one in kept]), known)
        return start

    def _arrived(self, sample: Sample, unpredicted: list[Sample]) -> Sample:
        self.counts.observed += 1
        if sample.output is None:
            unpredicted.append(sample)
        if sample.y is None:
            self.waiting.add(sample)
        return sample

    def _finite(self, samples: list[Sample]) -> tuple[list[Sample], Samples]:
        """The samples without NaN and infinity, of which nothing could be learnt, also as tensors."""
        labels: list[Any] = [one.y for one in samples]
        inputs, targets = stacked([one.x for one in samples]), stacked(labels)
        if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
            count = len(samples)
            rows = [np.isfinite(x).all() and np.isfinite(y).all() for x, y in zip(inputs, targets, strict=True)]
            samples = [one for one, is_finite in zip(samples, rows, strict=True) if is_finite]
            inputs, targets = inputs[rows], targets[rows]
            self.counts.invalid += count - len(samples)
        return samples, Samples(self._to_device(inputs), self._to_device(targets))

    def _predict(self, inputs: Tensor, samples: list[Sample]) -> Tensor:
        outputs = _tensor(self._served.own(inputs))
        if self._on_predictions is not None:
            self._on_predictions([one.ticket for one in samples], outputs)
        return outputs

    def _take(self, outputs: Tensor, samples: Samples) -> None:
        """Judge what was said of samples, and keep them for the next step."""
        targets = matched(samples.targets, outputs, self._criterion)
        self.judge.judge(outputs, targets)
        self._batch.append(Samples(samples.inputs, targets))
        self._in_batch += len(outputs)
        if self.counts.judged % self.options.log_every == 0:
            self._on_report()

    def _learn(self) -> None:
        parts, self._batch, self._in_batch = self._batch, [], 0
        self.steps.learn(parts[0] if len(parts) == 1 else Samples(*map(torch.cat, zip(*parts, strict=True))))
        self._served.publish()

    def _note_drift(self, drift: Drift) -> None:
        self.steps.react(drift.reactions)
        self._on_drift(drift)

    def predict(self, inputs: NDArray[Any] | Tensor) -> Tensor:
        """The model's outputs for a batch, from one consistent set of weights; any thread may ask at any time."""
        tensor = inputs if isinstance(inputs, Tensor) else torch.from_numpy(np.array(inputs))
        return _tensor(self._served(tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)))

    def _to_device(self, rows: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(rows)
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def state(self) -> dict[str, Any]:
        """All that it needs to go on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            **self.steps.state(),
            **self.judge.state(),
            "batch": [tuple(one) for one in self._batch],
            "waiting": self.waiting.state(),
            "counts": asdict(self.counts),
            "random": random_state(self.device) if self.options.seed is None else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave.

        Raises:
            KeyError, RuntimeError, ValueError: It is the state of another model or optimizer.
        """
        self.model.load_state_dict(state["model"])
        self.steps.restore(state)
        self.judge.restore(state)
        self._batch = [Samples(*one) for one in state["batch"]]
        self._in_batch = sum(len(one.inputs) for one in self._batch)
        self.waiting.restore(state["waiting"], self.device)
        self.counts.restore(state["counts"])
        if state["random"] is not None:
            set_random_state(self.device, state["random"])
        self._served.publish()


def _ready(events: Sequence[Event]) -> list[Sample]:
    """The events, if all of them are samples that come with their labels and without a prediction; otherwise none."""
    ready = [one for one in events if isinstance(one, Sample) and one.y is not None and one.output is None]
    return ready if len(ready) == len(events) else []


def _tensor(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise UsageError(f"the model gives a {type(outputs).__name__}, not a tensor", hint="return the outputs alone")
    return outputs
