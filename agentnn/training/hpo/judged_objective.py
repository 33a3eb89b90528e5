"""What a trial of ``agentnn run hpo`` is: a network trained on a data set and judged on its validation part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentnn.config.objectives import objectives_of
from agentnn.errors import ConfigError
from agentnn.training.fitting import Fitted, fit
from agentnn.training.hpo.fitted_objective import at_best_epoch, record_config, reporting, wanted_of
from agentnn.training.judging import Judged, judge
from agentnn.training.loop.history import OWN_METRICS

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.hpo.trial import Trial
    from agentnn.training.recording import RunLogger

VALIDATION = "validation_"
"""Begins the names of what is measured on the validation part."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedObjective:
    """Trains on the first part of a data set and judges by the second; the last one is left alone.

    Attributes:
        dataset: The data.
        logger: Gets the values of each epoch.
    """

    dataset: Dataset
    logger: RunLogger | None = None

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Train, and give the study's metrics and all figures of the validation part."""
        record_config(trial)
        fitted = train(trial.config, self.dataset, self.logger, trial)
        judged = judge(fitted.model, self.dataset, "validation", trial.config)
        figures = validation_figures(judged)
        return {**figures, **wanted_of(trial.config, {**at_best_epoch(fitted), **figures})}


def train(config: Config, dataset: Dataset, logger: RunLogger | None = None, trial: Trial | None = None) -> Fitted:
    """Train a network as a configuration says; every time the same one."""
    return fit(
        config,
        dataset.train.inputs,
        dataset.train.targets,
        dataset.validation.inputs,
        dataset.validation.targets,
        logger,
        standardisation=dataset.standardisation,
        loss=dataset.loss,
        on_epoch=None if trial is None else reporting(trial),
        checkpoints=False,
    )


def validation_figures(judged: Judged) -> dict[str, float]:
    """What was measured on the validation part, under the names that it has in a run."""
    return {f"{VALIDATION}{name}": value for name, value in judged.metrics.items()}


def check_objectives(config: Config) -> None:
    """Whether trials can have the metrics that they are to be judged by, as far as the names say.

    Raises:
        ConfigError: They can't: a name without a prefix, such as ``sharpe_ratio``, is of the test part.
    """
    for one in objectives_of(config.hpo):
        if one.metric not in OWN_METRICS and not one.metric.startswith(VALIDATION):
            raise ConfigError(
                f"trials can't be judged by {one.metric!r}: they see no more than the validation part",
                hint=f"hpo.metric: {VALIDATION}{one.metric.removeprefix('test_')}, or one of {', '.join(OWN_METRICS)}",
            )
