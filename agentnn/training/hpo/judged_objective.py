"""What a trial of ``agentnn run hpo`` is: a network trained on a data set and judged on its validation part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentnn.config.changes import with_changes
from agentnn.config.objectives import objectives_of
from agentnn.errors import ConfigError
from agentnn.training.hpo.fitted_objective import at_best_epoch, record_config, reporting, wanted_of
from agentnn.training.judging import Judged, judge_fitted
from agentnn.training.loop.history import OWN_METRICS
from agentnn.training.procedures import PLAIN, Procedure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.fitting import Fitted
    from agentnn.training.hpo.trial import Trial
    from agentnn.training.recording import RunLogger

VALIDATION = "validation_"
"""Begins the names of what is measured on the validation part."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedObjective:
    """Trains on the first part of a data set and judges by the second; the last one is left alone.

    Attributes:
        source: The data as they were read; each trial has them prepared for its own configuration.
        logger: Gets the values of each epoch.
        procedure: What trains.
    """

    source: Dataset
    logger: RunLogger | None = None
    procedure: Procedure = PLAIN

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Train, and give the study's metrics and all figures of the validation part."""
        record_config(trial)
        dataset = _without_test(self.prepared(trial.config))
        fitted = self.train(trial.config, dataset, trial.run, self.logger, reporting(trial))
        figures = validation_figures(judge_fitted(fitted, dataset, "validation", trial.config))
        return {**figures, **wanted_of(trial.config, {**at_best_epoch(fitted), **figures})}

    def prepared(self, config: Config) -> Dataset:
        """The data as the procedure needs them for a configuration."""
        return self.procedure.prepare(config, self.source)

    def train(
        self,
        config: Config,
        dataset: Dataset,
        run: ActiveRun | NullRun,
        logger: RunLogger | None = None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> Fitted:
        """Train a network as a configuration says, without checkpoints; every time the same one."""
        alone = with_changes(config, {("training", "checkpoints"): False}, "the configuration of the trial")
        return self.procedure.fit(alone, dataset, run, logger, on_epoch=on_epoch)


def _without_test(dataset: Dataset) -> Dataset:
    """The same without a sample of the test part: what is not there can't be looked at."""
    return replace(dataset, test=dataset.test.slice(slice(0)))


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
