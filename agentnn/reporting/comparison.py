"""The report of several runs side by side: what differs, who is best, and by how much."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from agentnn.query.comparison import typed, varying_keys
from agentnn.records import iso_time
from agentnn.reporting.comparison_curves import curve_blocks, equity_blocks
from agentnn.reporting.curves import rounded
from agentnn.reporting.directions import is_aside
from agentnn.reporting.document import (
    Block,
    Column,
    Fact,
    Figure,
    Figures,
    Mark,
    Missing,
    Report,
    ScatterChart,
    Section,
    Table,
    cell,
)
from agentnn.reporting.gather import as_of
from agentnn.reporting.metric_blocks import shape_of
from agentnn.reporting.seeds import seed_blocks, seed_groups
from agentnn.reporting.words import counted, listed, number, sentence

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

_DIGITS = 7

_LONGEST_PARAM = 120
_COMMIT_TAG = "mlflow.source.git.commit"


def comparison_report(facts: ComparisonFacts) -> Report:
    """Tell the facts of several runs."""
    names = run_names(facts.runs)
    groups = seed_groups(facts.runs)
    table = _runs_table(facts, names)
    sections = [
        Section("Best", "best", tuple(_best_blocks(facts, names))),
        Section("Runs", "runs-section", tuple(_run_blocks(facts, names, table))),
        Section("Over seeds", "seeds", tuple(seed_blocks(facts, groups))),
        Section("Learning curves", "curves", tuple(curve_blocks(facts, names, groups))),
        Section("Equity", "equity-section", tuple(equity_blocks(facts, names))),
    ]
    told = [one for one in sections if any(not isinstance(block, Missing) for block in one.blocks)]
    missing = [block for one in sections if one not in told for block in one.blocks]
    if missing:
        told.append(Section("Left out", "left-out", tuple(missing)))
    curves = [curve for of_run in facts.curves.values() for curve in of_run.values()]
    return Report(
        kind="comparison",
        title=f"{counted(len(facts.runs), 'run')} compared",
        outcome=_outcome(facts, names),
        sections=tuple(told),
        source=facts.origin.source(facts.runs, baseline=facts.baseline, as_of=as_of(facts.runs, curves)),
        state="good" if all(run.status == "FINISHED" for run in facts.runs) else "mixed",
        about=_about(facts, names),
    )


def run_names(runs: Sequence[Run]) -> dict[str, str]:
    """A name of each run that no other one has: with the beginning of its id where several are called the same."""
    counts = Counter(run.name for run in runs)
    return {
        run.run_id: run.name if run.name and counts[run.name] == 1 else f"{run.name} {run.run_id[:8]}".strip()
        for run in runs
    }


def param_cell(text: str | None) -> Cell:
    """A param in a table of many runs, as what it means; a long text is cut."""
    value = typed(text)
    if isinstance(value, str) and len(value) > _LONGEST_PARAM:
        return f"{value[: _LONGEST_PARAM - 1]}…"
    return None if value is None else cell(value)


def ranked(runs: Sequence[Run], metric: str, direction: Direction) -> list[Run]:
    """The runs with a finite value of a metric, the best first; ties in the order of the runs."""
    sign = -1 if direction == "max" else 1
    finite = [run for run in runs if math.isfinite(run.metrics.get(metric, math.nan))]
    return sorted(finite, key=lambda run: sign * run.metrics[metric])


def _outcome(facts: ComparisonFacts, names: Mapping[str, str]) -> str:
    metric = facts.leading
    direction = facts.origin.directions.direction(metric) if metric else None
    if metric is None:
        return "The runs have no metric that most of them share."
    if direction is None:
        return f"Which run is best by {metric} can't be said: its better direction is not declared."
    order = ranked(facts.runs, metric, direction)
    if not order:
        return f"No run has a finite value of {metric}."
    best = order[0]
    told = f"{names[best.run_id]} is best by {metric}: {number(best.metrics[metric])}"
    if len(order) > 1:
        margin = abs(best.metrics[metric] - order[1].metrics[metric])
        told += (
            f", {number(margin)} ahead of {names[order[1].run_id]}" if margin else f", as is {names[order[1].run_id]}"
        )
    baseline = next(run for run in facts.runs if run.run_id == facts.baseline)
    base = baseline.metrics.get(metric, math.nan)
    if best is not baseline and math.isfinite(base):
        told += f"; the baseline {names[facts.baseline]} has {number(base)}"
    left_out = len(facts.runs) - len(order)
    return sentence(told) + (f" {counted(left_out, 'run')} without a finite value." if left_out else "")


def _about(facts: ComparisonFacts, names: Mapping[str, str]) -> tuple[Fact, ...]:
    experiments = list(dict.fromkeys(run.experiment for run in facts.runs))
    starts = [run.start_time for run in facts.runs if run.start_time is not None]
    statuses = Counter(
        run.status if run.lifecycle_stage == "active" else f"{run.status}, deleted" for run in facts.runs
    )
    told = [
        Fact("Runs", len(facts.runs), "number"),
        Fact("Experiment" if len(experiments) == 1 else "Experiments", listed(experiments, 8)),
        Fact("Baseline", names[facts.baseline]),
        Fact("Statuses", ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())),
        Fact("First started", iso_time(min(starts, default=None)), "time"),
        Fact("Last started", iso_time(max(starts, default=None)), "time"),
    ]
    return tuple(fact for fact in told if fact.value not in (None, ""))


def _best_blocks(facts: ComparisonFacts, names: Mapping[str, str]) -> list[Block]:
    """The best run by each of the first metrics, with what it is better by than the baseline."""
    directions = facts.origin.directions
    baseline = next(run for run in facts.runs if run.run_id == facts.baseline)
    figures = []
    undeclared = []
    for metric in _metrics(facts)[:8]:
        direction = directions.direction(metric)
        if direction is None:
            undeclared.append(metric)
            continue
        order = ranked(facts.runs, metric, direction)
        if not order:
            continue
        best, base = order[0], baseline.metrics.get(metric, math.nan)
        delta = best.metrics[metric] - base
        has_delta = math.isfinite(delta) and best is not baseline
        figures.append(
            Figure(
                metric,
                best.metrics[metric],
                direction,
                _shape(metric, facts),
                delta=delta if has_delta else None,
                delta_to=f"the baseline {names[facts.baseline]}" if has_delta else "",
                is_better=(delta > 0) == (direction == "max") if has_delta and delta else None,
                note=f"{names[best.run_id]}" + (" (the baseline)" if best is baseline else ""),
            )
        )
    blocks: list[Block] = [Figures(tuple(figures), "The best value of each metric")] if figures else []
    if undeclared:
        why = 'nobody says which direction is better: [tool.agentnn.metrics] NAME = "max" in pyproject.toml'
        blocks.append(Missing(f"the best by {listed(undeclared)}", why))
    return blocks or [Missing("the best run", "the runs have no metric")]


def _run_blocks(facts: ComparisonFacts, names: Mapping[str, str], table: Table) -> list[Block]:
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


def _runs_table(facts: ComparisonFacts, names: Mapping[str, str]) -> Table:
    """All runs, one a row, which charts refer to."""
    runs = facts.runs
    metrics, params = _metrics(facts), list(varying_keys(runs, "params").differing)
    shown_metrics, shown_params = metrics[:_MOST_METRICS], params[:_MOST_PARAMS]
    columns, cells = _identity(facts, names)
    marks: list[Mark] = []
    compared = shown_metrics if len(runs) <= _MANY_RUNS else [facts.leading] if facts.leading else []
    for metric in shown_metrics:
        values = [run.metrics.get(metric) for run in runs]
        direction = facts.origin.directions.direction(metric)
        marks += [Mark(row, len(columns), "best") for row in _best_places(values, direction)]
        marks += [
            Mark(row, len(columns), "wrong")
            for row, value in enumerate(values)
            if value is not None and not math.isfinite(value)
        ]
        said = facts.origin.directions.of(metric)
        columns.append(
            Column(
                f"metrics.{metric}", metric, _shape(metric, facts), direction,
                "" if said.unit == "fraction" else said.unit, said.digits, "metric", said.convention,
            )
        )  # fmt: skip
        cells.append([_shown(value, is_rounded=len(runs) > _MANY_RUNS) for value in values])
        if metric in compared:
            deltas = _deltas(values, runs, facts.baseline)
            if any(delta is not None for delta in deltas):
                marks += _judged(deltas, direction, len(columns)) if len(runs) <= _MANY_RUNS else []
                columns.append(
                    Column(
                        f"delta.{metric}", f"Δ {metric}", _shape(metric, facts), direction, digits=said.digits,
                        group="delta", note="less the baseline's", is_signed=True,
                    )
                )  # fmt: skip
                cells.append(list(deltas))
    for param in shown_params:
        column = [param_cell(run.params.get(param)) for run in runs]
        columns.append(Column(f"params.{param}", param, _shape_of_cells(column), group="param"))
        cells.append(column)
    notes = []
    if len(metrics) > len(shown_metrics):
        notes.append(f"the first {len(shown_metrics)} of {len(metrics)} metrics")
    if len(params) > len(shown_params):
        notes.append(f"the first {len(shown_params)} of {len(params)} params that differ")
    if not params:
        notes.append("the params of all runs are the same")
    if len(runs) > _MANY_RUNS:
        notes.append(f"metrics to {_DIGITS} significant digits")
    return Table(
        "runs",
        "All runs",
        tuple(columns),
        tuple(zip(*cells, strict=True)),
        tuple(marks),
        is_filterable=len(runs) > _FEW_RUNS,
        is_collapsed=len(runs) <= _FEW_RUNS,
        note="; ".join(notes),
    )


def _identity(facts: ComparisonFacts, names: Mapping[str, str]) -> tuple[list[Column], list[list[Cell]]]:
    """What tells the runs apart; what is the same in all is left out."""
    runs = facts.runs
    columns = [Column("name", "Run"), Column("run_id", "Id", "id")]
    cells: list[list[Cell]] = [[names[run.run_id] for run in runs], [run.run_id for run in runs]]
    states = [run.status if run.lifecycle_stage == "active" else f"{run.status}, deleted" for run in runs]
    datasets = [", ".join(f"{one.name} {one.digest}" for one in run.datasets) or None for run in runs]
    commits = [run.tags.get(_COMMIT_TAG, "")[:12] or None for run in runs]
    for column, values in (
        (Column("experiment", "Experiment"), [run.experiment for run in runs]),
        (Column("status", "Status"), states),
        (Column("data", "Data"), datasets),
        (Column("commit", "Commit", "code"), commits),
    ):
        if len(set(values)) > 1:
            columns.append(column)
            cells.append(list(values))
    columns += [Column("started", "Started", "time"), Column("duration", "Duration", "duration")]
    cells += [[iso_time(run.start_time) for run in runs], [run.duration_s for run in runs]]
    return columns, cells


def _metrics_side_by_side(facts: ComparisonFacts, names: Mapping[str, str]) -> Table:
    """A metric a row; the baseline first, and of every other run its value and its difference from the baseline."""
    others = [run for run in facts.runs if run.run_id != facts.baseline]
    baseline = next(run for run in facts.runs if run.run_id == facts.baseline)
    columns = [Column("metric", "Metric"), Column("direction", "Better is")]
    columns.append(Column(baseline.run_id, f"{names[baseline.run_id]} (baseline)", "number"))
    for run in others:
        columns.append(Column(run.run_id, names[run.run_id], "number"))
        columns.append(Column(f"delta.{run.run_id}", "Δ", "number", is_signed=True, note="less the baseline's"))
    rows: list[tuple[Cell, ...]] = []
    marks: list[Mark] = []
    for place, metric in enumerate(_metrics(facts)[:_MOST_METRICS]):
        direction = facts.origin.directions.direction(metric)
        values = [run.metrics.get(metric) for run in (baseline, *others)]
        deltas = _deltas(values, (baseline, *others), facts.baseline)[1:]
        best = _best_places(values, direction)
        marks += [Mark(place, 2 if which == 0 else 1 + 2 * which, "best") for which in best]
        marks += [Mark(place, 4 + 2 * one.row, one.kind) for one in _judged(deltas, direction, 0)]
        pairs = [part for value, delta in zip(values[1:], deltas, strict=True) for part in (_shown(value), delta)]
        word = {"max": "greater", "min": "smaller", None: "not declared"}[direction]
        rows.append((metric, word, _shown(values[0]), *pairs))
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
        if (column.group in ("metric", "param") and _numbers_in(table, column.key) > 1) or column.key == "duration"
    ]  # fmt: skip
    texts = [column.key for column in table.columns if column.group == "param" and column.key not in numeric]
    y = f"metrics.{facts.leading}"
    params = [key for key in numeric if key.startswith("params.")]
    x = next(iter([*params, *(key for key in numeric if key not in (y, "duration")), *texts]), "duration")
    if y not in numeric:
        return Missing("a chart of any two columns", "no metric has two finite values")
    return ScatterChart(
        "scatter",
        "Any two columns",
        f"{facts.leading} over {x.partition('.')[2] or x} of {counted(len(facts.runs), 'run')}.",
        "runs",
        x,
        y,
        choices=tuple([*numeric, *texts]),
        label="name",
        log_columns=tuple(key for key in numeric if _is_wide(table.column(key))),
        main_row=next(row for row, run in enumerate(facts.runs) if run.run_id == facts.baseline),
    )


def _metrics(facts: ComparisonFacts) -> list[str]:
    """The metrics of the runs, the leading one first, without those of the machine."""
    ordered = facts.origin.directions.ordered({key for run in facts.runs for key in run.metrics})
    ordered = [key for key in ordered if not key.startswith("system/")]
    ordered.sort(key=lambda key: (key != facts.leading, is_aside(key)))
    return ordered


def _best_places(values: Sequence[float | None], direction: Direction | None) -> list[int]:
    """Where the best values are; nowhere if all are the same, or nobody says what is better."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if direction is None or len(set(finite)) < 2:
        return []
    best = max(finite) if direction == "max" else min(finite)
    return [place for place, value in enumerate(values) if value == best]


