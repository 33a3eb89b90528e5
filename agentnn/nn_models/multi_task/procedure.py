"""``trainer: multi_task``: the target of the data, and beside it tasks that are derived from the prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.multi_task.configured import options_of, source_of
from agentnn.nn_models.multi_task.files import MainTask
from agentnn.nn_models.multi_task.metrics import errors_by_task
from agentnn.nn_models.multi_task_learning import MultiTaskTrainer
from agentnn.tracking.active_run import NullRun
from agentnn.training.fitting import Fitted
from agentnn.training.loop.optimisation import build_optimizer, build_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch.optim import Optimizer

    from agentnn.config.schema import Config
    from agentnn.nn_models.multi_task.options import MultiTaskOptions
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.loop.optimisation import Schedule
    from agentnn.training.recording import RunLogger

    Labels = dict[str, NDArray[np.float64]]


class MultiTaskTraining:
    """Trains all tasks; what it gives predicts the main one, which is judged and traded as ever.

    The errors of each task are measured as well, on the validation and on the test part, as
    ``test_<task>_<metric>``: see :func:`~agentnn.nn_models.multi_task.metrics.errors_by_task`.
    """

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data as they are."""
        return dataset

    def check(self, config: Config, dataset: Dataset) -> None:
        """See :class:`~agentnn.training.procedures.Procedure`: tasks, labels, network, optimizer and scheduler."""
        options = options_of(config, dataset.loss)
        n_features = len(dataset.feature_names)
        if config.model.input_dim not in (None, n_features):
            raise ConfigError(
                f"model.input_dim is {config.model.input_dim}, but the data have {n_features} features",
                hint=f"leave model.input_dim out, or set it to {n_features}",
            )
        labels = [_labels(config, dataset, options, part) for part in ("train", "validation")]
        trainer = _trainer(config, options, NullRun())
        try:
            with torch.random.fork_rng(devices=[]):
                trainer.check(dataset.train.inputs, labels[0], dataset.validation.inputs, labels[1])
        except ConfigError:
            raise
        except UsageError as error:
            raise ConfigError(f"multi_task: {error.message}", hint=error.hint) from error

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
        options = options_of(config, dataset.loss)
        folder = checkpoint_dir or options.training.checkpoint_dir
        training = replace(options.training, checkpoint_dir=folder, resume=resume, log_every=config.tracking.log_every)
        result = _trainer(config, replace(options, training=training), run).fit(
            dataset.train.inputs,
            _labels(config, dataset, options, "train"),
            dataset.validation.inputs,
            _labels(config, dataset, options, "validation"),
            logger=logger if logger is not None else NullRun(),
            on_epoch=on_epoch,
        )
        model, source = MainTask(result.network, options.main_task.name), source_of(config, options)
        return Fitted(
            model.eval(),
            result.history,
            result.device,
            dataset.loss,
            errors_beside=lambda data, part: errors_by_task(result.network, part.inputs, source.labels(data, part)),
        )


def _labels(config: Config, dataset: Dataset, options: MultiTaskOptions, part: str) -> Labels:
    return source_of(config, options).labels(dataset, getattr(dataset, part))


def _trainer(config: Config, options: MultiTaskOptions, run: ActiveRun | NullRun) -> MultiTaskTrainer:
    """A trainer with the optimizer and the schedule that the configuration names."""

    def make_optimizer(groups: list[dict[str, Any]]) -> Optimizer:
        return build_optimizer(config.training, groups)

    def make_scheduler(optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
        return build_schedule(config.training, optimizer, steps_per_epoch)

    return MultiTaskTrainer(options, make_optimizer=make_optimizer, make_scheduler=make_scheduler, run=run)
