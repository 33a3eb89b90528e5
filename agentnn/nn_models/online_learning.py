"""``OnlineLearner``: a network that learns from a stream while it predicts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from agentnn.errors import AgentNNError, ConflictError, StoreUnavailable, UsageError
from agentnn.nn_models.online.drift import Drift
from agentnn.nn_models.online.options import OnlineOptions
from agentnn.nn_models.online.sample_losses import loss_a_sample
from agentnn.nn_models.online.snapshot_keeper import SnapshotKeeper
from agentnn.nn_models.online.stream_buffer import StreamBuffer
from agentnn.nn_models.online.stream_events import Label, Rows, Sample
from agentnn.nn_models.online.stream_learning import LOSS, StreamLearning
from agentnn.nn_models.online.stream_record import RunPlace, StreamRecord
from agentnn.nn_models.online.turn import Turn
from agentnn.nn_models.online.updater import Updater
from agentnn.nn_models.online.whole_state import WholeState
from agentnn.tracking.endings import Ending, watch
from agentnn.training.loop.devices import choose_device, device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from torch.optim import Optimizer

    from agentnn.nn_models.online.stream_counts import Counts
    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun, NullRun

    PerSample = Callable[[Tensor, Tensor], Tensor]

_log = logging.getLogger("agentnn")

__all__ = ["Drift", "Observed", "OnlineLearner", "OnlineOptions"]

EXPERIMENT = "online_learning"
"""The experiment that the runs belong to."""


class Observed(NamedTuple):
    """A sample that was handed over, and what the model said of it.

    Attributes:
        ticket: Its number, by which its label is given later; ``None`` when the queue did not take it.
        output: The model's output, without the axis of samples.
    """

    ticket: int | None
    output: Tensor


class OnlineLearner:
    """A network that predicts each sample of a stream first, and learns from it when its label is known.

    >>> with OnlineLearner(model, nn.MSELoss()) as learner:  # doctest: +SKIP
    ...     for features, target in feed:
    ...         learner.put(features, target)            # handed over; predicted, judged and learned in its turn
    ...     ticket, output = learner.observe(today)      # predicted now
    ...     learner.learn(ticket, tomorrow)              # its label, when it has come

    A thread of its own takes what was put from a queue, in the order of arrival: each sample is predicted, its error
    counted (:class:`~agentnn.nn_models.online.prequential.Prequential`), and every ``batch_size`` labelled samples make
    one step. So no prediction knows its own label or anything that came later. :meth:`put` waits for room in the queue
    for ``put_timeout_s`` at most, never for the model. The steps do not depend on how the threads were scheduled: as
    long as nothing is dropped, and every sample is put, the same samples give the same steps as with
    ``background=False``, but for the rounding of predictions that are made together.

    It records itself in a run of its own: options and model as params; every ``log_every`` judged samples the
    prequential errors, the learning rate, the throughput, the queue and the counts, with the number of judged samples
    as the step; drifts when they are seen. The run ends as the block does, within two seconds also when the store is
    down, provided that a step takes less than a fifth of a second.

    All of this is one process: a producer that computes without a pause, instead of waiting for its next sample, shares
    Python's interpreter lock with the thread, and both get slower.

    Args:
        model: Inputs to outputs, samples first; it is trained in place.
        criterion: (outputs, targets) to the mean loss of a batch.
        optimizer: Of the model's weights; Adam with ``options.learning_rate`` without one. Its learning rate is set by
            the learner from then on.
        options: How to go about it; by the defaults without them.
        measures: More errors to count, by name: (outputs, targets) to one number a sample, shape (n,). ``loss`` is the
            criterion's own for each sample, and is what the detector watches; give another to have that watched.
        on_predictions: Told of all predictions for samples that were put: their tickets, and outputs of shape (n, …).
        on_drift: Told of every drift, in the thread that learns.
        name: The run's name.
        experiment: The run's experiment.
        settings: Name the store; as the environment says without them.
        run: An open run to record in, instead of one of its own; it stays open, and gets no params.
        prefix: How the names of metrics and tags begin.
        track: Whether anything is recorded.

    Raises:
        UsageError: The options don't fit the model or the machine.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer | None = None,
        options: OnlineOptions | None = None,
        *,
        measures: Mapping[str, PerSample] | None = None,
        on_predictions: Callable[[list[int], Tensor], None] | None = None,
        on_drift: Callable[[Drift], None] | None = None,
        name: str | None = None,
        experiment: str = EXPERIMENT,
        settings: Settings | None = None,
        run: ActiveRun | NullRun | None = None,
        prefix: str = "",
        track: bool = True,
    ) -> None:
        self.model, self.options = model, options or OnlineOptions()
        device = device_of(model) if self.options.device is None else choose_device(self.options.device)
        model.to(device)
        if isinstance(criterion, nn.Module):
            criterion.to(device)
        optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=self.options.learning_rate)
        self._modes, self._told_of_drift = [(module, module.training) for module in model.modules()], on_drift
        self._learning = StreamLearning(
            model,
            criterion,
            optimizer,
            self.options,
            {LOSS: loss_a_sample(criterion), **(measures or {})},
            device,
            turn := Turn(),
            on_predictions=on_predictions,
            on_drift=self._note_drift,
            on_report=self._report,
        )
        self._buffer = StreamBuffer(self.options.capacity, self.options.put_timeout_s, self.options.when_full)
        self._inputs, self._targets = Rows("x", self._learning.dtype), Rows("y", self._learning.dtype)
        place = RunPlace(name, experiment, settings, run, prefix) if track else None
        self._record = StreamRecord(self._learning, self._buffer, place, loss=criterion)
        state = WholeState(self._learning, self._buffer, self._inputs, self._targets)
        self._snapshots = SnapshotKeeper(state, turn, self.options, self._record)
        self._updater = Updater(self._learning, self._buffer, self.options, turn, self._snapshots.keep_if_due)
        self._is_running = False

    def start(self) -> Self:
        """Begin the run, and the thread; producers may put from now on.

        Raises:
            ConflictError: It has started already.
            AgentNNError: There can't be a store where the settings say; see :func:`~agentnn.start_run`.
        """
        if self._is_running:
            raise ConflictError("the online learner has started already", hint="stop() it first")
        self._record.begin()
        self.model.train()
        self._is_running = True
        self._snapshots.begin()
        watch.add(self._leave)
        self._updater.start()
        return self

    def stop(self) -> None:
        """End within two seconds: work off what is queued for ``stop_timeout_s``, keep a snapshot, end the run.

        What is then still in the queue stays there, is counted as ``queue_depth``, and is in the snapshot. Who puts
        afterwards, or waits to put, gets a :exc:`ConflictError`.

        Raises:
            TrainingError: Learning failed meanwhile; the run has ended as FAILED.
            StoreUnavailable: The snapshot or the run's journal could not be written.
        """
        self._end(Ending(), is_first_error=True)
        self._updater.raise_failure()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(Ending.of(error), is_first_error=error is None)
        if error is None:
            self._updater.raise_failure()

    def put(self, x: Any, y: Any = None, *, timeout: float | None = None) -> int | None:
        """Hand a sample over, to be predicted in its turn, and learned from once its label is known.

        Args:
            x: The inputs of one sample, without the axis of samples: an array, a tensor or numbers; they are copied.
            y: Its target, where it is known already.
            timeout: Seconds to wait for room in a full queue, instead of ``put_timeout_s``.

        Returns:
            The sample's ticket for :meth:`learn`; ``None`` when the queue is full and takes nothing new.

        Raises:
            UsageError: It does not have the shape of the samples before.
            TrainingError: Learning has failed, or the queue is full and that is to be an error.
            ConflictError: The learner is not running.
        """
        row = self._inputs.row(x)
        sample = Sample(row, None if y is None else self._targets.row(y))
        return sample.ticket if self._updater.hand_over(sample, timeout) else None

    def observe(self, x: Any, y: Any = None, *, timeout: float | None = None) -> Observed:
        """Predict a sample now, and hand it over with this prediction; see :meth:`put`.

        In the background the weights are those after the last step so far; what is queued before the sample may not
        be learned yet.
        """
        row = self._inputs.row(x)
        target = None if y is None else self._targets.row(y)
        output = self._learning.predict(row[None])[0]
        sample = Sample(row, target, output)
        return Observed(sample.ticket if self._updater.hand_over(sample, timeout) else None, output)

    def learn(self, ticket: int, y: Any, *, timeout: float | None = None) -> bool:
        """Give the label of a sample that was put or observed without one.

        Returns:
            Whether the queue took it. A label of a sample that waits no more is counted as ``unmatched``.

        Raises:
            UsageError: No sample has had this ticket, or the target is not like those before.
            TrainingError, ConflictError: As for :meth:`put`.
        """
        if not 0 <= ticket < self._buffer.next_ticket:
            raise UsageError(f"no sample has the ticket {ticket!r}", hint="put() and observe() give it")
        return self._updater.hand_over(Label(ticket, self._targets.row(y)), timeout)

    def predict(self, inputs: Any) -> Tensor:
        """The outputs for a batch, shape (n, …), from one consistent set of weights; nothing is remembered of it.

        It never waits for a step, but for the very first time, when the model is copied for those that ask.
        """
        return self._learning.predict(inputs)

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until all that was put is worked off; whether it is.

        Raises:
            TrainingError: Learning has failed.
        """
        return self._updater.drain(timeout)

    def snapshot(self, path: str | Path | None = None) -> str:
        """Keep the whole state in a file: weights, optimizer, queue, waiting samples, detector, counts, random numbers.

        Learning pauses while the state is copied; producers don't, and neither does anybody wait for the disk.

        Args:
            path: The file, replaced at once; ``snapshot_path`` of the options without it.

        Returns:
            The state's SHA-256.

        Raises:
            UsageError: There is no path.
            StoreUnavailable: The file can't be written; the one before is as it was.
        """
        return self._snapshots.keep(path)

    def restore(self, path: str | Path) -> str:
        """Go on from a snapshot, before the start or while running; without a thread it goes on bit for bit.

        The model, the loss and what belongs to learning in the options have to be as they were. What is in the queue
        now is replaced by what was in it then.

        Returns:
            The state's SHA-256.

        Raises:
            FileNotFoundError: There is none.
            ConflictError: It is the snapshot of another learner.
            CorruptDataError, UnsafeError: It is damaged, or something else.
        """
        return self._snapshots.restore(path)

    @property
    def run(self) -> ActiveRun | NullRun:
        """The run; one that takes every call and does nothing before the start, or without tracking."""
        return self._record.run

    @property
    def counts(self) -> Counts:
        """What became of the samples so far."""
        return self._learning.counts

    @property
    def queue_depth(self) -> int:
        """Samples and labels that wait in the queue."""
        return len(self._buffer)

    @property
    def dropped(self) -> int:
        """Samples and labels for which there was no room."""
        return self._buffer.dropped

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """The latest drifts, up to a thousand."""
        return tuple(self._learning.judge.drifts)

    @property
    def metrics(self) -> dict[str, float]:
        """The prequential errors of all measures, as they are logged; empty before a sample was judged."""
        judged = {name: one for name, one in self._learning.judge.prequential.items() if one.count}
        return {key: value for name, one in judged.items() for key, value in one.values(name).items()}

    def _end(self, ending: Ending, *, is_first_error: bool = False) -> None:
        if not self._is_running:
            return
        self._is_running = False
        watch.remove(self._leave)
        is_idle = self._updater.finish()
        failure = self._updater.failure
        unkept: StoreUnavailable | None = None
        if self.options.snapshot_path is not None and failure is None and is_idle:
            try:
                self._snapshots.keep()
            except StoreUnavailable as error:
                unkept = error
        for module, was_training in self._modes:
            module.training = was_training
        if ending.status == "FINISHED" and (failure or unkept):
            ending, is_first_error = Ending.of(failure or unkept), False
        self._record.finish(ending, is_first_error=is_first_error)
        if unkept is not None:
            raise unkept

    def _leave(self, ending: Ending) -> None:
        """The process ends, and nobody has stopped the learner."""
        try:
            self._end(ending)
        except AgentNNError as error:
            _log.error("%s", error)

    def _report(self) -> None:
        self._record.log()

    def _note_drift(self, drift: Drift) -> None:
        self._record.drift(drift)
        if self._told_of_drift is not None:
            self._told_of_drift(drift)
