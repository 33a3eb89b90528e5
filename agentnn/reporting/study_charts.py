"""The charts of a study, as data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.records import iso_time
from agentnn.reporting.cells import is_number, is_wide
from agentnn.reporting.curves import thinned
from agentnn.reporting.document import (
    Block,
    ContourChart,
    LineChart,
    Missing,
    ParallelChart,
    ScatterChart,
    Series,
    Span,
    TimelineChart,
)
from agentnn.reporting.trials import MOST_TRIAL_CURVES, best_trials
from agentnn.reporting.words import counted, listed, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.reporting.document import Point, Table
    from agentnn.reporting.gather import StudyFacts

Importance = list[tuple[str, float, float | None]]

_MOST_AXES, _MOST_PANELS = 10, 12
_FEWEST_FOR_LEVELS = 6
_MOST_SPANS = 500
_CURVE_POINTS = 100


def optimisation_history(facts: StudyFacts) -> Block:
    """The value of each trial, and the best so far."""
    objective = facts.objective
    ended = [one for one in facts.trials if one.is_comparable]
    if objective.metric is None or not ended:
        return Missing("optimisation history", "no complete trial has a finite value")
    better = max if objective.direction == "max" else min
    so_far: float | None = None
    best: list[Point] = []
    for one in facts.trials:
        if one.is_comparable and one.value is not None:
            so_far = one.value if so_far is None else better(so_far, one.value)
        best.append(so_far)
    first = next(one for one in best if one is not None)
    assert so_far is not None
    values = {
        state: tuple(
            one.value if one.state == state and one.value is not None and math.isfinite(one.value) else None
            for one in facts.trials
        )
        for state in ("complete", "pruned")
    }
    series = [Series("complete trials", values["complete"], style="points")]
    if any(value is not None for value in values["pruned"]):
        series.append(Series("pruned trials, their last value", values["pruned"], style="points"))
    series.append(Series("best so far", tuple(best), style="steps", is_main=True))
    found = best.index(so_far)
    return LineChart(
        "optimisation",
        "Optimisation history",
        f"The best {objective.metric} goes from {number(first)} to {number(so_far)}, reached by trial "
        f"{facts.trials[found].number} of {len(facts.trials)}.",
        tuple(series),
        x=tuple(one.number for one in facts.trials),
        x_title="trial",
        y_title=objective.metric,
        can_log=True,
    )


def intermediate_values(facts: StudyFacts) -> list[Block]:
    """The objective's curve in each trial: why some were pruned."""
    of_run = {one.run_id: one for one in facts.trials}
    drawn = [(of_run[run_id], curve) for run_id, curve in facts.curves.items() if run_id in of_run]
    if not drawn:
        return []
    ranked = best_trials([trial for trial, _ in drawn], facts.objective.direction)
    series = []
    for trial, curve in sorted(drawn, key=lambda pair: pair[0].number):
        kept = thinned(curve.y, _CURVE_POINTS)
        series.append(
            Series(
                f"trial {trial.number}" + ("" if trial.state == "complete" else f" ({trial.state})"),
                tuple(curve.y[place] for place in kept),
                tuple(curve.x[place] for place in kept),
                group=trial.state,
                style="dash" if trial.state == "pruned" else "line",
                is_main=bool(ranked) and trial is ranked[0],
                points=curve.points if len(kept) < curve.points else None,
            )
        )
    note = ""
    if len(facts.curves) >= MOST_TRIAL_CURVES:
        note = f"{len(drawn)} of {len(facts.trials):,} trials: those with the best values"
    elif len(drawn) < len(facts.trials):
        note = f"{counted(len(facts.trials) - len(drawn), 'trial')} without such a curve"
    return [
        LineChart(
            "intermediate",
            f"{facts.objective.metric} within the trials",
            f"The course of {facts.objective.metric} in {counted(len(drawn), 'trial')}; the best one stands out.",
            tuple(series),
            y_title=facts.objective.metric or "",
            can_log=True,
            note=note,
        )
    ]


def pareto(facts: StudyFacts) -> list[Block]:
    """Of several objectives, the first two against each other."""
    if not facts.objective.others or facts.objective.metric is None:
        return []
    keys = ["value", *(f"value.{place + 1}" for place in range(len(facts.objective.others)))]
    return [
        ScatterChart(
            "pareto",
            "Objectives against each other",
            f"{facts.objective.metric} over {facts.objective.others[0][0]} of {counted(len(facts.trials), 'trial')}.",
            "trials",
            keys[1],
            keys[0],
            choices=tuple(keys),
            colour="state",
            label="number",
        )
    ]


