"""``DistributedTrainer``: one network, trained by several processes as a single one would train it.

A script that trains by it runs alone or under torchrun, unchanged::

    torchrun --nproc-per-node 2 --max-restarts 3 script.py

and :func:`launch` starts torchrun from a program that is not one of the processes itself.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from agentnn.errors import UsageError
from agentnn.nn_models.distributed.failures import WorkerFailed, WorkerLost
from agentnn.nn_models.distributed.group import Group, failures_told, job, joined, restarts
from agentnn.nn_models.distributed.launching import launch
from agentnn.nn_models.distributed.options import DistributedOptions
from agentnn.nn_models.distributed.record import RunRecord
from agentnn.nn_models.distributed.replicas import replica_of
from agentnn.nn_models.distributed.shared_training import Parts, SharedTraining
from agentnn.nn_models.distributed.stepping import ShardedStepper
from agentnn.nn_models.distributed.versions import VersionedCheckpoints
from agentnn.nn_models.trainer_runs import TrainerRuns
from agentnn.training.loop.devices import reproducible
from agentnn.training.loop.history import OWN_METRICS, History
from agentnn.training.loop.optimisation import Schedule
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.loop.steps import Samples
from agentnn.training.loop.tensors import sample_tensors
from agentnn.training.train_nn_model import check_request, same_mode_afterwards, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from torch.optim import Optimizer

    from agentnn.nn_models.distributed.replicas import Replica
    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.recording import RunLogger

__all__ = [
    "DistributedOptions",
    "DistributedResult",
    "DistributedTrainer",
    "TrainingOptions",
    "VersionedCheckpoints",
    "WorkerFailed",
    "WorkerLost",
    "launch",
]

EXPERIMENT = "distributed_training"
"""Where its runs are."""

_NO_PARAMS = ("checkpoint_dir", "checkpoint_every_s", "resume", "progress", "log_every", "device", "compile")


@dataclass(frozen=True, slots=True, eq=False)
class DistributedResult:
    """What a training came to; the same in every process, but for ``rank`` and the run.

    Attributes:
        model: The one that was given, with the weights of the best epoch if the options say so.
        history: The values of every epoch.
        rank: Which of the processes this is.
        world_size: How many they were in the end.
        restarts: How often torchrun has started them again.
        run_id: The run's id in the store; ``None`` while that has not answered, and in all processes but the first.
        uuid: Our own id of the run; empty where there is none.
    """

    model: nn.Module = field(repr=False)
    history: History
    rank: int
    world_size: int
    restarts: int
    run_id: str | None
    uuid: str


class DistributedTrainer:
    """Trains a network in as many processes as there are, each on its part of every batch.

    The curve of the loss is that of a single process with the same batches, to what is rounded otherwise (about 1e-6 of
    it in float32, 1e-12 in float64); dropout draws other numbers in each process. Every epoch's order follows from seed
    and epoch, so that a training goes on from its last checkpoint as if nothing had happened, in the same number of
    processes bit for bit, and also in another number of them. Under ``torchrun --max-restarts`` it does so by itself.

    Only the first process logs, and keeps the checkpoints. An error in any of them ends all, and is the run's reason; a
    process that is gone, or does not answer within ``distributed.timeout_s``, is an error too.

    Args:
        model: Inputs to outputs; all processes begin with the weights of the first one's.
        make_optimizer: Makes the optimizer of the weights, which may be parts of the model's.
        criterion: (outputs, targets) to the mean loss over samples.
        options: How to train; ``batch_size`` counts the samples of all processes together.
        distributed: How the processes train together.
        make_schedule: Makes a scheduler of the optimizer and the steps of an epoch: one of torch's, or what
            :func:`~agentnn.training.loop.optimisation.build_schedule` gives.
        run: An open run to log to, in the first process; it is left open. Without one the trainer starts its own.
        experiment: The experiment of its runs.
        run_name: The name of its runs.
        tags: More tags for them.
        tracking_uri: The store; as the settings say without one.
        settings: All of the settings, instead of ``tracking_uri``.
        track: Whether there is a run at all.
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        criterion: Callable[[Tensor, Tensor], Tensor],
        options: TrainingOptions | None = None,
        distributed: DistributedOptions | None = None,
        *,
        make_schedule: Callable[[Optimizer, int], Any] | None = None,
        run: ActiveRun | None = None,
        experiment: str = EXPERIMENT,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_uri: str | Path | None = None,
        settings: Settings | None = None,
        track: bool = True,
    ) -> None:
        self.model = model
        self.make_optimizer = make_optimizer
        self.criterion = criterion
        self.options = options or TrainingOptions()
        self.distributed = distributed or DistributedOptions()
        self.make_schedule = make_schedule
        runs = TrainerRuns(
            given=run,
            experiment=experiment,
            name=run_name,
            tags=dict(tags or {}),
            tracking_uri=tracking_uri,
            settings=settings,
            track=track,
        )
        self._record = RunRecord(runs)

    def fit(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        epochs: int,
        *,
        logger: RunLogger | None = None,
        metrics: Mapping[str, Callable[[Tensor, Tensor], float]] | None = None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> DistributedResult:
        """Train, epoch by epoch; called in every process with the same data.

        Args:
            X_train: Inputs to learn from, samples first: a tensor, an array or a frame; all of them in each process.
            y_train: What the model is to give for them.
            X_val: Inputs that are only looked at.
            y_val: What belongs to them.
            epochs: Passes over the training part, at most.
            logger: Gets the values of each epoch in the place of the run, in the first process.
            metrics: By name, (outputs, targets) of the whole validation part to a number.
            on_epoch: Called in the first process after each epoch with its number and values; what it raises ends all.

        Raises:
            UsageError: The data are empty, not finite, or don't fit each other or the model, or the options.
            ConflictError: Another training uses the folder of checkpoints, or its checkpoint is of another training.
            CorruptDataError: There are checkpoints, and none of them is whole.
            TrainingError: The loss is no longer finite.
            WorkerFailed: Another process failed, and said why.
            WorkerLost: Another process is gone, or does not answer.
        """
        self._check(epochs, metrics or {})
        with ExitStack() as stack:
            group = stack.enter_context(joined(self.distributed, self.options.device))
            seed = stack.enter_context(self._seeded(group))
            stack.enter_context(same_mode_afterwards(self.model, self.criterion))
            self._place(group)
            parts = self._parts(group, X_train, y_train, X_val, y_val)
            replica = replica_of(self.model, self.distributed.strategy, group)
            stack.callback(replica.close)
            checkpoints = stack.enter_context(self._checkpoints(group))
            training = self._shared(group, replica, parts, metrics or {}, checkpoints, seed)
            saved = training.begin(self._saved(checkpoints))
            run = stack.enter_context(self._record.of(group, saved))
            stack.enter_context(failures_told(group, self.distributed))  # within the run, whose reason they are
            self._record.beginning(run, group, saved, self._params(training))
            while not training.is_over(epochs):
                values, epoch = training.go_through_epoch(), training.history.epochs
                with group.first_alone():
                    if group.is_first and (epoch % self.options.log_every == 0 or training.is_over(epochs)):
                        (logger or run).log_metrics(values, epoch)
                    if group.is_first and on_epoch is not None:
                        on_epoch(epoch, values)
                training.keep(epochs, run.uuid)
            training.give_back()
            return self._result(training, run, epochs)

    def _check(self, epochs: int, metrics: Mapping[str, Any]) -> None:
        check_request(epochs, self.options, metrics, self.criterion)
        if self.options.compile:
            raise UsageError("torch.compile is not used by several processes", hint="compile: false")

    # --- what is trained, and how

    @contextmanager
    def _seeded(self, group: Group) -> Iterator[int]:
        """With the random numbers, algorithms and threads of the options; gives the seed that all processes have."""
        options = self.options
        seed = group.share(int(torch.randint(2**31, ())) if options.seed is None else options.seed)
        how: dict[str, Any] = {"deterministic": options.deterministic, "num_threads": options.num_threads}
        with reproducible(group.device, seed=seed, **how):
            yield seed

    def _place(self, group: Group) -> None:
        """Everything to this process's device, and the first one's weights to all."""
        self.model.to(group.device)
        if isinstance(self.criterion, nn.Module):
            self.criterion.to(group.device)
        group.same_everywhere([one.detach() for one in (*self.model.parameters(), *self.model.buffers())])

    def _parts(self, group: Group, X_train: Any, y_train: Any, X_val: Any, y_val: Any) -> Parts:
        dtype = next((one.dtype for one in self.model.parameters() if one.is_floating_point()), torch.float32)
        train = sample_tensors(X_train, y_train, ("X_train", "y_train"), dtype, group.device)
        validation = sample_tensors(X_val, y_val, ("X_val", "y_val"), dtype, group.device)
        return Parts(Samples(*train), Samples(*validation))

    def _shared(
        self,
        group: Group,
        replica: Replica,
        parts: Parts,
        metrics: Mapping[str, Callable[[Tensor, Tensor], float]],
        checkpoints: VersionedCheckpoints,
        seed: int,
    ) -> SharedTraining:
        """All that trains the network as this process has it."""
        options, n_samples = self.options, len(parts.train.inputs)
        optimizer = self.make_optimizer(replica.trained.parameters())
        steps = math.ceil(n_samples / (options.batch_size * options.accumulate_steps))
        return SharedTraining(
            group=group,
            replica=replica,
            optimizer=optimizer,
            schedule=Schedule.of(None if self.make_schedule is None else self.make_schedule(optimizer, steps)),
            stepper=ShardedStepper(replica, optimizer, self.criterion, options, group),
            options=options,
            parts=parts,
            metrics=metrics,
            settings={**settings_of(options, optimizer, n_samples, None), "strategy": self.distributed.strategy},
            checkpoints=checkpoints,
            seed=seed,
            history=History({name: [] for name in (*OWN_METRICS, *metrics)}),
        )

    def _result(self, training: SharedTraining, run: ActiveRun | NullRun, epochs: int) -> DistributedResult:
        history, group = training.history, training.group
        history.stopped_early = history.epochs < epochs
        self._record.end(run, history, self.options.monitor)
        return DistributedResult(self.model, history, group.rank, group.size, restarts(), run.find_run_id(), run.uuid)

    def _params(self, training: SharedTraining) -> dict[str, Any]:
        """What a run is told of the options, the model and the data."""
        optimizer, parts = training.optimizer, training.parts
        group = optimizer.param_groups[0]
        return {
            **{name: value for name, value in asdict(self.options).items() if name not in _NO_PARAMS},
            **asdict(self.distributed),
            "model": type(self.model).__name__,
            "n_parameters": sum(one.numel() for one in self.model.parameters()),
            "optimizer": type(optimizer).__name__,
            "learning_rate": group.get("initial_lr", group["lr"]),
            "device": str(training.group.device),
            "train_samples": len(parts.train.inputs),
            "validation_samples": len(parts.validation.inputs),
        }

    # --- the checkpoints, which are the first process's

    def _checkpoints(self, group: Group) -> VersionedCheckpoints:
        folder = self.options.checkpoint_dir if group.is_first else None
        return VersionedCheckpoints(folder, self.options.checkpoint_every_s, keep=self.distributed.keep_checkpoints)

    def _saved(self, checkpoints: VersionedCheckpoints) -> dict[str, Any] | None:
        """The state to go on from: where that is asked for, or torchrun has started the processes again."""
        is_again = self.options.resume or restarts() > 0
        if not is_again and job():  # torchrun does not count it when processes join or leave
            is_again = checkpoints.job() == job()
        return checkpoints.start(torch.device("cpu"), resume=is_again)
