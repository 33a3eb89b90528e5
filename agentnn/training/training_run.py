"""One tracked run from a configuration: data, training, judgement, and what the run keeps of it.

Metrics without a prefix, such as ``sharpe_ratio``, are those of the test part, which neither training nor the choice of
the best epoch sees; errors there begin with ``test_``, everything of the validation part with ``validation_``.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentnn.config.trainers import TRAINERS
from agentnn.records import non_finite_keys
from agentnn.training.judging import judge_fitted
from agentnn.training.procedures import PLAIN
from agentnn.training.trading import say_if_the_rhythm_is_another, why_not_traded
from agentnn.training.training_record import TrainingRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.fitting import Fitted
    from agentnn.training.judging import Judged
    from agentnn.training.procedures import Procedure
    from agentnn.training.recording import Organizer, TrainingLogger

BENCHMARK_FIGURES = ("total_return", "sharpe_ratio", "max_drawdown")
"""What is logged of buying and holding, with the prefix :data:`BENCHMARK`."""

BENCHMARK = "buy_and_hold_"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What a training came to.

    Attributes:
        run_id: The run's id in the store; ``None`` while the store has not answered.
        uuid: Our own id of the run.
        name: The run's name.
        metrics: The final metrics, as they are in the run.
        history: A value an epoch of every metric.
        best_epoch: The epoch whose weights were kept, from 1.
        stopped_early: Whether patience ran out.
        resumed_from: The epoch of the checkpoint that it went on from, if it did.
        dataset: Facts of the data.
        validation: How the network did on the validation part.
        test: How it did on the test part; ``None`` where that was left alone.
        model: The trained network.
        untraded: Why there is no backtest; empty where there is one.
        facts: What the trainer tells of how it went, by name.
        registered: Name and version of the registered model, such as ``alpha/3``; ``None`` where it is none.
    """

    run_id: str | None
    uuid: str
    name: str
    metrics: Mapping[str, float]
    history: Mapping[str, list[float]]
    best_epoch: int
    stopped_early: bool
    resumed_from: int | None
    dataset: Mapping[str, Any]
    validation: Judged = field(repr=False)
    test: Judged | None = field(repr=False)
    model: nn.Module = field(repr=False)
    untraded: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    registered: str | None = None

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.history["train_loss"])

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run_id": self.run_id,
            "uuid": self.uuid,
            "name": self.name,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "stopped_early": self.stopped_early,
            "resumed_from": self.resumed_from,
            "registered": self.registered,
            "dataset": dict(self.dataset),
            "facts": dict(self.facts),
            "metrics": {key: _finite(value) for key, value in self.metrics.items()},
            "non_finite": non_finite_keys(self.metrics),
            "history": {key: [_finite(value) for value in values] for key, values in self.history.items()},
        }


def train_once(
    config: Config,
    dataset: Dataset,
    organizer: Organizer,
    logger: TrainingLogger,
    *,
    run: ActiveRun | None = None,
    run_name: str | None = None,
    tags: Mapping[str, Any] | None = None,
    procedure: Procedure = PLAIN,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    checkpoint_dir: Path | None = None,
    resume: bool = False,
    logged_epochs: int = 0,
    test: bool = True,
    details: bool = True,
) -> TrainingResult:
    """Train once, in a run of its own or in one that is open.

    Args:
        config: The whole configuration.
        dataset: What ``load_dataset`` gave and ``procedure`` prepared.
        organizer: Starts the run.
        logger: Logs to the current run.
        run: The run, where it is open already; it stays open.
        run_name: The name of a run that is started here; by the organizer's pattern without one.
        tags: More tags of a run that is started here.
        procedure: What trains.
        on_epoch: Called after every epoch; what it raises goes through.
        checkpoint_dir: Where checkpoints are kept; as ``training.checkpoint_dir`` says without it.
        resume: Whether to go on from the last checkpoint there.
        logged_epochs: Epochs whose values the run has already, and does not get again.
        test: Whether the test part is judged; a trial of a study leaves it alone.
        details: Whether to log, beside configuration and metrics, what a person looks at: environment, data, summary,
            predictions, importance, backtest and figures; and the model, where ``tracking.log_model`` says so.

    Raises:
        ConfigError: The configuration does not fit the data.
        TrainingError: The loss, or a prediction, is no longer finite.
    """
    shared = tags_of(config, dataset)
    missing = {name: value for name, value in shared.items() if name not in organizer.tags}
    started = nullcontext(run) if run is not None else organizer.start_run(run_name, tags={**missing, **(tags or {})})
    with started as opened:
        record = TrainingRecord(opened, logger, config, dataset)
        record.beginning(details=details)
        fitted = procedure.fit(
            config,
            dataset,
            opened,
            _Later(logger, logged_epochs) if logged_epochs else logger,
            on_epoch=on_epoch,
            checkpoint_dir=checkpoint_dir,
            resume=resume,
        )
        validation = judge_fitted(fitted, dataset, "validation", config)
        tested = judge_fitted(fitted, dataset, "test", config) if test else None
        metrics = _metrics(config, fitted, validation, tested)
        shown = record.details(fitted, tested) if details else {}
        record.metrics({key: value for key, value in metrics.items() if key not in shown}, tested)
        return TrainingResult(
            run_id=opened.find_run_id(),
            uuid=opened.uuid,
            name=opened.name,
            metrics={**{key: values[-1] for key, values in fitted.history.items()}, **shown, **metrics},
            history=fitted.history,
            best_epoch=fitted.history.best_epoch,
            stopped_early=fitted.history.stopped_early,
            resumed_from=fitted.history.resumed_from,
            dataset=dataset.description,
            validation=validation,
            test=tested,
            model=fitted.model,
            untraded=why_not_traded(dataset, config.backtest),
            facts=fitted.facts,
        )


def check_fit(config: Config, dataset: Dataset, procedure: Procedure = PLAIN) -> None:
    """Whether training and backtest can be had for these data, before anything is recorded.

    Raises:
        ConfigError: One of them can't.

    Warns:
        AgentNNWarning: The days of the data say that a year has another number of periods.
    """
    if not why_not_traded(dataset, config.backtest):
        say_if_the_rhythm_is_another(dataset, config.backtest)
    procedure.check(config, dataset)


def tags_of(config: Config, dataset: Dataset) -> dict[str, str]:
    """What runs are found by, though the configuration may not say it itself."""
    tags = {"model_type": config.model.family, "dataset": dataset.name}
    if config.trainer is None:
        return tags
    return {**tags, "model_type": TRAINERS[config.trainer].model_type or config.model.family, "trainer": config.trainer}


def _metrics(config: Config, fitted: Fitted, validation: Judged, test: Judged | None) -> dict[str, float]:
    """What is logged once, at the end."""
    history = fitted.history
    metrics = {f"best_{config.training.monitor}": history.best_value, "best_epoch": float(history.best_epoch)}
    metrics |= {f"validation_{name}": value for name, value in validation.metrics.items()}
    if test is not None:
        metrics |= {f"test_{name}": value for name, value in test.errors.items()}
        if test.traded is not None:
            held = test.traded.buy_and_hold
            metrics |= test.traded.figures
            metrics |= {f"{BENCHMARK}{name}": held[name] for name in BENCHMARK_FIGURES if name in held}
    return metrics


class _Later:
    """Lets only the values of later epochs through."""

    def __init__(self, logger: TrainingLogger, after: int) -> None:
        self._logger = logger
        self._after = after

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Keep values of metrics at a step, unless the run has them."""
        if step > self._after:
            self._logger.log_metrics(metrics, step)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
