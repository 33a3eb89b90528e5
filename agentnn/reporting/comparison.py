"""The report of several runs side by side: what differs, who is best, and by how much."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from agentnn.records import iso_time
from agentnn.reporting.cells import difference
from agentnn.reporting.comparison_curves import band_blocks, curve_blocks, equity_blocks
from agentnn.reporting.comparison_tables import compared_metrics, run_blocks, shape_of_metric
from agentnn.reporting.document import Block, Fact, Figure, Figures, Missing, Report, Section
from agentnn.reporting.gather import as_of
from agentnn.reporting.metric_blocks import value_text
from agentnn.reporting.seeds import seed_blocks, seed_groups
from agentnn.reporting.words import counted, listed, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.conventions import Direction
    from agentnn.records import Run
    from agentnn.reporting.gather import ComparisonFacts

_MOST_FIGURES = 8


def comparison_report(facts: ComparisonFacts) -> Report:
    """Tell the facts of several runs."""
    names = run_names(facts.runs)
    groups = seed_groups(facts.runs)
    sections = [
        Section("Best", "best", tuple(_best_blocks(facts, names))),
        Section("Runs", "runs-section", tuple(run_blocks(facts, names))),
        Section("Over seeds", "seeds", (*seed_blocks(facts, groups), *band_blocks(facts, groups))),
        Section("Learning curves", "curves", tuple(curve_blocks(facts, names))),
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

    def said(value: float, run: Run = best) -> str:
        return value_text(value, metric, run, facts.origin.directions)

    text = f"{names[best.run_id]} is best by {metric}: {said(best.metrics[metric])}"
    if len(order) > 1:
        margin = abs(best.metrics[metric] - order[1].metrics[metric])
        text += f", {said(margin)} ahead of {names[order[1].run_id]}" if margin else f", as is {names[order[1].run_id]}"
    baseline = next(run for run in facts.runs if run.run_id == facts.baseline)
    base = baseline.metrics.get(metric, math.nan)
    if best is not baseline and math.isfinite(base):
        text += f"; the baseline {names[facts.baseline]} has {said(base, baseline)}"
    left_out = len(facts.runs) - len(order)
    return sentence(text) + (f" {counted(left_out, 'run')} without a finite value." if left_out else "")


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
    metrics = directions.key_metrics(compared_metrics(facts), _MOST_FIGURES)
    for metric in sorted(metrics, key=lambda metric: metric != facts.leading):
        direction = directions.direction(metric)
        if direction is None:
            undeclared.append(metric)
            continue
        order = ranked(facts.runs, metric, direction)
        if not order:
            continue
        best, base = order[0], baseline.metrics.get(metric, math.nan)
        delta = difference(best.metrics[metric], base)
        has_delta = math.isfinite(delta) and best is not baseline
        figures.append(
            Figure(
                metric,
                best.metrics[metric],
                direction,
                shape_of_metric(metric, facts),
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
