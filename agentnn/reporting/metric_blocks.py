"""Metrics as blocks: the key figures, the table of all, and the learning curves."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from agentnn.reporting.directions import is_aside, known_name
from agentnn.reporting.document import (
    Block,
    Column,
    Figure,
    Figures,
    LineChart,
    Mark,
    Missing,
    Series,
    Table,
    cell,
)
from agentnn.reporting.shapes import shown
from agentnn.reporting.words import counted, listed, number
from agentnn.tracking.backtests.backtest_results import COMPUTED_TAG, CONVENTIONS_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.conventions import Direction
    from agentnn.records import Run
    from agentnn.reporting.curves import Curve
    from agentnn.reporting.directions import Directions
    from agentnn.reporting.document import Shape

_MOST_FIGURES = 8
_MOST_CHARTS = 24
_PARTS = ("train", "training", "val", "valid", "validation", "test", "eval")
_FRACTIONS = ("total_return", "annual_return", "annual_volatility", "max_drawdown", "win_rate", "exposure")
"""What agentnn computes itself as a fraction; what a user has given may as well be in per cent."""

_BENCHMARK = "buy_and_hold_"
_IN_WORDS = {"max": "greater", "min": "smaller", None: "not declared"}


def metric_blocks(run: Run, curves: Mapping[str, Curve], directions: Directions) -> list[Block]:
    """The key figures of a run, and a table of all its metrics."""
    if not run.metrics:
        return [Missing("metrics", "the run logged none")]
    ordered = directions.ordered(run.metrics)
    key = directions.key_metrics(run.metrics, _MOST_FIGURES)
    figures = tuple(_figure(run, metric, curves.get(metric), directions) for metric in key)
    blocks: list[Block] = [Figures(figures)]
    undeclared = [metric for metric in key if directions.direction(metric) is None]
    if undeclared:
        blocks.append(
            Missing(
                f"the better direction of {listed(undeclared)}",
                'nobody says it: declare it in pyproject.toml, [tool.agentnn.metrics] NAME = "min"',
            )
        )
    if len(run.metrics) > len(key) or any(curve.points > 1 for curve in curves.values()):
        blocks.append(_table(run, ordered, curves, directions))
    return blocks


def shape_of(metric: str, run: Run, directions: Directions) -> Shape:
    """How a metric's values are shown: as per cent where they are known to be fractions."""
    if directions.of(metric).unit == "fraction":
        return "percent"
    if known_name(metric) not in _FRACTIONS or CONVENTIONS_TAG not in run.tags:
        return "number"
    # Of a backtest that a user logged, some metrics may be the user's own, in whatever unit.
    computed = run.tags.get(COMPUTED_TAG)
    return "percent" if computed is None or metric in computed.split(", ") else "number"


def value_text(value: float, metric: str, run: Run, directions: Directions) -> str:
    """A metric's value in a sentence, as the cards show it."""
    return shown(cell(value), shape_of(metric, run, directions), digits=directions.of(metric).digits)


def learning_curves(curves: Mapping[str, Curve], directions: Directions, what: str = "the run") -> list[Block]:
    """A chart for each metric with two values or more; those of one metric on several parts of the data share one."""
    several = {key: curve for key, curve in curves.items() if curve.points > 1}
    if not several:
        return [Missing("learning curves", f"no metric of {what} has two values")]
    drawn = {key: curve for key, curve in several.items() if not (is_aside(key) and curve.is_constant)}
    groups: dict[tuple[str, bool], list[Curve]] = {}
    for key in directions.ordered(drawn):
        groups.setdefault((stem_of(key, drawn), drawn[key].is_numbered), []).append(drawn[key])
    charts: list[Block] = []
    for place, ((stem, _), members) in enumerate(groups.items()):
        if place == _MOST_CHARTS:
            charts.append(Missing(f"{len(groups) - place} more charts", "a page with all of them could not be read"))
            break
        charts.append(_chart(place, stem, members, directions))
    left_out = [Missing(key, f"it is {number(several[key].last.value)} throughout") for key in several.keys() - drawn]
    return charts + sorted(left_out, key=lambda one: one.what)


def stem_of(metric: str, others: Mapping[str, object]) -> str:
    """A metric without the part of the data it is about, where it is there for another part, too."""
    found = re.fullmatch(rf"({'|'.join(_PARTS)})([_./-])(.+)", metric)
    if found is None:
        return metric
    siblings = [f"{part}{sign}{found[3]}" for part in _PARTS for sign in "_./-"] + [found[3]]
    return found[3] if any(one != metric and one in others for one in siblings) else metric


