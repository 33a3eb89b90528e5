"""The report of one run: what came of a training, and everything it was made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from agentnn.records import iso_time
from agentnn.reporting.backtest_blocks import backtest_blocks
from agentnn.reporting.document import Block, Fact, Missing, Report, Section
from agentnn.reporting.file_blocks import data_blocks, importance_blocks, model_blocks
from agentnn.reporting.gather import as_of
from agentnn.reporting.metric_blocks import learning_curves, metric_blocks, value_text
from agentnn.reporting.origin_blocks import (
    config_blocks,
    environment_blocks,
    reproduction_blocks,
    tag_blocks,
)
from agentnn.reporting.prediction_blocks import prediction_blocks
from agentnn.reporting.shapes import duration
from agentnn.reporting.words import sentence
from agentnn.tracking.endings import REASON_TAG
from agentnn.tracking.study_tags import ROLE_TAG

if TYPE_CHECKING:
    from agentnn.records import Run
    from agentnn.reporting.gather import TrainingFacts

_MOST_IN_OUTCOME = 3
_ENDED = {"FINISHED": "Finished", "FAILED": "Failed", "KILLED": "Killed"}

State = Literal["good", "open", "bad", "mixed"]


def training_report(facts: TrainingFacts) -> Report:
    """Tell the facts of a run."""
    run, files = facts.run, facts.files
    aside = {key: curve for key, curve in facts.curves.items() if key.startswith("system/")}
    curves = {key: curve for key, curve in facts.curves.items() if key not in aside}
    directions = facts.origin.directions
    sections = [
        _section("Key metrics", "metrics", metric_blocks(run, facts.curves, directions)),
        _section("Learning curves", "curves", learning_curves(curves, directions)),
        _section("Backtest", "backtest", backtest_blocks(run, files)),
        _section("Predictions", "predictions", prediction_blocks(files)),
        _section("Importance of the features", "importance", importance_blocks(files)),
        _section("Configuration", "config", [*config_blocks(run, files), *tag_blocks(run)]),
        _section("Data", "data", data_blocks(run, files)),
        _section("Model", "model", model_blocks(run, files)),
        _section("Environment", "environment", environment_blocks(run, files)),
        _section("Make it again", "reproduction", reproduction_blocks(run)),
    ]
    if any(curve.points > 1 for curve in aside.values()):
        sections.insert(-2, _section("Machine", "machine", learning_curves(aside, directions)))
    problems = [Missing(*_split(problem)) for problem in files.problems]
    if problems:
        sections.append(_section("What could not be read", "problems", problems))
    return Report(
        kind="training",
        title=run.name or run.run_id,
        outcome=outcome_of(facts),
        sections=tuple(_told_together(sections)),
        source=facts.origin.source([run], as_of=as_of([run], list(facts.curves.values()))),
        state=state_of(run),
        about=about(run),
    )


def outcome_of(facts: TrainingFacts) -> str:
    """What came of a run, in one line."""
    run = facts.run
    if run.status in _ENDED:
        lasted = f" after {duration(run.duration_s)}" if run.duration_s is not None else ""
        reason = run.tags.get(REASON_TAG, "") if run.status != "FINISHED" else ""
        told = f"{_ENDED[run.status]}{lasted}" + (f": {reason}" if reason else "")
    else:
        latest = max((curve.last.step for curve in facts.curves.values()), default=None)
        told = "Still running" + (f", at step {latest}" if latest else "")
    if run.lifecycle_stage != "active":
        told = f"{told}; the run is deleted"
    values = _leading_values(facts)
    return f"{sentence(told)} {values}".strip()


def about(run: Run, *, of_study: bool = False) -> tuple[Fact, ...]:
    """The lines of a report's head on a run."""
    facts = [
        Fact("Run", run.run_id, "id"),
        Fact("Experiment", run.experiment),
        Fact("Status", run.status if run.lifecycle_stage == "active" else f"{run.status}, deleted"),
        Fact("Started", iso_time(run.start_time), "time"),
        Fact("Duration", run.duration_s, "duration"),
        Fact("User", run.user),
        Fact("Nested in", run.parent_run_id, "id"),
    ]
    if run.tags.get(ROLE_TAG) == "study" and not of_study:
        facts.append(Fact("A study", f"agentnn report hpo {run.run_id}", "code"))
    return tuple(fact for fact in facts if fact.value not in (None, ""))


def state_of(run: Run) -> State:
    """How a run ended."""
    if run.status in ("RUNNING", "SCHEDULED"):
        return "open"
    return "good" if run.status == "FINISHED" else "bad"


def _leading_values(facts: TrainingFacts) -> str:
    directions = facts.origin.directions
    parts = []
    for key in directions.key_metrics(facts.run.metrics, _MOST_IN_OUTCOME):
        value, curve = facts.run.metrics[key], facts.curves.get(key)
        best = curve.best(directions.direction(key)) if curve is not None and curve.points > 1 else None
        part = f"{key} {value_text(value, key, facts.run, directions)}"
        if best is not None and math.isfinite(value) and best.value != value:
            part += f" (best {value_text(best.value, key, facts.run, directions)} at step {best.step})"
        parts.append(part)
    return sentence(", ".join(parts)) if parts else "It logged no metric."


def _section(title: str, anchor: str, blocks: list[Block] | list[Missing]) -> Section:
    return Section(title, anchor, tuple(blocks))


def _told_together(sections: list[Section]) -> list[Section]:
    """Parts of which there is nothing but that they are missing, as one part at the end."""
    there = [one for one in sections if not _is_missing(one)]
    missing = [block for one in sections if _is_missing(one) for block in one.blocks]
    if not missing:
        return there
    problems = [one for one in there if one.anchor == "problems"]
    rest = [one for one in there if one.anchor != "problems"]
    return [*rest, *problems, Section("Left out", "left-out", tuple(missing))]


def _is_missing(section: Section) -> bool:
    return section.anchor != "problems" and all(isinstance(block, Missing) for block in section.blocks)


def _split(problem: str) -> tuple[str, str]:
    what, _, why = problem.partition(": ")
    return what, why or "it can't be read"
