"""A configured network, trained by :class:`~agentnn.nn_models.training_infrastructure.DistributedTrainer`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from agentnn.config.schema import Config
from agentnn.nn_models.distributed.options import DistributedOptions
from agentnn.nn_models.training_infrastructure import DistributedTrainer
from agentnn.training.fitting import epoch_metrics
from agentnn.training.loop.devices import reproducible
from agentnn.training.loop.optimisation import build_loss, build_optimizer, build_schedule
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.networks import Network, NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentnn.nn_models.distributed.job import Task
    from agentnn.nn_models.training_infrastructure import DistributedResult
    from agentnn.training.recording import RunLogger

_CPU = torch.device("cpu")


def fit_task(
    task: Task, logger: RunLogger | None, on_epoch: Callable[[int, Mapping[str, float]], None]
) -> tuple[Network, DistributedResult]:
    """Build the network, the optimizer, the schedule and the loss, and train, as one of the processes that do.

    Args:
        task: What is to be trained.
        logger: Gets the values of epochs in the first process.
        on_epoch: Called after each epoch in the first process.
    """
    config = Config.model_validate(task.config)
    training, model = config.training, network_of(task)
    options = replace(
        TrainingOptions.from_section(training),
        checkpoint_dir=task.checkpoint_dir,
        resume=task.resume,
        log_every=task.log_every,
    )
    trainer = DistributedTrainer(
        model,
        lambda weights: build_optimizer(training, weights),
        build_loss(task.loss, training.params.get("loss_params", {}), config.model.output_dim),
        options,
        DistributedOptions.from_config(config),
        make_schedule=lambda optimizer, steps: build_schedule(training, optimizer, steps),
        track=False,
    )
    metrics = epoch_metrics(task.loss)
    X_train, y_train, X_val, y_val = task.samples
    result = trainer.fit(
        X_train, y_train, X_val, y_val, training.epochs, logger=logger, metrics=metrics, on_epoch=on_epoch
    )
    return model, result


def network_of(task: Task) -> Network:
    """The network with the weights that it begins with; every time the same ones."""
    seed = Config.model_validate(task.config).training.seed
    with reproducible(_CPU, seed=seed):
        return Network(NetworkConfig.from_dict(task.network), task.standardisation)
