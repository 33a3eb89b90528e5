"""How a configuration is trained: the plain loop, or another trainer that fits between the same data and judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from agentnn.training.fitting import fit
from agentnn.training.judging import criterion_of
from agentnn.training.loop.optimisation import build_optimizer, build_schedule
from agentnn.training.networks import Network, NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.fitting import Fitted
    from agentnn.training.recording import RunLogger


class Procedure(Protocol):
    """What turns a configuration and its data into a trained network.

    The run, its configuration, the data, the judgement on unseen days, the backtest and the files of the network are
    the same whatever the procedure; what it has to tell besides goes to the run by itself.
    """

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data as the procedure needs them, such as with more features; nothing of a sample may come from later.

        Raises:
            ConfigError: The configuration does not fit the data.
        """

    def check(self, config: Config, dataset: Dataset) -> None:
        """Whether all that the configuration asks for can be had for prepared data, before anything is recorded.

        Raises:
            ConfigError: Something can't.
        """

    def fit(
        self,
        config: Config,
        dataset: Dataset,
        run: ActiveRun | NullRun,
        logger: RunLogger | None,
        *,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
        checkpoint_dir: Path | None = None,
        resume: bool = False,
    ) -> Fitted:
        """Train on the prepared data's ``train`` part, and choose by its ``validation`` part.

        Args:
            config: The whole configuration.
            dataset: What :meth:`prepare` gave.
            run: The open run, for what the procedure itself has to record; it is not ended here. One that takes every
                call and does nothing where nothing is recorded.
            logger: Takes the values of each epoch, where they are kept.
            on_epoch: Called after every epoch; what it raises goes through.
            checkpoint_dir: Where checkpoints are kept; without it, as ``training.checkpoint_dir`` and
                ``training.checkpoints`` say.
            resume: Whether to go on from the last checkpoint there.

        Raises:
            TrainingError: The loss is no longer finite.
            UsageError: It can't go on from a checkpoint, and was asked to.
        """


class PlainTraining:
    """The loop of :func:`~agentnn.training.train_nn_model.train_model` over one network of a known family."""

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data as they are."""
        return dataset

    def check(self, config: Config, dataset: Dataset) -> None:
        """See :class:`Procedure`: network, loss, optimizer and scheduler."""
        criterion_of(dataset, config)
        shape = NetworkConfig.from_section(config.model, len(dataset.feature_names), dataset.window)
        with torch.random.fork_rng(devices=[]):
            weights = Network(shape, dataset.standardisation).parameters()
        build_schedule(config.training, build_optimizer(config.training, weights), steps_per_epoch=1)

    def fit(
        self, config: Config, dataset: Dataset, run: ActiveRun | NullRun, logger: RunLogger | None, **how: Any
    ) -> Fitted:
        """See :class:`Procedure`."""
        train, validation = dataset.train, dataset.validation
        return fit(
            config,
            train.inputs,
            train.targets,
            validation.inputs,
            validation.targets,
            logger,
            standardisation=dataset.standardisation,
            loss=dataset.loss,
            **how,
        )


PLAIN = PlainTraining()
