"""One trial where it runs: its own run, the objective, and how that ended."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, UsageError
from agentnn.settings import redact
from agentnn.tracking.endings import Ending
from agentnn.tracking.study_tags import RETRY_TAG
from agentnn.training.hpo.engines.engine import TrialOutcome
from agentnn.training.hpo.sampling.space import with_params

if TYPE_CHECKING:
    from agentnn.config.objectives import StudyObjective
    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.engines.engine import Report, TrialTask
    from agentnn.training.recording import StudyOrganizer


class TrialPruned(Exception):
    """Raised by an objective that ends its trial early; Optuna's exception of this name does the same."""


class WrongObjective(UsageError):
    """An objective that can't judge any trial, whatever its params; it ends the study."""


class Trial:
    """What an objective is given.

    >>> def objective(trial):  # doctest: +SKIP
    ...     model = build(trial.config)
    ...     for epoch in range(trial.config.training.epochs):
    ...         loss = train_an_epoch(model)
    ...         trial.report(loss, epoch)
    ...         if trial.should_prune():
    ...             raise TrialPruned
    ...     return loss

    Attributes:
        number: The trial's number in the study.
        params: What is tried, by the names of ``hpo.param_space``.
        config: The whole configuration with these values in place.
        run: The trial's run, which is open and the current one.
        last_step: The last step that was reported, if any was.
    """

    def __init__(self, task: TrialTask, config: Config, run: ActiveRun, report: Report | None) -> None:
        self.number = task.number
        self.params = dict(task.params)
        self.config = config
        self.run = run
        self.last_step: int | None = None
        self._report = report
        self._is_hopeless = False

    def report(self, value: float, step: int) -> None:
        """Tell the study how far the trial is, so that it can be pruned.

        Args:
            value: The objective's value at this point.
            step: How far: the epoch.

        Raises:
            UsageError: The step is no whole number from 0 on.
        """
        if not hasattr(step, "__index__") or step < 0:
            raise UsageError(f"a trial reports at whole steps from 0 on, not at {step!r}")
        self.last_step = step if self.last_step is None else max(step, self.last_step)
        if self._report is not None:
            self._is_hopeless = self._report(step, float(value))

    def should_prune(self) -> bool:
        """Whether the study's pruner found the last report hopeless."""
        return self._is_hopeless


Objective = Callable[[Trial], "float | Sequence[float] | Mapping[str, float]"]
"""Gives the value of the study's metric; of several metrics, their values in the order of ``hpo.objectives``; or values
by name, of which those that are no objective are kept as metrics. What it raises fails the trial, and not the study."""


@dataclass(frozen=True, slots=True)
class TrialWork:
    """What an engine runs: a whole trial, in its own run.

    Attributes:
        config: The study's configuration.
        objective: Judges one trial.
        objectives: What it gives values of.
        organizer: Starts and ends the runs.
        prunes: Whether reports are of any use.
    """

    config: Config
    objective: Objective
    objectives: tuple[StudyObjective, ...]
    organizer: StudyOrganizer
    prunes: bool = False

    def __call__(self, task: TrialTask, report: Report) -> TrialOutcome:
        """Run a trial; see :data:`~agentnn.training.hpo.engines.engine.Work`."""
        try:
            tags = {} if task.retry_of is None else {RETRY_TAG: task.retry_of}
            run = self.organizer.start_trial(
                task.number, task.params, parent_run_id=task.parent_run_id, tags=tags, uuid=task.run_uuid
            )
            with run:
                trial = Trial(task, self.config, run, report if self.prunes else None)
                outcome = self._tried(trial)
                run.log_metrics(dict(outcome.metrics))
                further = zip(self.objectives[1:], outcome.values[1:], strict=False)
                run.log_metrics({one.metric: value for one, value in further}, trial.last_step)
                self.organizer.finish_trial(
                    run,
                    task.number,
                    task.params,
                    outcome.values[0] if outcome.values else None,
                    state=outcome.state,
                    reason=outcome.reason,
                    step=trial.last_step,
                    wait=False,
                )
        except AgentNNError as error:  # the disk is full, or the experiment deleted
            return TrialOutcome("failed", reason=error.message, fatal=error)
        return outcome

    def _tried(self, trial: Trial) -> TrialOutcome:
        run = trial.run
        try:
            trial.config = with_params(self.config, trial.params)
            return self._outcome(self.objective(trial))
        except SystemExit as leaving:
            ending = Ending.of_exit(leaving.code)
            if ending.status == "KILLED":  # a signal, and not the objective's own doing
                raise
            return TrialOutcome("failed", reason=ending.reason or "the objective left with exit code 0")
        except WrongObjective as error:
            return TrialOutcome("failed", reason=error.message, fatal=error)
        except Exception as error:  # noqa: BLE001 - the boundary: a trial's error is the trial's
            if _prunes(error):
                return TrialOutcome("pruned", reason=str(error) or "pruned: others were better by then")
            secrets = run.settings.secrets.values()
            run.log_text(redact("".join(traceback.format_exception(error)), secrets), "traceback.txt")
            return TrialOutcome("failed", reason=redact(Ending.of(error).reason, secrets))

    def _outcome(self, returned: Any) -> TrialOutcome:
        """The values that an objective gave.

        Raises:
            WrongObjective: They are none.
        """
        values, metrics = self._named(returned) if isinstance(returned, Mapping) else (self._listed(returned), {})
        wrong = [
            f"{one.metric} is {value}"
            for one, value in zip(self.objectives, values, strict=True)
            if not math.isfinite(value)
        ]
        if wrong:
            return TrialOutcome("failed", metrics=metrics, reason=", ".join(wrong))
        return TrialOutcome("complete", values, metrics)

    def _named(self, returned: Mapping[str, Any]) -> tuple[tuple[float, ...], dict[str, float]]:
        numbers = {str(name): _number(value, f"{name} of the objective") for name, value in returned.items()}
        for one in self.objectives:
            if one.metric not in numbers:
                raise WrongObjective(
                    f"a trial has no metric {one.metric!r} to be judged by",
                    hint=f"hpo.metric is one of {', '.join(sorted(numbers))}",
                )
        named = tuple(numbers.pop(one.metric) for one in self.objectives)
        return named, numbers

    def _listed(self, returned: Any) -> tuple[float, ...]:
        given = list(returned) if isinstance(returned, (list, tuple)) else [returned]
        if len(given) != len(self.objectives):
            names = ", ".join(one.metric for one in self.objectives)
            raise WrongObjective(
                f"the objective gave {len(given)} values for {len(self.objectives)} ({names})",
                hint="return them in the order of hpo.objectives, or a dict by name",
            )
        return tuple(_number(value, "what the objective gave") for value in given)


def _number(value: Any, what: str) -> float:
    if hasattr(value, "item") and not isinstance(value, Real):  # a tensor or an array of one number
        try:
            value = value.item()
        except (RuntimeError, ValueError) as error:
            raise WrongObjective(f"{what} is no number: {error}") from error
    if not isinstance(value, Real):
        raise WrongObjective(f"{what} is no number but a {type(value).__name__}", hint="return a float")
    return float(value)


def _prunes(error: Exception) -> bool:
    optuna = sys.modules.get("optuna")
    return isinstance(error, TrialPruned) or (optuna is not None and isinstance(error, optuna.TrialPruned))
