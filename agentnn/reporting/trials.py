"""The trials of a study: runs nested in a run, whoever made them.

Known are the tags of :mod:`agentnn.tracking.study_tags`, those of Optuna's ``MLflowCallback`` (``number``, ``state``,
``direction``) and of ``MlflowStorage`` (``numbers``, ``optuna.study_direction``; a pruned trial is KILLED there), and
MLflow's plain nested runs, which are numbered by their start.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from agentnn.errors import NotFoundError, UsageError
from agentnn.query.comparison import typed, varying_keys
from agentnn.query.expressions import Comparison, Field
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import nearest, parse_metric
from agentnn.records import PARENT_TAG
from agentnn.tracking.endings import REASON_TAG
from agentnn.tracking.study_tags import (
    BEST_PARAMS_TAG,
    OBJECTIVE_TAG,
    RETRIED_TAG,
    TRIAL_NUMBER_TAG,
    TRIAL_STATE_TAG,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from agentnn.conventions import Direction
    from agentnn.records import Run
    from agentnn.reporting.directions import Directions
    from agentnn.stores.base import TrackingStore

TrialState = Literal["complete", "pruned", "failed", "running"]

MOST_TRIAL_CURVES = 60
"""Trials whose curves a report shows."""

_NUMBER_TAGS = (TRIAL_NUMBER_TAG, "number", "numbers")
_STATES: dict[str, TrialState] = {"complete": "complete", "pruned": "pruned", "failed": "failed", "fail": "failed"}
_OF_STATUS: dict[str, TrialState] = {"FINISHED": "complete", "RUNNING": "running", "SCHEDULED": "running"}
_MLFLOW_STORAGE_TAG = "optuna.study_direction"
_OPTUNA_METRICS = ("value", "trial_value", "objective_value", "value_0")


class Objective(NamedTuple):
    """What the trials of a study are judged by.

    Attributes:
        metric: The metric; ``None`` where the trials have none.
        direction: Whether its greatest or smallest value is best.
        source: Who says so, in words.
        others: The further metrics of a study with several objectives, with their directions.
    """

    metric: str | None
    direction: Direction
    source: str
    others: tuple[tuple[str, Direction], ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        number: Its number.
        run_id: Its run.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        value: What it is judged by; of a pruned trial its last value. It may not be finite.
        others: The values of the further objectives.
        params: What was tried, as it is meant: numbers are numbers.
        run: Its run.
        reason: Why it was pruned or failed.
    """

    number: int
    run_id: str
    state: TrialState
    value: float | None
    others: tuple[float | None, ...]
    params: dict[str, Any]
    run: Run
    reason: str = ""

    @property
    def is_comparable(self) -> bool:
        """Whether it is complete and has a finite value."""
        return self.state == "complete" and self.value is not None and math.isfinite(self.value)


def find_trials(store: TrackingStore, parent: Run) -> list[Run]:
    """The runs that are nested in a run, deleted ones included: in its experiment, or else anywhere.

    Raises:
        NotFoundError: There is none.
    """
    nested = Comparison(Field("tag", PARENT_TAG), "=", parent.run_id)
    for experiments in ((parent.experiment_id,), None):
        found = list(store.search_runs(RunQuery(experiments, nested, view="all")))
        if found:
            return found
    raise NotFoundError(
        f"the run {parent.name or parent.run_id} has no trials: no run is nested in it",
        hint=f"for a single run: agentnn report training {parent.run_id}",
    )


def objective_of(parent: Run, trials: Sequence[Run], directions: Directions, asked: str | None = None) -> Objective:
    """What the trials of a study are judged by: what was asked, what the study says, or what most of them have.

    Raises:
        NotFoundError: No trial has the metric that was asked for.
        UsageError: The metric that was asked for has no name.
    """
    if asked is not None:
        return _asked(asked, trials, directions)
    said = [part.strip().partition(" ") for part in parent.tags.get(OBJECTIVE_TAG, "").split(",")]
    own = [(metric.strip(), _direction(mode)) for mode, _, metric in said if metric.strip()]
    known = [(metric, direction) for metric, direction in own if direction is not None]
    if known and len(known) == len(own):
        return Objective(*known[0], "the study says so", tuple(known[1:]))
    return _of_optuna(parent, trials) or _guessed(trials, directions)


def trials_of(runs: Sequence[Run], objective: Objective, parent: Run) -> tuple[list[Trial], int]:
    """The trials among nested runs, by number, and how many attempts that were repeated are left out.

    Args:
        runs: The nested runs.
        objective: What they are judged by.
        parent: The study's run.
    """
    meant = [run for run in runs if RETRIED_TAG not in run.tags]
    numbered = _numbered(sorted(meant, key=lambda run: (run.start_time or 0, run.run_id)))
    searched = _searched_params(meant, parent)
    kept: dict[int, Run] = {}
    for number, run in numbered:  # the latest attempt counts, unless only an earlier one was complete
        before = kept.get(number)
        if before is None or _state(before, parent) != "complete" or _state(run, parent) == "complete":
            kept[number] = run
    trials = [_trial(number, run, objective, parent, searched) for number, run in sorted(kept.items())]
    return trials, len(runs) - len(kept)


def best_trials(trials: Sequence[Trial], direction: Direction) -> list[Trial]:
    """The trials that can be compared, the best first; ties go to the smaller number."""
    sign = -1 if direction == "max" else 1
    return sorted((one for one in trials if one.is_comparable), key=lambda one: (sign * (one.value or 0.0), one.number))


