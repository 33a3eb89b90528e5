"""``trainer: advanced``: between the data and the judgement of any training, an ``AdvancedTrainer``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from agentnn.nn_models.advanced.options import AdvancedOptions
from agentnn.nn_models.advanced.recipe import Recipe
from agentnn.nn_models.advanced.several_inputs import inputs_of, with_several_inputs
from agentnn.nn_models.advanced_training import AdvancedTrainer
from agentnn.training.fitting import Fitted, epoch_metrics
from agentnn.training.judging import criterion_of
from agentnn.training.loop.devices import choose_device, reproducible
from agentnn.training.loop.optimisation import predicts_by
from agentnn.training.networks import Network, NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentnn.config.schema import Config
    from agentnn.config.trainers import AdvancedSection
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.recording import RunLogger


class AdvancedTraining:
    """See :class:`~agentnn.training.procedures.Procedure`."""

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data with the calendar, where the configuration asks for it; static columns behind the others."""
        return with_several_inputs(_section(config), dataset)

    def check(self, config: Config, dataset: Dataset) -> None:
        """See :class:`~agentnn.training.procedures.Procedure`: network, loss, groups, optimizer and scheduler."""
        criterion_of(dataset, config)
        options = AdvancedOptions.from_config(config, dataset.loss)
        with torch.random.fork_rng(devices=[]):
            network = Network(_shape(config, dataset), dataset.standardisation)
        Recipe.of(network, options, len(dataset.train), config.model.output_dim)

    def fit(
        self,
        config: Config,
        dataset: Dataset,
        run: ActiveRun,
        logger: RunLogger,
        *,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
        checkpoint_dir: Path | None = None,
        resume: bool = False,
    ) -> Fitted:
        """See :class:`~agentnn.training.procedures.Procedure`."""
        training = config.training
        folder = checkpoint_dir or (training.checkpoint_dir if training.checkpoints else None)
        options = replace(
            AdvancedOptions.from_config(config, dataset.loss),
            seed=None,  # weights and order come from the same numbers, as in the plain loop
            checkpoint_dir=None if folder is None else str(folder),
            resume=resume,
        )
        device = choose_device(training.device)
        seeded = reproducible(
            device, seed=training.seed, deterministic=training.deterministic, num_threads=training.num_threads
        )
        with seeded:
            network = Network(_shape(config, dataset), dataset.standardisation)
            trained = AdvancedTrainer(network, options, run=run).train(
                dataset.train.inputs,
                dataset.train.targets,
                dataset.validation.inputs,
                dataset.validation.targets,
                metrics=epoch_metrics(dataset.loss),
                logger=logger,
                on_epoch=on_epoch,
            )
        return Fitted(trained.model, trained.history, device, dataset.loss)


def _section(config: Config) -> AdvancedSection:
    section: AdvancedSection = config["advanced"]
    return section


def _shape(config: Config, dataset: Dataset) -> NetworkConfig:
    """The network's configuration; ``model.input_dim`` counts the features of the data, without the calendar."""
    section = _section(config)
    inputs = inputs_of(section, dataset)
    n_features = len(dataset.feature_names)
    n_calendar = sum(one.n_features for one in inputs if one.name == "calendar")
    shape = NetworkConfig.from_section(config.model, n_features - n_calendar, dataset.window, predicts_by(dataset.loss))
    return replace(shape, n_features=n_features, inputs=inputs, fusion=section.fusion)