def parallel(facts: StudyFacts, table: Table, importance: Importance) -> Block:
    """Each trial as a line through its params to its value."""
    params = _params(facts, importance)
    if not params or facts.objective.metric is None or not _complete(facts):
        return Missing("parallel coordinates", _why_no_params(facts))
    shown = params[:_MOST_AXES]
    left_out = f"the first {_MOST_AXES} of {len(params)} params" if len(params) > _MOST_AXES else ""
    return ParallelChart(
        "parallel",
        "Parallel coordinates",
        f"{counted(_complete(facts), 'trial')} as lines through {listed(shown)} to {facts.objective.metric}.",
        "trials",
        tuple(f"params.{key}" for key in shown),
        "value",
        facts.objective.direction,
        log_columns=_log_columns(table, shown),
        note=left_out,
    )


def slices(facts: StudyFacts, table: Table, importance: Importance) -> Block:
    """The value over each param."""
    params = _params(facts, importance)
    if not params or facts.objective.metric is None or not _complete(facts):
        return Missing("slices", _why_no_params(facts))
    shown = params[:_MOST_PANELS]
    best = best_trials(facts.trials, facts.objective.direction)[0]
    left_out = f"the first {_MOST_PANELS} of {len(params)} params" if len(params) > _MOST_PANELS else ""
    return ScatterChart(
        "slices",
        "Slices",
        f"{facts.objective.metric} over each of {listed(shown)}, a point for each trial.",
        "trials",
        f"params.{shown[0]}",
        "value",
        colour="number",
        label="number",
        panels=tuple(f"params.{key}" for key in shown),
        log_columns=_log_columns(table, shown),
        main_row=facts.trials.index(best),
        note=left_out,
    )


def contour(facts: StudyFacts, table: Table, importance: Importance) -> Block:
    """The value over the two params that matter most: by their importance, or else the only two that are numbers."""
    numeric = [
        key
        for key in _params(facts, importance)
        if len({one.params.get(key) for one in facts.trials if one.is_comparable and is_number(one.params.get(key))})
        > 2
        and table.columns[table.place(f"params.{key}")].shape == "number"
    ]
    known = [name for name, _, _ in importance]
    chosen = [key for key in numeric if key in known][:2] if importance else numeric
    if facts.objective.metric is None or _complete(facts) < _FEWEST_FOR_LEVELS or len(numeric) < 2:
        return Missing("contour", "it needs two params that are numbers and six complete trials")
    if len(chosen) != 2:
        return Missing("contour", "which two params matter most is not known: the study logged no importance")
    return ContourChart(
        "contour",
        f"{facts.objective.metric} over {chosen[0]} and {chosen[1]}",
        f"Where in {chosen[0]} and {chosen[1]} the {facts.objective.metric} of {counted(_complete(facts), 'trial')} is "
        "low or high.",
        "trials",
        f"params.{chosen[0]}",
        f"params.{chosen[1]}",
        "value",
        facts.objective.direction,
        log_columns=_log_columns(table, chosen),
    )


def timeline(facts: StudyFacts) -> Block:
    """When each trial ran."""
    spans = [
        Span(f"trial {one.number}", start, iso_time(one.run.end_time), one.state)
        for one in facts.trials
        if (start := iso_time(one.run.start_time)) is not None
    ]
    if not spans:
        return Missing("timeline", "no trial has a start time")
    at_once = _most_at_once(facts)
    note = f"the first {_MOST_SPANS} of {len(spans):,} trials" if len(spans) > _MOST_SPANS else ""
    return TimelineChart(
        "timeline",
        "Timeline",
        f"{counted(len(spans), 'trial')}, at most {at_once} at once.",
        tuple(spans[:_MOST_SPANS]),
        note,
    )


def _most_at_once(facts: StudyFacts) -> int:
    moments: list[tuple[int, int]] = []
    for one in facts.trials:
        if one.run.start_time is not None:
            moments.append((one.run.start_time, 1))
            moments.append((one.run.end_time, -1) if one.run.end_time is not None else (one.run.start_time, 0))
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def _params(facts: StudyFacts, importance: Importance) -> list[str]:
    """The params that were searched, the most important ones first, where that is known."""
    order = {name: place for place, (name, _, _) in enumerate(importance)}
    keys = {key for one in facts.trials for key in one.params}
    return sorted(keys, key=lambda key: (order.get(key, len(order)), key))


def _why_no_params(facts: StudyFacts) -> str:
    return "no complete trial has a finite value" if not _complete(facts) else "no param differs between the trials"


def _complete(facts: StudyFacts) -> int:
    return sum(one.is_comparable for one in facts.trials)


def _log_columns(table: Table, params: Sequence[str]) -> tuple[str, ...]:
    """The params that were searched over two powers of ten or more."""
    return tuple(f"params.{key}" for key in params if is_wide(table.column(f"params.{key}")))