def pareto_front(trials: Sequence[Trial], directions: Sequence[Direction]) -> list[Trial]:
    """Of several objectives, the complete trials that no other one beats in all of them."""
    signs = [-1 if direction == "max" else 1 for direction in directions]
    points = [
        (tuple(sign * value for sign, value in zip(signs, values, strict=True)), one)
        for one in trials
        if one.is_comparable
        and (values := [value for value in (one.value, *one.others) if value is not None and math.isfinite(value)])
        and len(values) == len(directions)
    ]
    return [
        one
        for own, one in points
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other, _ in points)
    ]


def _asked(asked: str, trials: Sequence[Run], directions: Directions) -> Objective:
    metric, mode = parse_metric(asked)
    if not metric:
        raise UsageError("--metric names no metric", hint="METRIC or METRIC:min")
    known = {key for run in trials for key in run.metrics}
    if metric not in known:
        near = nearest(metric, known)
        hint = f"did you mean {', '.join(near)}?" if near else f"they have {', '.join(sorted(known)[:5]) or 'none'}"
        raise NotFoundError(f"no trial has a metric {metric!r}", candidates=near, hint=hint)
    return Objective(metric, mode or directions.direction(metric) or "max", "as asked for")


def _of_optuna(parent: Run, trials: Sequence[Run]) -> Objective | None:
    """The objective of a study that Optuna tagged."""
    texts = [parent.tags.get(_MLFLOW_STORAGE_TAG, ""), *(run.tags.get("direction", "") for run in trials)]
    text = next((one for one in texts if "IMIZE" in one.upper()), "")
    directions = [_direction(word) for word in re.findall(r"m(?:in|ax)imize", text.lower())]
    if not directions or None in directions:
        return None
    keys = Counter(key for run in trials for key in run.metrics)
    if len(directions) > 1:
        names = _several(keys, len(directions))
        pairs = [(name, way) for name, way in zip(names, directions, strict=False) if way is not None]
        return Objective(*pairs[0], "Optuna's tags say so", tuple(pairs[1:])) if names else None
    named = [key for key in _OPTUNA_METRICS if keys[key]]
    usual = [key for key, count in keys.most_common() if key != "intermediate_value"]
    metric = next(iter(named), None) or (usual[0] if len(usual) == 1 else None)
    return Objective(metric, directions[0] or "min", "Optuna's tags say so") if metric else None


def _several(keys: Counter[str], count: int) -> list[str]:
    """The names of several objectives: what ends with ``_0``, ``_1``, …"""
    for key in sorted(keys):
        names = [f"{key.removesuffix('_0')}_{place}" for place in range(count)]
        if key.endswith("_0") and all(name in keys for name in names):
            return names
    return []


def _guessed(trials: Sequence[Run], directions: Directions) -> Objective:
    metric = directions.leading(trials)
    if metric is None:
        return Objective(None, "max", "no trial has a metric")
    direction = directions.direction(metric)
    if direction is not None:
        return Objective(metric, direction, "the study does not say; most trials have it")
    return Objective(metric, "max", "neither the study nor the project says what is better: the greatest counts")


def _direction(word: str) -> Direction | None:
    return {"min": "min", "minimize": "min", "max": "max", "maximize": "max"}.get(word.strip().lower())  # type: ignore[return-value]


def _numbered(runs: Sequence[Run]) -> list[tuple[int, Run]]:
    """Each run with its number: what its tag says, if all have one; the order of their start otherwise."""
    for tag in _NUMBER_TAGS:
        texts = [run.tags.get(tag, "") for run in runs]
        if all(text.isdecimal() and len(text) < 10 for text in texts):
            return [(int(text), run) for text, run in zip(texts, runs, strict=True)]
    return list(enumerate(runs))


def _searched_params(runs: Sequence[Run], parent: Run) -> list[str]:
    """The params that were searched: those that differ between the trials, and not between trial and configuration."""
    differing = varying_keys(runs, "params").differing
    if BEST_PARAMS_TAG in parent.tags:
        named = [key for key in differing if f'"{key}"' in parent.tags[BEST_PARAMS_TAG]]
        if named:
            conditional = [key for key in differing if key not in named and _is_conditional(key, runs)]
            return sorted({*named, *conditional})
    return sorted(differing)


def _is_conditional(key: str, runs: Sequence[Run]) -> bool:
    return any(key not in run.params for run in runs)


def _state(run: Run, parent: Run) -> TrialState:
    for tag in (TRIAL_STATE_TAG, "state"):
        said = run.tags.get(tag, "").rpartition(".")[2].lower()
        if said in _STATES:
            return _STATES[said]
    if run.status == "KILLED" and _MLFLOW_STORAGE_TAG in parent.tags:
        return "pruned"
    return _OF_STATUS.get(run.status, "failed")


def _trial(number: int, run: Run, objective: Objective, parent: Run, searched: Sequence[str]) -> Trial:
    value = None if objective.metric is None else run.metrics.get(objective.metric)
    if value is None and objective.metric in _OPTUNA_METRICS:
        value = run.metrics.get("intermediate_value")
    return Trial(
        number=number,
        run_id=run.run_id,
        state=_state(run, parent),
        value=value,
        others=tuple(run.metrics.get(metric) for metric, _ in objective.others),
        params={key: typed(run.params[key]) for key in searched if key in run.params},
        run=run,
        reason=run.tags.get(REASON_TAG, ""),
    )