def range_in_words(curve: Curve) -> str:
    """How a curve goes, for those who can't see it."""
    if curve.lowest is None or curve.highest is None:
        return f"{curve.key} has no finite value"
    first = next(value for value in curve.y if value is not None)
    return (
        f"{curve.key} goes from {number(first)} to {number(curve.last.value)}, lowest {number(curve.lowest.value)} at "
        f"{curve.lowest.step}, highest {number(curve.highest.value)} at {curve.highest.step}"
    )


def curve_notes(curves: Sequence[Curve]) -> str:
    """What a reader must know of drawn curves: thinned, gaps, no steps."""
    notes = [
        f"{curve.key}: {len(curve.x):,} of {curve.points:,} points are drawn, every extreme among them"
        for curve in curves
        if curve.is_thinned
    ]
    notes += [f"{curve.key}: {counted(curve.gaps, 'value')} not finite" for curve in curves if curve.gaps]
    if any(curve.is_numbered for curve in curves):
        notes.append("all values were logged at one step: they are numbered in their order")
    return "; ".join(notes)


def _figure(run: Run, metric: str, curve: Curve | None, directions: Directions) -> Figure:
    value = run.metrics[metric]
    said = directions.of(metric)
    direction = directions.direction(metric)
    notes = [] if math.isfinite(value) else ["not a finite number"]
    best = curve.best(direction) if curve is not None and curve.points > 1 else None
    if best is not None and best.value != value:
        notes.append(f"best {number(best.value)} at step {best.step}")
    if said.convention:
        notes.append(said.convention)
    delta = value - run.metrics.get(f"{_BENCHMARK}{metric}", math.nan)
    has_delta = math.isfinite(delta)
    return Figure(
        metric,
        cell(value),
        direction,
        shape_of(metric, run, directions),
        "" if said.unit == "fraction" else said.unit,
        said.digits,
        delta=delta if has_delta else None,
        delta_to="buying and holding" if has_delta else "",
        is_better=(delta > 0) == (direction == "max") if has_delta and delta and direction else None,
        note="; ".join(notes),
    )


def _table(run: Run, ordered: Sequence[str], curves: Mapping[str, Curve], directions: Directions) -> Table:
    columns = (
        Column("metric", "Metric"),
        Column("last", "Last value", "number"),
        Column("best", "Best value", "number"),
        Column("best_step", "at step", "number", digits=0),
        Column("lowest", "Lowest", "number"),
        Column("highest", "Highest", "number"),
        Column("points", "Values", "number", digits=0),
        Column("direction", "Better is"),
    )
    rows = tuple(
        _row(metric, run.metrics[metric], curves.get(metric), directions.direction(metric)) for metric in ordered
    )
    marks = [Mark(place, 1, "wrong") for place, metric in enumerate(ordered) if not math.isfinite(run.metrics[metric])]
    return Table("all-metrics", "All metrics", columns, rows, tuple(marks), is_filterable=True, is_collapsed=True)


def _row(
    metric: str, value: float, curve: Curve | None, direction: Direction | None
) -> tuple[float | int | str | bool | None, ...]:
    best = curve.best(direction) if curve is not None else None
    lowest, highest = (curve.lowest, curve.highest) if curve is not None else (None, None)
    return (
        metric,
        cell(value),
        None if best is None else best.value,
        None if best is None else best.step,
        None if lowest is None else lowest.value,
        None if highest is None else highest.value,
        0 if curve is None else curve.points,
        _IN_WORDS[direction],
    )


def _chart(place: int, stem: str, members: Sequence[Curve], directions: Directions) -> LineChart:
    shared = members[0].x if all(one.x == members[0].x for one in members) else ()
    series = tuple(
        Series(
            one.key,
            one.y,
            None if shared else one.x,
            group=stem,
            style="dash" if number and one.key != members[0].key else "line",
            points=one.points if one.is_thinned else None,
        )
        for number, one in enumerate(members)
    )
    return LineChart(
        id=f"curve-{place}",
        title=stem,
        summary=f"{'; '.join(map(range_in_words, members))}.",
        series=series,
        x=shared,
        x_title="value number" if members[0].is_numbered else "step",
        y_title=directions.of(stem).unit or stem,
        can_log=True,
        can_smooth=any(one.points > 10 for one in members),
        note=curve_notes(members),
    )
