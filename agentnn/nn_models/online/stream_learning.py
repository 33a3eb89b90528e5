"""Learning from a stream, event by event: what happens depends on the order of the events alone, not on the time."""

from __future__ import annotations

import math
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from agentnn.errors import TrainingError, UsageError
from agentnn.nn_models.online.drift import Drift, make_detector
from agentnn.nn_models.online.learning_rate import LearningRate
from agentnn.nn_models.online.prequential import Prequential
from agentnn.nn_models.online.reactions import find_head, reset_optimizer, reset_weights
from agentnn.nn_models.online.sample_memory import SampleMemory
from agentnn.nn_models.online.served_model import ServedModel
from agentnn.nn_models.online.stream_counts import Counts
from agentnn.nn_models.online.stream_events import Sample, packed, unpacked
from agentnn.training.loop.devices import random_state, set_random_state
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.loop.steps import Samples, Stepper
from agentnn.training.loop.tensors import matched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn
    from torch.optim import Optimizer

    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_events import Event, Label

    PerSample = Callable[[Tensor, Tensor], Tensor]
    Rows = NDArray[Any]

LOSS = "loss"
"""The measure that is always there, and that the detector watches."""

_DRIFTS_KEPT = 1000


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
        on_predictions: Told of every prediction that is made here, by the samples' numbers.
        on_drift: Told of every drift.
        on_report: Called whenever ``log_every`` more samples were judged.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        options: OnlineOptions,
        measures: Mapping[str, PerSample],
        device: torch.device,
        *,
        on_predictions: Callable[[list[int], Tensor], None] | None = None,
        on_drift: Callable[[Drift], None] | None = None,
        on_report: Callable[[], None] | None = None,
    ) -> None:
        self.model, self.optimizer, self.options, self.device = model, optimizer, options, device
        self.counts = Counts()
        self.drifts: deque[Drift] = deque(maxlen=_DRIFTS_KEPT)
        """The latest of them."""
        self.prequential = {name: Prequential(options.fading, options.error_window) for name in measures}
        self.waiting: dict[int, Sample] = {}
        """Samples that wait for their labels, by their numbers."""
        self.served = ServedModel(model, device, options.precision)
        self.learning_rate = LearningRate(optimizer, options.raise_factor, options.raise_steps, options.hypergradient)
        self._criterion, self._measures = criterion, measures
        self._on_predictions, self._on_drift, self._on_report = on_predictions, on_drift, on_report
        self._detector = make_detector(options)
        self._head = find_head(model, options.head) if "reset_head" in options.reactions else None
        self._memory = SampleMemory(options.memory, options.replayed, options.seed)
        self._batch: list[Samples] = []
        self._in_batch = 0
        self._due: list[str] = []
        self._quiet_until = 0
        self.dtype = next((one.dtype for one in model.parameters() if one.is_floating_point()), torch.float32)
        samples_a_step = options.batch_size + options.replayed
        training = TrainingOptions(
            batch_size=samples_a_step, clip_norm=options.clip_norm, precision=options.precision, seed=options.seed
        )
        self._stepper = Stepper(model, optimizer, criterion, training, device)
        self._rows = {size: torch.arange(size, device=device) for size in (options.batch_size, samples_a_step)}

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
                self.counts.observed += len(ready)
                self._judge_new(ready)
                start += len(ready)
            else:
                start = self._work_off_mixed(events, start, most)
            if self.room <= 0:
                self._learn()

    def _work_off_mixed(self, events: Sequence[Event], start: int, most: int) -> int:
        """Predict and judge up to so many labelled samples, of which some were there before; gives the next event."""
        unpredicted: list[Sample] = []
        labelled: list[Sample] = []
        while start < len(events) and len(labelled) < most:
            event = events[start]
            sample = self._arrived(event, unpredicted) if isinstance(event, Sample) else self._found(event)
            if sample is not None and sample.y is not None:
                labelled.append(sample)
            start += 1
        if unpredicted:
            inputs = self._to_device(np.stack([one.x for one in unpredicted]))
            for sample, output in zip(unpredicted, self._predict(inputs, unpredicted), strict=True):
                sample.output = output
        if labelled:
            kept, known = self._finite(labelled)
            if kept:
                self._judge(torch.stack([cast("Tensor", one.output) for one in kept]), known)
        return start

    def predict(self, inputs: NDArray[Any] | Tensor) -> Tensor:
        """The model's outputs for a batch, from one consistent set of weights; any thread may ask at any time."""
        tensor = inputs if isinstance(inputs, Tensor) else torch.from_numpy(np.array(inputs))
        return _tensor(self.served(tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)))

    def _arrived(self, sample: Sample, unpredicted: list[Sample]) -> Sample:
        self.counts.observed += 1
        if sample.output is None:
            unpredicted.append(sample)
        if sample.y is None:
            self.waiting[sample.ticket] = sample
            if len(self.waiting) > self.options.most_waiting:
                del self.waiting[next(iter(self.waiting))]
                self.counts.expired += 1
        return sample

    def _found(self, label: Label) -> Sample | None:
        sample = self.waiting.pop(label.ticket, None)
        if sample is None:
            self.counts.unmatched += 1
            return None
        sample.y = label.y
        return sample

    def _judge_new(self, samples: list[Sample]) -> None:
        """The usual case, samples that come with their labels: no row is touched on its own."""
        kept, new = self._finite(samples)
        if kept:
            self._judge(self._predict(new.inputs, kept), new)

    def _finite(self, samples: list[Sample]) -> tuple[list[Sample], Samples]:
        """The samples without NaN and infinity, of which nothing could be learnt, also as tensors."""
        inputs, targets = np.stack([one.x for one in samples]), np.stack([cast("Rows", one.y) for one in samples])
        if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
            count = len(samples)
            rows = [np.isfinite(x).all() and np.isfinite(y).all() for x, y in zip(inputs, targets, strict=True)]
            samples = [one for one, is_finite in zip(samples, rows, strict=True) if is_finite]
            inputs, targets = inputs[rows], targets[rows]
            self.counts.invalid += count - len(samples)
        return samples, Samples(self._to_device(inputs), self._to_device(targets))

    def _predict(self, inputs: Tensor, samples: list[Sample]) -> Tensor:
        outputs = _tensor(self.served.own(inputs))
        if self._on_predictions is not None:
            self._on_predictions([one.ticket for one in samples], outputs)
        return outputs

    def _judge(self, outputs: Tensor, samples: Samples) -> None:
        targets = matched(samples.targets, outputs, self._criterion)
        errors = {name: measure(outputs, targets) for name, measure in self._measures.items()}
        for name, of_name in errors.items():
            if of_name.shape != (len(outputs),):
                raise UsageError(
                    f"the measure {name!r} gives shape {tuple(of_name.shape)} for {len(outputs)} samples",
                    hint="give one number a sample",
                )
        values = dict(zip(errors, torch.stack([one.double() for one in errors.values()]).tolist(), strict=True))
        if not all(map(math.isfinite, values[LOSS])):
            raise TrainingError(
                f"the loss is no longer finite after {self.counts.judged} samples",
                hint="try a lower learning rate, or clip_norm=1.0",
            )
        for name, errors_of_name in values.items():
            self.prequential[name].update(errors_of_name)
        self._watch(values[LOSS])
        self._batch.append(samples)
        self._in_batch += len(outputs)
        if self._on_report is not None and self.counts.judged % self.options.log_every == 0:
            self._on_report()

    def _watch(self, errors: list[float]) -> None:
        """Count the samples, and look for a drift after each."""
        before = self.counts.judged
        self.counts.judged += len(errors)
        if self._detector is None:
            return
        for number, error in enumerate(errors, start=before + 1):
            change = self._detector.update(error)
            if change is not None and change.is_rise and number >= self._quiet_until:
                self._quiet_until = number + self.options.drift_cooldown
                self._drifted(Drift(number, change.before, change.after, self.options.reactions))

    def _drifted(self, drift: Drift) -> None:
        self.counts.drifts += 1
        self.drifts.append(drift)
        self._due = list(drift.reactions)
        if self._on_drift is not None:
            self._on_drift(drift)

    def _learn(self) -> None:
        parts, self._batch, self._in_batch = self._batch, [], 0
        new = parts[0] if len(parts) == 1 else Samples(*(torch.cat(one) for one in zip(*parts, strict=True)))
        with self._own_random_numbers():
            self._react()
            samples = self._memory.with_older(new)
            self.learning_rate.before_step()
            self._stepper.step(samples, self._rows[len(samples.inputs)])
            self.learning_rate.after_step()
        self._memory.add(new)
        self.counts.steps += 1
        self.counts.learned += len(new.inputs)
        self.served.publish()

    def _react(self) -> None:
        for reaction in self._due:
            if reaction == "raise_learning_rate":
                self.learning_rate.raise_for_a_while()
            elif reaction == "reset_optimizer":
                reset_optimizer(self.optimizer)
            elif self._head is not None:
                reset_weights(self._head, self.optimizer)
                self.learning_rate.forget_steps()
        self._due = []

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """With a seed, those of a step follow from it and the step's number, and the process's are left alone."""
        seed = self.options.seed
        if seed is None:
            yield
            return
        with torch.random.fork_rng([] if self.device.type == "cpu" else [self.device], device_type=_kind(self.device)):
            torch.manual_seed((seed * 1_000_003 + self.counts.steps) % 2**63)
            yield

    def _to_device(self, rows: Rows) -> Tensor:
        tensor = torch.from_numpy(rows)
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def state(self) -> dict[str, Any]:
        """All that it needs to go on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._stepper.scaler.state_dict(),
            "learning_rate": self.learning_rate.state(),
            "detector": None if self._detector is None else self._detector.state(),
            "prequential": {name: one.state() for name, one in self.prequential.items()},
            "memory": self._memory.state(),
            "batch": [tuple(one) for one in self._batch],
            "waiting": packed(self.waiting.values()),
            "counts": asdict(self.counts),
            "drifts": [tuple(one) for one in self.drifts],
            "due": self._due,
            "quiet_until": self._quiet_until,
            "random": random_state(self.device) if self.options.seed is None else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave.

        Raises:
            KeyError, RuntimeError, ValueError: It is the state of another model or optimizer.
        """
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._stepper.scaler.load_state_dict(state["scaler"])
        self.learning_rate.restore(state["learning_rate"])
        if self._detector is not None:
            self._detector.restore(state["detector"])
        for name, one in self.prequential.items():
            one.restore(state["prequential"][name])
        self._memory.restore(state["memory"])
        self._batch = [Samples(*one) for one in state["batch"]]
        self._in_batch = sum(len(one.inputs) for one in self._batch)
        self.waiting = {one.ticket: one for one in unpacked(state["waiting"], self.device)}
        self.counts = Counts(**state["counts"])
        self.drifts = deque((Drift(*one) for one in state["drifts"]), maxlen=_DRIFTS_KEPT)
        self._due, self._quiet_until = list(state["due"]), state["quiet_until"]
        if state["random"] is not None:
            set_random_state(self.device, state["random"])
        self.served.publish()


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cpu" else device.type


def _ready(events: Sequence[Event]) -> list[Sample]:
    """The events, if all of them are samples that come with their labels and without a prediction; otherwise none."""
    ready = [one for one in events if isinstance(one, Sample) and one.y is not None and one.output is None]
    return ready if len(ready) == len(events) else []


def _tensor(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise UsageError(f"the model gives a {type(outputs).__name__}, not a tensor", hint="return the outputs alone")
    return outputs
