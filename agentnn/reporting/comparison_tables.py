"""The tables of a comparison: all runs, a few side by side, and any two columns against each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.query.comparison import varying_keys
from agentnn.records import COMMIT_TAG, iso_time
from agentnn.reporting.cells import (
    GrowingTable,
    best_places,
    difference,
    is_number,
    is_wide,
    metric_cell,
    param_cell,
    shape_of_cells,
    wrong_places,
)
from agentnn.reporting.curves import rounded
from agentnn.reporting.directions import is_aside
from agentnn.reporting.document import Block, Column, Mark, Missing, ScatterChart, Table
from agentnn.reporting.metric_blocks import shape_of
from agentnn.reporting.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.conventions import Direction
    from agentnn.records import Run
    from agentnn.reporting.document import Cell, Shape
    from agentnn.reporting.gather import ComparisonFacts

_MOST_METRICS, _MOST_PARAMS = 60, 60
_FEW_RUNS = 6
"""So many are shown side by side, a column each; of more, a row each."""

_MANY_RUNS = 50
"""Of more, only the leading metric has a column of differences from the baseline, and metrics have seven digits: a page
of a thousand runs is to stay small."""

_DIGITS, _DELTA_DIGITS = 7, 10
_IN_WORDS = {"max": "greater", "min": "smaller", None: "not declared"}


def run_blocks(facts: ComparisonFacts, names: Mapping[str, str]) -> list[Block]:
    """All runs with what differs between them, what does not, and a chart of any two columns."""
    table = _all_runs(facts, names)
    blocks: list[Block] = []
    if len(facts.runs) <= _FEW_RUNS:
        side_by_side = _metrics_side_by_side(facts, names)
        blocks += [side_by_side] if side_by_side.rows else []
        blocks.append(_params_side_by_side(facts, names))
    blocks.append(table)
    same = varying_keys(facts.runs, "params").same
    if same:
        rows = tuple((key, facts.runs[0].params[key]) for key in same)
        columns = (Column("key", "Param", "code"), Column("value", "Value in all runs", "code"))
        title = f"{counted(len(same), 'param')} the same in all runs"
        blocks.append(Table("same-params", title, columns, rows, is_collapsed=True, is_filterable=len(rows) > 10))
    blocks.append(_scatter(facts, table))
    return blocks


def compared_metrics(facts: ComparisonFacts) -> list[str]:
    """The metrics of the runs, the leading one first, without those of the machine."""
    ordered = facts.origin.directions.ordered({key for run in facts.runs for key in run.metrics})
    return sorted(
        (key for key in ordered if not key.startswith("system/")), key=lambda key: (key != facts.leading, is_aside(key))
    )


def shape_of_metric(metric: str, facts: ComparisonFacts) -> Shape:
    """How a metric is shown: as per cent where it is a fraction in all runs."""
    shapes = {shape_of(metric, run, facts.origin.directions) for run in facts.runs if metric in run.metrics}
    return "percent" if shapes == {"percent"} else "number"


def _all_runs(facts: ComparisonFacts, names: Mapping[str, str]) -> Table:
    """All runs, one a row, which charts refer to."""
    runs = facts.runs
    metrics, params = compared_metrics(facts), varying_keys(runs, "params").differing
    table = GrowingTable()
    _add_identity(table, facts, names)
    for metric in metrics[:_MOST_METRICS]:
        _add_metric(table, facts, metric)
    for param in params[:_MOST_PARAMS]:
        cells = [param_cell(run.params.get(param)) for run in runs]
        table.add(Column(f"params.{param}", param, shape_of_cells(cells), group="param"), cells)
    table.add(Column("started", "Started", "time"), [iso_time(run.start_time) for run in runs])
    table.add(Column("duration", "Duration", "duration"), [run.duration_s for run in runs])
    table.add(Column("run_id", "Id", "id"), [run.run_id for run in runs])
    notes = {
        f"the first {_MOST_METRICS} of {len(metrics)} metrics": len(metrics) > _MOST_METRICS,
        f"the first {_MOST_PARAMS} of {len(params)} params that differ": len(params) > _MOST_PARAMS,
        "the params of all runs are the same": not params,
        f"metrics to {_DIGITS} significant digits": len(runs) > _MANY_RUNS,
    }
    return table.finish(
        "runs",
        "All runs",
        is_filterable=len(runs) > _FEW_RUNS,
        is_collapsed=len(runs) <= _FEW_RUNS,
        note="; ".join(note for note, is_so in notes.items() if is_so),
    )


def _add_identity(table: GrowingTable, facts: ComparisonFacts, names: Mapping[str, str]) -> None:
    """What tells the runs apart; what is the same in all is left out."""
    runs = facts.runs
    table.add(Column("name", "Run"), [names[run.run_id] for run in runs])
    states = [run.status if run.lifecycle_stage == "active" else f"{run.status}, deleted" for run in runs]
    datasets = [", ".join(f"{one.name} {one.digest}" for one in run.datasets) or None for run in runs]
    commits = [run.tags.get(COMMIT_TAG, "")[:12] or None for run in runs]
    for column, cells in (
        (Column("experiment", "Experiment"), [run.experiment for run in runs]),
        (Column("status", "Status"), states),
        (Column("data", "Data"), datasets),
        (Column("commit", "Commit", "code"), commits),
    ):
        if len(set(cells)) > 1:
            table.add(column, cells)


def _add_metric(table: GrowingTable, facts: ComparisonFacts, metric: str) -> None:
    """A metric of every run, and its difference from the baseline."""
    directions, is_many = facts.origin.directions, len(facts.runs) > _MANY_RUNS
    direction, said, shape = directions.direction(metric), directions.of(metric), shape_of_metric(metric, facts)
    values = [run.metrics.get(metric) for run in facts.runs]
    unit = "" if said.unit == "fraction" else said.unit
    column = Column(f"metrics.{metric}", metric, shape, direction, unit, said.digits, "metric", said.convention)
    table.add(column, [metric_cell(value, _DIGITS if is_many else None) for value in values])
    table.mark(best_places(values, direction), "best")
    table.mark(wrong_places(values), "wrong")
    deltas = _deltas(values, facts.runs, facts.baseline)
    if (is_many and metric != facts.leading) or all(delta is None for delta in deltas):
        return
    delta_column = Column(
        f"delta.{metric}", f"Δ {metric}", shape, direction, digits=said.digits, group="delta",
        note="less the baseline's", is_signed=True,
    )  # fmt: skip
    table.add(delta_column, deltas)
    if not is_many:
        better, worse = _judged(deltas, direction)
        table.mark(better, "better")
        table.mark(worse, "worse")


def _metrics_side_by_side(facts: ComparisonFacts, names: Mapping[str, str]) -> Table:
    """A metric a row; the baseline first, and of every other run its value and its difference from the baseline."""
    baseline = next(run for run in facts.runs if run.run_id == facts.baseline)
    runs = [baseline, *(run for run in facts.runs if run is not baseline)]
    columns = [Column("metric", "Metric"), Column("direction", "Better is")]
    for run in runs:
        title = names[run.run_id] + (" (baseline)" if run is baseline else "")
        columns.append(Column(run.run_id, title, "number"))
        columns.append(Column(f"delta.{run.run_id}", "Δ", "number", is_signed=True, note="less the baseline's"))
    del columns[3]  # the baseline's difference from itself
    rows: list[tuple[Cell, ...]] = []
    marks: list[Mark] = []
    for place, metric in enumerate(compared_metrics(facts)[:_MOST_METRICS]):
        direction = facts.origin.directions.direction(metric)
        values = [run.metrics.get(metric) for run in runs]
        deltas = _deltas(values, runs, facts.baseline)
        better, worse = _judged(deltas, direction)
        marks += [Mark(place, max(2, 1 + 2 * which), "best") for which in best_places(values, direction)]
        marks += [Mark(place, 2 + 2 * which, "better") for which in better]
        marks += [Mark(place, 2 + 2 * which, "worse") for which in worse]
        pairs = zip(map(metric_cell, values), deltas, strict=True)
        cells = [part for pair in pairs for part in pair]
        rows.append((metric, _IN_WORDS[direction], cells[0], *cells[2:]))
    return Table("metrics", "Metrics side by side", tuple(columns), tuple(rows), tuple(marks))


def _params_side_by_side(facts: ComparisonFacts, names: Mapping[str, str]) -> Block:
    differing = sorted(varying_keys(facts.runs, "params").differing)
    if not differing:
        return Missing("params", "they are the same in all runs")
    columns = (
        Column("param", "Param", "code"),
        *(Column(run.run_id, names[run.run_id], "code") for run in facts.runs),
    )
    rows = tuple((key, *(run.params.get(key) for run in facts.runs)) for key in differing[:_MOST_PARAMS])
    note = f"the first {_MOST_PARAMS} of {len(differing)}" if len(differing) > _MOST_PARAMS else ""
    return Table("params", "Params that differ", columns, rows, note=note)


def _scatter(facts: ComparisonFacts, table: Table) -> Block:
    """The leading metric over the param that most likely moves it, with every other column to choose."""
    numeric = [
        column.key for column in table.columns
        if (column.group in ("metric", "param") and _different_numbers(table, column.key) > 1)
        or column.key == "duration"
    ]  # fmt: skip
    texts = [column.key for column in table.columns if column.group == "param" and column.key not in numeric]
    y = f"metrics.{facts.leading}"
    if y not in numeric:
        return Missing("a chart of any two columns", "no metric has two finite values")
    params = [key for key in numeric if key.startswith("params.")]
    x = next(iter([*params, *(key for key in numeric if key not in (y, "duration")), *texts]), "duration")
    return ScatterChart(
        "scatter",
        "Any two columns",
        f"{facts.leading} over {x.partition('.')[2] or x} of {counted(len(facts.runs), 'run')}.",
        "runs",
        x,
        y,
        choices=(*numeric, *texts),
        label="name",
        log_columns=tuple(key for key in numeric if is_wide(table.column(key))),
        main_row=next(row for row, run in enumerate(facts.runs) if run.run_id == facts.baseline),
    )


def _deltas(values: Sequence[float | None], runs: Sequence[Run], baseline: str) -> list[float | None]:
    base = next(value for value, run in zip(values, runs, strict=True) if run.run_id == baseline)
    if base is None or not math.isfinite(base):
        return [None] * len(values)
    return [
        None if value is None or run.run_id == baseline else rounded(difference(value, base), _DELTA_DIGITS)
        for value, run in zip(values, runs, strict=True)
    ]


def _judged(deltas: Sequence[float | None], direction: Direction | None) -> tuple[list[int], list[int]]:
    """Where differences are for the better, and where for the worse."""
    sign = {"max": 1, "min": -1, None: 0}[direction]
    better = [place for place, delta in enumerate(deltas) if delta and sign * delta > 0]
    worse = [place for place, delta in enumerate(deltas) if delta and sign * delta < 0]
    return better, worse


def _different_numbers(table: Table, key: str) -> int:
    return len({value for value in table.column(key) if is_number(value)})
