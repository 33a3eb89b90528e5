"""What a trial is by default: a network trained as the trial's configuration says, judged at its best epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.config.history import ARTIFACT
from agentnn.config.loader import record_of
from agentnn.config.objectives import objectives_of
from agentnn.training.fitting import Fitted, fit
from agentnn.training.hpo.trial import Trial, TrialPruned, WrongObjective

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from agentnn.config.schema import Config
    from agentnn.training.recording import RunLogger


@dataclass(frozen=True, slots=True, eq=False)
class FittedObjective:
    """Trains on given data.

    Attributes:
        X_train, y_train, X_val, y_val: As ``fit`` takes them.
        logger: Gets the values of each epoch.
        build_model: Makes another model than the configuration's families.
    """

    X_train: Any
    y_train: Any
    X_val: Any
    y_val: Any
    logger: RunLogger | None = None
    build_model: Callable[[Config], nn.Module] | None = None

    def __call__(self, trial: Trial) -> dict[str, float]:
        """Train, and give the study's metrics at the best epoch."""
        record_config(trial)
        fitted = fit(
            trial.config,
            self.X_train,
            self.y_train,
            self.X_val,
            self.y_val,
            self.logger,
            build_model=self.build_model,
            on_epoch=reporting(trial),
            checkpoints=False,
        )
        return wanted_of(trial.config, at_best_epoch(fitted))


def record_config(trial: Trial) -> None:
    """Keep the trial's whole configuration in its run, which ``agentnn run replay`` repeats it by."""
    record = record_of(trial.config)
    trial.run.log_text(record.to_yaml(), ARTIFACT)
    trial.run.set_tags(record.tags)


def reporting(trial: Trial) -> Callable[[int, Mapping[str, float]], None]:
    """Reports each epoch to the study, and ends a hopeless trial."""
    metric = objectives_of(trial.config.hpo)[0].metric

    def report(epoch: int, values: Mapping[str, float]) -> None:
        value = values.get(metric)
        if value is None:  # it is known at the end only
            trial.last_step = epoch
            return
        trial.report(value, epoch)
        if trial.should_prune():
            raise TrialPruned(f"pruned after epoch {epoch}")

    return report


def at_best_epoch(fitted: Fitted) -> dict[str, float]:
    """What was measured in the epoch whose weights were kept; NaN where there is none."""
    return fitted.history.at_best()


def wanted_of(config: Config, known: Mapping[str, float]) -> dict[str, float]:
    """The metrics that a study looks at.

    Raises:
        WrongObjective: One of them is not known.
    """
    wanted = [one.metric for one in objectives_of(config.hpo)]
    for name in wanted:
        if name not in known:
            raise WrongObjective(
                f"a trial has no metric {name!r} to be judged by", hint=f"hpo.metric: one of {', '.join(sorted(known))}"
            )
    return {name: known[name] for name in wanted}
