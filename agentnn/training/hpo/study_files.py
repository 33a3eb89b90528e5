"""What a study leaves in its run: a table of its trials, the best one's configuration, and what decided."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from agentnn.config.loader import record_of
from agentnn.tracking.capture.guard import optional
from agentnn.training.hpo.sampling.space import with_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.results import StudyResult, TrialRecord

FOLDER = "study"
IMPORTANCE_PREFIX = "importance_"
_MOST_SHOWN_ROWS = 5000


def record_study(config: Config, run: ActiveRun, result: StudyResult) -> StudyResult:
    """Log the table, the best configuration and the importance of the hyperparameters.

    Args:
        config: The study's.
        run: The study's run.
        result: What it came to.

    Returns:
        The same, with the metrics that were logged.

    Warns:
        AgentNNWarning: Something of it could not be recorded.
    """
    with optional("the table of the trials"):
        _record_trials(run, result)
    if result.best is not None:
        with optional("the best trial's configuration"):
            best = with_params(config, result.best.params)
            run.log_text(record_of(best).to_yaml(), f"{FOLDER}/best_config.yaml")
    with optional("the importance of the hyperparameters"):
        _record_importance(run, result)
    return result


def trials_table(result: StudyResult, trials: Sequence[TrialRecord]) -> dict[str, list[Any]]:
    """Trials of a study as columns: what was tried and what came of it."""
    columns: dict[str, list[Any]] = {
        "number": [one.number for one in trials],
        "state": [one.state for one in trials],
        "run_id": [one.run_id for one in trials],
    }
    for place, objective in enumerate(result.objectives):
        columns[objective.metric] = [one.values[place] if one.values else None for one in trials]
    for name in _names(trials, "params"):
        columns[f"params.{name}"] = [one.params.get(name) for one in trials]
    for name in _names(trials, "metrics"):
        columns[f"metrics.{name}"] = [one.metrics.get(name) for one in trials]
    columns["duration_s"] = [one.duration_s for one in trials]
    columns["retry_of"] = [one.retry_of for one in trials]
    columns["reason"] = [one.reason for one in trials]
    return columns


def _names(trials: Sequence[TrialRecord], what: str) -> list[str]:
    return list(dict.fromkeys(name for one in trials for name in getattr(one, what)))


def _record_trials(run: ActiveRun, result: StudyResult) -> None:
    columns = trials_table(result, result.trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    run.log_text(text.getvalue(), f"{FOLDER}/trials.csv")
    run.log_table({name: values[:_MOST_SHOWN_ROWS] for name, values in columns.items()}, f"{FOLDER}/trials.json")


def _record_importance(run: ActiveRun, result: StudyResult) -> None:
    from agentnn.tracking.figures.importance import share_bars

    importance = result.importance
    if importance is None:
        return
    run.log_dict(importance.to_dict(), f"{FOLDER}/importance.json")
    run.log_metrics({f"{IMPORTANCE_PREFIX}{name}": share for name, share in importance.shares.items()})
    if importance.shares:
        run.log_figure(share_bars(importance.shares, importance.metric), f"{FOLDER}/importance.png")
