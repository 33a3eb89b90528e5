"""The report of a study: its best trial, how it was found, and what the params have to do with it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from agentnn.reporting.cells import GrowingTable, best_places, metric_cell, param_cell, shape_of_cells
from agentnn.reporting.document import (
    Block,
    Column,
    Fact,
    Figure,
    Figures,
    Mark,
    Missing,
    Report,
    Section,
    Table,
    Text,
    cell,
)
from agentnn.reporting.file_blocks import importance_chart, named_importance
from agentnn.reporting.gather import as_of
from agentnn.reporting.metric_blocks import shape_of
from agentnn.reporting.shapes import duration
from agentnn.reporting.study_charts import (
    contour,
    intermediate_values,
    optimisation_history,
    parallel,
    pareto,
    slices,
    timeline,
)
from agentnn.reporting.training import about, state_of
from agentnn.reporting.trials import best_trials, pareto_front
from agentnn.reporting.words import counted, number, sentence
from agentnn.tracking.endings import REASON_TAG
from agentnn.tracking.study_tags import BEST_TRIAL_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.reporting.document import Shape
    from agentnn.reporting.gather import StudyFacts
    from agentnn.reporting.trials import Trial

_MOST_METRICS = 20
_DEFLATED = ("deflated_sharpe", "probabilistic_sharpe", "expected_max_sharpe")
_UNSEEN = "best_test_"
_MOST_UNSEEN = 8
_IMPORTANCE_PREFIX = "importance_"
_WORDS = {"max": "greatest", "min": "smallest"}


def study_report(facts: StudyFacts) -> Report:
    """Tell the facts of a study."""
    ranked = best_trials(facts.trials, facts.objective.direction)
    importance = _importance(facts)
    table = trials_table(facts)
    charts = [
        optimisation_history(facts),
        *intermediate_values(facts),
        *pareto(facts),
        parallel(facts, table, importance),
        slices(facts, table, importance),
        contour(facts, table, importance),
        timeline(facts),
    ]
    sections = [
        Section("Best trial", "best", tuple(_best_blocks(facts, ranked))),
        Section("Optimisation", "optimisation", tuple(charts)),
        Section("Importance of the params", "importance", tuple(_importance_blocks(facts, importance))),
        Section("Is the best one luck?", "luck", tuple(_luck_blocks(facts, ranked))),
        Section("Pruned and failed trials", "failures", tuple(_failure_blocks(facts))),
        Section("All trials", "trials-section", (table,)),
    ]
    told = [one for one in sections if any(not isinstance(block, Missing) for block in one.blocks)]
    missing = [block for one in sections if one not in told for block in one.blocks]
    missing += [Missing(*problem.partition(": ")[::2]) for problem in facts.files.problems]
    if missing:
        told.append(Section("Left out", "left-out", tuple(missing)))
    run = facts.run
    latest = as_of([run, *(one.run for one in facts.trials)], list(facts.curves.values()))
    return Report(
        kind="study",
        title=run.name or run.run_id,
        outcome=_outcome(facts, ranked),
        sections=tuple(told),
        source=facts.origin.source([run], metric=facts.asked, as_of=latest),
        state=state_of(run) if state_of(run) != "good" or ranked else "bad",
        about=_about(facts),
    )


def trials_table(facts: StudyFacts) -> Table:
    """Every trial, one a row, which the charts refer to."""
    objective, trials, directions = facts.objective, facts.trials, facts.origin.directions
    table = GrowingTable()
    table.add(Column("number", "Trial", "number", digits=0), [one.number for one in trials])
    table.add(Column("state", "State"), [one.state for one in trials])
    table.mark((row for row, one in enumerate(trials) if one.state == "failed"), "wrong")
    if objective.metric is not None:
        note = "of a pruned trial its last value"
        column = Column("value", objective.metric, "number", objective.direction, note=note)
        table.add(column, [metric_cell(one.value) for one in trials])
        comparable = [one.value if one.is_comparable else None for one in trials]
        table.mark(best_places(comparable, objective.direction), "best")
    for place, (metric, direction) in enumerate(objective.others):
        cells = [metric_cell(one.others[place]) for one in trials]
        table.add(Column(f"value.{place + 1}", metric, "number", direction), cells)
    for key in searched_params(facts):
        cells = [param_cell(one.run.params.get(key)) for one in trials]
        table.add(Column(f"params.{key}", key, shape_of_cells(cells), group="param"), cells)
    named = {objective.metric, *(metric for metric, _ in objective.others), "intermediate_value"}
    ordered = directions.ordered({key for one in trials for key in one.run.metrics} - named)
    for metric in ordered[:_MOST_METRICS]:
        shapes = {shape_of(metric, one.run, directions) for one in trials if metric in one.run.metrics}
        shape: Shape = "percent" if shapes == {"percent"} else "number"
        column = Column(f"metrics.{metric}", metric, shape, directions.direction(metric), group="metric")
        table.add(column, [metric_cell(one.run.metrics.get(metric)) for one in trials])
    table.add(Column("duration", "Duration", "duration"), [one.run.duration_s for one in trials])
    table.add(Column("run_id", "Run", "id"), [one.run_id for one in trials])
    left_out = f"the first {_MOST_METRICS} of {len(ordered)} further metrics" if len(ordered) > _MOST_METRICS else ""
    return table.finish("trials", "Trials", is_filterable=True, note=left_out)


def searched_params(facts: StudyFacts) -> list[str]:
    """The params that the trials tried."""
    return sorted({key for one in facts.trials for key in one.params})


def _outcome(facts: StudyFacts, ranked: Sequence[Trial]) -> str:
    objective = facts.objective
    counts = Counter(one.state for one in facts.trials)
    tally = ", ".join(
        f"{counts[state]:,} {state}" for state in ("complete", "pruned", "failed", "running") if counts[state]
    )
    total = f"{counted(len(facts.trials), 'trial')}: {tally}."
    if objective.metric is None:
        return f"No trial has a metric. {total}"
    if not ranked:
        return f"No complete trial has a finite {objective.metric}. {total}"
    best = ranked[0]
    told = f"Trial {best.number} is best: {objective.metric} {number(best.value)}"
    if len(ranked) > 1:
        margin = abs((best.value or 0.0) - (ranked[1].value or 0.0))
        told += (
            f", {number(margin)} ahead of trial {ranked[1].number}" if margin else f", as is trial {ranked[1].number}"
        )
    open_ = " The study is still running." if state_of(facts.run) == "open" else ""
    return f"{sentence(told)} {total}{open_}"


def _about(facts: StudyFacts) -> tuple[Fact, ...]:
    objective = facts.objective
    told = list(about(facts.run, of_study=True))
    if objective.metric is not None:
        further = "".join(f", {direction} {metric}" for metric, direction in objective.others)
        told.append(Fact("Judged by", f"{objective.direction} {objective.metric}{further} ({objective.source})"))
    told.append(Fact("Trials", len(facts.trials), "number"))
    if facts.attempts:
        told.append(Fact("Earlier attempts left out", facts.attempts, "number"))
    if facts.deleted:
        told.append(Fact("Deleted trials left out", facts.deleted, "number"))
    return tuple(told)


def _best_blocks(facts: StudyFacts, ranked: Sequence[Trial]) -> list[Block]:
    """The best trial, its margin, its params and further metrics."""
    objective = facts.objective
    if not ranked or objective.metric is None:
        return [Missing("the best trial", "no complete trial has a finite value to be judged by")]
    best = ranked[0]
    values = [one.value for one in ranked if one.value is not None]
    runner_up = ranked[1] if len(ranked) > 1 else None
    delta = None if runner_up is None or runner_up.value is None or best.value is None else best.value - runner_up.value
    figures = [
        Figure(
            objective.metric,
            best.value,
            objective.direction,
            delta=delta,
            delta_to="" if runner_up is None else f"trial {runner_up.number}, the next one",
            is_better=True if delta else None,
            note=f"trial {best.number}, the {_WORDS[objective.direction]} of {len(ranked)}",
        ),
        Figure("median of the trials", _median(values), objective.direction),
    ]
    if best.run.duration_s is not None:
        figures.append(Figure("duration of the trial", best.run.duration_s, shape="duration"))
    blocks: list[Block] = [Figures(tuple(figures))]
    said = facts.run.tags.get(BEST_TRIAL_TAG)
    if said is not None and said != str(best.number):
        blocks.append(
            Text(f"The study itself names trial {said} as its best; by the values in the store it is {best.number}.")
        )
    if best.params:
        columns = (Column("param", "Param", "code"), Column("value", f"Trial {best.number}", "code"))
        rows = tuple((key, best.run.params[key]) for key in sorted(best.params))
        blocks.append(Table("best-params", "Params of the best trial", columns, rows))
    else:
        blocks.append(Missing("params of the best trial", "no param differs between the trials"))
    unseen = {key: value for key, value in facts.run.metrics.items() if key.startswith(_UNSEEN)}
    if unseen:
        blocks.append(_unseen_figures(facts, unseen))
    texts = [text for folder, text in facts.files.config.items() if folder]
    blocks += [Text(text, "Configuration of the best trial", "code", is_collapsed=True) for text in texts[:1]]
    front = pareto_front(facts.trials, [objective.direction, *(way for _, way in objective.others)])
    if objective.others and front:
        blocks.append(_front_table(facts, front))
    return blocks


def _unseen_figures(facts: StudyFacts, unseen: Mapping[str, float]) -> Figures:
    """How the best trial does on data that no trial was chosen by."""
    directions = facts.origin.directions
    keys = directions.ordered(unseen)[:_MOST_UNSEEN]
    figures = tuple(
        Figure(key, cell(unseen[key]), directions.direction(key), shape_of(key, facts.run, directions)) for key in keys
    )
    return Figures(figures, "The best trial on the test part, which no trial saw")


def _front_table(facts: StudyFacts, front: Sequence[Trial]) -> Table:
    names = [(facts.objective.metric or "", facts.objective.direction), *facts.objective.others]
    columns = (
        Column("number", "Trial", "number", digits=0),
        *(Column(f"value.{place}", metric, "number", way) for place, (metric, way) in enumerate(names)),
    )
    rows = tuple((one.number, metric_cell(one.value), *map(metric_cell, one.others)) for one in front)
    return Table("front", "Trials that no other one beats in everything", columns, rows)


def _importance(facts: StudyFacts) -> list[tuple[str, float, float | None]]:
    for told in facts.files.importance.values():
        pairs = named_importance(told)
        if pairs:
            return pairs
    logged = {
        key.removeprefix(_IMPORTANCE_PREFIX): value
        for key, value in facts.run.metrics.items()
        if key.startswith(_IMPORTANCE_PREFIX) and math.isfinite(value)
    }
    return named_importance(logged)


def _importance_blocks(facts: StudyFacts, pairs: list[tuple[str, float, float | None]]) -> list[Block]:
    if not pairs:
        told = [one.get("reason") for one in facts.files.importance.values()]
        why = next((one for one in told if isinstance(one, str) and one), "the study logged none")
        return [Missing("importance of the params", why)]
    chart = importance_chart(pairs, "importance", "Importance of the params", "params", "importance")
    return [chart]


def _luck_blocks(facts: StudyFacts, ranked: Sequence[Trial]) -> list[Block]:
    """Of many trials the best is good by luck, too; what the study computed about that."""
    metrics = facts.run.metrics
    keys = sorted(key for key in metrics if any(word in key.lower() for word in _DEFLATED))
    if not keys:
        why = "the study logged none; it is for studies judged by a Sharpe ratio"
        return [Missing("deflated Sharpe ratio", why)]
    figures = Figures(tuple(Figure(key, cell(metrics[key]), "max" if "expected" not in key else None) for key in keys))
    told = (
        f"The best of {counted(len(ranked), 'trial')} is partly luck: the deflated Sharpe ratio is the probability "
        "that its true Sharpe ratio is above what the best of so many worthless trials would show "
        "(Bailey and López de Prado, 2014)."
    )
    return [figures, Text(told)]


def _failure_blocks(facts: StudyFacts) -> list[Block]:
    """Why trials were pruned or failed."""
    ended = [one for one in facts.trials if one.state in ("pruned", "failed")]
    if not ended:
        return [Missing("pruned and failed trials", "there are none")]
    lost = math.fsum(one.run.duration_s or 0.0 for one in ended)
    whole = math.fsum(one.run.duration_s or 0.0 for one in facts.trials)
    figures = [
        Figure("pruned", sum(one.state == "pruned" for one in ended), digits=0),
        Figure("failed", sum(one.state == "failed" for one in ended), digits=0),
    ]
    if whole:
        figures.append(Figure("their share of the time", lost / whole, shape="percent", note=f"of {duration(whole)}"))
    columns = (
        Column("number", "Trial", "number", digits=0),
        Column("state", "State"),
        Column("value", "Last value", "number"),
        Column("duration", "Duration", "duration"),
        Column("reason", "Why"),
        Column("run_id", "Run", "id"),
    )
    rows = tuple(
        (one.number, one.state, metric_cell(one.value), one.run.duration_s, one.reason or None, one.run_id)
        for one in ended
    )
    marks = tuple(Mark(row, 1, "wrong") for row, one in enumerate(ended) if one.state == "failed")
    table = Table(
        "failures", "Pruned and failed", columns, rows, marks, is_filterable=len(rows) > 10, is_collapsed=len(rows) > 20
    )
    reason = facts.run.tags.get(REASON_TAG)
    return [Figures(tuple(figures)), table, *([Text(f"The study ended: {reason}")] if reason else [])]


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