def _deltas(values: Sequence[float | None], runs: Sequence[Run], baseline: str) -> list[float | None]:
    base = next(value for value, run in zip(values, runs, strict=True) if run.run_id == baseline)
    if base is None or not math.isfinite(base):
        return [None] * len(values)
    deltas = [
        None if value is None or run.run_id == baseline else value - base
        for value, run in zip(values, runs, strict=True)
    ]
    return [rounded(delta, 10) for delta in deltas]


def _judged(deltas: Sequence[float | None], direction: Direction | None, column: int) -> list[Mark]:
    if direction is None:
        return []
    return [
        Mark(row, column, "better" if (delta > 0) == (direction == "max") else "worse")
        for row, delta in enumerate(deltas)
        if delta
    ]


def _shape(metric: str, facts: ComparisonFacts) -> Shape:
    shapes = {shape_of(metric, run, facts.origin.directions) for run in facts.runs if metric in run.metrics}
    return "percent" if shapes == {"percent"} else "number"


def _shape_of_cells(cells: Sequence[Cell]) -> Shape:
    present = [value for value in cells if value is not None]
    are_numbers = present and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present)
    return "number" if are_numbers else "text"


def _numbers_in(table: Table, key: str) -> int:
    cells = table.column(key)
    return len({value for value in cells if isinstance(value, (int, float)) and not isinstance(value, bool)})


def _is_wide(cells: Sequence[Cell]) -> bool:
    """Whether positive numbers span more than two powers of ten."""
    numbers = [value for value in cells if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) > 100


def _shown(value: float | None, *, is_rounded: bool = False) -> Cell:
    if value is None:
        return None
    return rounded(value, _DIGITS) if is_rounded and math.isfinite(value) else cell(value)
