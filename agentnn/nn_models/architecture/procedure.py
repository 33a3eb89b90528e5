"""``trainer: dynamic_architecture``: a perceptron that grows, or shrinks, while it is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.architecture.description import Architecture
from agentnn.nn_models.architecture.network import DynamicNetwork
from agentnn.nn_models.architecture.options import ArchitectureOptions
from agentnn.nn_models.dynamic_architecture import ArchitectureOptimizer
from agentnn.training.fitting import Fitted, epoch_metrics
from agentnn.training.judging import criterion_of
from agentnn.training.loop.devices import choose_device, reproducible
from agentnn.training.loop.history import History
from agentnn.training.loop.optimisation import build_optimizer, predicts_by
from agentnn.training.procedures import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentnn.config.schema import Config
    from agentnn.nn_models.architecture.results import ArchitectureResult
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.recording import RunLogger

PREFIX = "architecture_"
"""Begins the names of what the optimizer of the architecture itself records."""


class DynamicArchitectureTraining:
    """Changes the layers of the configuration's perceptron where the validation part says so.

    What counts as an epoch, in the run and for the pruner of a study, is the first training and each change after it,
    with the values of the network that is gone on with.
    """

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data as they are."""
        return dataset

    def check(self, config: Config, dataset: Dataset) -> None:
        """See :class:`~agentnn.training.procedures.Procedure`."""
        PLAIN.check(config, dataset)
        known = ("val_loss", *epoch_metrics(dataset.loss))
        if config.training.monitor not in known:
            raise ConfigError(
                f"training.monitor: {config.training.monitor} is not measured", hint=f"one of {', '.join(known)}"
            )
        try:
            _options(config, None, resume=False)
        except UsageError as error:
            raise ConfigError(f"dynamic_architecture: {error.message}", hint=error.hint) from error

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
        """See :class:`~agentnn.training.procedures.Procedure`."""

        def tell(changes: int, values: Mapping[str, float]) -> None:
            if logger is not None:
                logger.log_metrics(values, changes + 1)
            if on_epoch is not None:
                on_epoch(changes + 1, values)

        optimizer = ArchitectureOptimizer(
            _start(config, dataset),
            _options(config, checkpoint_dir, resume=resume),
            criterion=criterion_of(dataset, config),
            make_optimizer=lambda weights: build_optimizer(config.training, weights),
            run=run,
            prefix=PREFIX,
        )
        train, validation = dataset.train, dataset.validation
        data = train.inputs, train.targets, validation.inputs, validation.targets
        result = optimizer.optimize(*data, metrics=epoch_metrics(dataset.loss), on_network=tell)
        device = choose_device(config.training.device)
        return Fitted(result.network, _history(result), device, dataset.loss, facts=_facts(result))


def _options(config: Config, checkpoint_dir: Path | None, *, resume: bool) -> ArchitectureOptions:
    options = ArchitectureOptions.from_config(config)
    folder = options.checkpoint_dir if checkpoint_dir is None else str(checkpoint_dir)
    return replace(options, checkpoint_dir=folder, resume=resume)


def _start(config: Config, dataset: Dataset) -> DynamicNetwork:
    """The configuration's perceptron, every time with the same weights, and with the features' standardisation."""
    model, section = config.model, config.dynamic_architecture
    assert section is not None
    architecture = Architecture.of_widths(
        dataset.window * len(dataset.feature_names),
        tuple(model.hidden_layers),
        model.output_dim,
        activation=model.activation,
        dropout=float(model.dropout),
        normalisation=section.normalisation,
    )
    with reproducible(torch.device("cpu"), seed=config.training.seed):
        network = DynamicNetwork(architecture)
    network.predicts = predicts_by(dataset.loss)
    if dataset.standardisation is not None:
        of_day = dataset.standardisation.mean, dataset.standardisation.scale
        network.standardise(*(torch.tensor(one, dtype=torch.float32).repeat(dataset.window) for one in of_day))
    return network


def _history(result: ArchitectureResult) -> History:
    phases = [result.first_measures, *(step.measures for step in result.steps)]
    history = History({name: [one[name] for one in phases] for name in result.first_measures})
    history.best_epoch, history.best_value = phases.index(phases[-1]) + 1, result.value
    history.stopped_early = result.why_over.startswith("patience")
    history.resumed_from = None if result.resumed_from is None else result.resumed_from + 1
    return history


def _facts(result: ArchitectureResult) -> dict[str, str]:
    return {
        "trained": f"{len(result.steps)} changes tried, {len(result.kept)} kept; {result.why_over}",
        "architecture": f"{result.architecture}, {result.network.n_parameters} parameters",
    }
