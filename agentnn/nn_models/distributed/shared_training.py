"""A training that several processes go through together, epoch by epoch, as one of them sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from agentnn.nn_models.distributed.group import job
from agentnn.nn_models.distributed.sharding import noise_seed, order_of_epoch
from agentnn.training.loop.devices import seed_everything
from agentnn.training.loop.resuming import Resumable
from agentnn.training.train_nn_model import is_over, take_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor
    from torch.optim import Optimizer

    from agentnn.nn_models.distributed.group import Group
    from agentnn.nn_models.distributed.replicas import Replica
    from agentnn.nn_models.distributed.stepping import ShardedStepper
    from agentnn.nn_models.distributed.versions import VersionedCheckpoints
    from agentnn.training.loop.history import History
    from agentnn.training.loop.optimisation import Schedule
    from agentnn.training.loop.options import TrainingOptions
    from agentnn.training.loop.steps import Samples


class Parts(NamedTuple):
    """What is learnt from, and what is only looked at; all of it in each process."""

    train: Samples
    validation: Samples


@dataclass(slots=True, eq=False, kw_only=True)
class SharedTraining:
    """What the processes do together; each method is called in all of them at once.

    Attributes:
        group: The processes.
        replica: The network as this one has it.
        optimizer: Of its weights.
        schedule: Of the learning rate.
        stepper: What it does with its part of a batch.
        options: How they train.
        parts: The samples.
        metrics: By name, (outputs, targets) of the whole validation part to a number.
        settings: What has to be the same for the training to be the same.
        checkpoints: Of the first process; the others keep none.
        seed: What the order of the samples and dropout follow from.
        history: The values of every epoch.
        best_weights: Those of the best epoch, whole in the first process; ``None`` where they are not kept.
    """

    group: Group
    replica: Replica
    optimizer: Optimizer
    schedule: Schedule
    stepper: ShardedStepper
    options: TrainingOptions
    parts: Parts
    metrics: Mapping[str, Callable[[Tensor, Tensor], float]]
    settings: Mapping[str, Any]
    checkpoints: VersionedCheckpoints
    seed: int
    history: History
    best_weights: dict[str, Any] | None = None
    _are_kept: bool = False
    _are_due: bool = False

    def begin(self, saved: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Go on from the state that the first process found, which all of them get, or from the beginning."""
        self._are_kept, saved = self.group.share((self.checkpoints.are_kept, saved))
        if saved is not None:
            self.best_weights, self.seed = self._resumable.restore(saved, self.history), saved["distributed"]["seed"]
        return saved

    def is_over(self, epochs: int) -> bool:
        """Whether all epochs are trained, or patience has run out."""
        return is_over(self.history, epochs, self.options)

    def go_through_epoch(self) -> dict[str, float]:
        """Learn from every sample once, and see what it came to; all decide by what the first process has found.

        Raises:
            TrainingError: The loss is no longer finite.
        """
        began = time.perf_counter()
        train_loss, learning_rate = self._learn(self.history.epochs + 1)
        values = {
            "train_loss": self.group.total(train_loss).item(),
            **self.stepper.evaluate(self.parts.validation, self.metrics),
            "learning_rate": learning_rate,
            "epoch_seconds": time.perf_counter() - began,
        }
        values, self._are_due = self.group.share((values, self.checkpoints.are_due))
        is_best = take_epoch(values, self.history, self.schedule, self.options, self.checkpoints)
        if is_best and (self.options.restore_best or self._are_kept):
            self.best_weights = self.replica.weights()
        return values

    def _learn(self, epoch: int) -> tuple[Tensor, float]:
        """Each process learns from its part of every batch; gives its part of the loss, and the last learning rate."""
        train, options = self.parts.train, self.options
        n_samples, samples_a_step = len(train.inputs), options.batch_size * options.accumulate_steps
        self.stepper.learns(is_learning=True)
        seed_everything(noise_seed(self.seed, epoch, self.group.rank))
        train_loss = torch.zeros((), dtype=self.group.exact, device=self.group.device)
        order = order_of_epoch(self.seed, epoch, n_samples, shuffle=options.shuffle)
        for rows in torch.split(order.to(train.inputs.device), samples_a_step):
            loss, has_stepped = self.stepper.step(train, rows)
            train_loss.add_(loss, alpha=len(rows) / n_samples)  # a tensor: nothing waits for the device
            learning_rate = self.optimizer.param_groups[0]["lr"]
            if has_stepped:
                self.schedule.after_step()
        return train_loss, float(learning_rate)

    def keep(self, epochs: int, run: str) -> None:
        """Write a checkpoint where one is due; after the last epoch one always is."""
        is_last = self.is_over(epochs)
        if self._are_kept and (is_last or self._are_due):
            state = self._resumable.state(self.history, self.best_weights, is_finished=is_last)
            with self.group.first_alone():
                self.checkpoints.write({**state, "distributed": {"seed": self.seed, "job": job(), "run": run}})

    def give_back(self) -> None:
        """Leave the user's model with what was learnt, the same in all processes."""
        if self.options.restore_best and self.best_weights is not None:
            self.replica.give_back(self.group.share(self.best_weights))
        elif self.replica.is_sharded:
            self.replica.give_back(self.group.share(self.replica.weights()))

    @property
    def _resumable(self) -> Resumable:
        model, optimizer = self.replica.kept(self.optimizer)
        scaler, device = self.stepper.scaler, self.group.device
        return Resumable(model, optimizer, self.schedule, scaler, device, self.settings)  # type: ignore[arg-type]
