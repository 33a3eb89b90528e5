"""A study, for a person and for a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, Table, View

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from rich.console import Console, RenderableType

    from agentnn.training.hpo.results import StudyResult, TrialRecord

_SHOWN_TRIALS = 10


def study_view(result: StudyResult) -> View:
    """A study: a line a trial, the whole of it as JSON, the id of its run."""
    whole = Row((), result.run_id or result.name, result.to_dict)
    return View(
        [whole],
        lambda: _table(result, result.trials),
        single=True,
        picture=lambda console: _picture(result, console),
    )


def _table(result: StudyResult, trials: Sequence[TrialRecord], left_out: Container[str] = ()) -> Table:
    from agentnn.training.hpo.study_files import trials_table

    columns = {name: values for name, values in trials_table(result, trials).items() if name not in left_out}
    lines = zip(*columns.values(), strict=True)
    rows = [Row(line, str(one.run_id or one.number), one.to_dict) for line, one in zip(lines, trials, strict=True)]
    return Table(list(columns), rows, essential=3)


def _shown_table(result: StudyResult) -> tuple[Table, int]:
    """The best trials as a person compares them: by what was tried; and how many more there are."""
    shown = _best_first(result)[:_SHOWN_TRIALS]
    measured = {f"metrics.{name}" for one in shown for name in one.metrics}
    unused = {name for name in ("retry_of", "reason") if not any(getattr(one, name) for one in shown)}
    return _table(result, shown, {"run_id", *measured, *unused}), len(result.trials) - len(shown)


def _picture(result: StudyResult, console: Console) -> RenderableType:
    """What came out, and the best trials."""
    from rich.console import Group
    from rich.text import Text

    from agentnn.cli.tables import details, table_of

    counts = ", ".join(f"{number} {state}" for state, number in result.counts.items() if number)
    facts: list[tuple[str, Any]] = [
        ("study", f"{result.name}  {result.run_id or ''}"),
        ("objective", ", ".join(map(str, result.objectives))),
        ("trials", counts),
    ]
    if result.pareto:
        facts.append(("Pareto front", ", ".join(f"trial {one.number}" for one in result.pareto)))
    facts += [(name, value) for name, value in result.metrics.items() if name in _SHOWN_METRICS]
    if result.registered is not None:
        facts.append(("registered", f"models:/{result.registered}"))
    table, more = _shown_table(result)
    parts: list[RenderableType] = [details(facts), Text(), table_of(table, console)]
    return Group(*parts, Text(f"{more} more: -o tsv", style="dim")) if more else Group(*parts)


_SHOWN_METRICS = (
    "best_validation_sharpe_ratio",
    "best_test_sharpe_ratio",
    "best_test_total_return",
    "best_test_max_drawdown",
    "deflated_sharpe_ratio",
)


def _best_first(result: StudyResult) -> list[TrialRecord]:
    """By the first objective; what came to no value is last."""
    sign = 1 if result.objectives[0].mode == "min" else -1
    return sorted(
        result.trials,
        key=lambda one: (not one.is_comparable, sign * one.values[0] if one.is_comparable else 0.0, one.number),
    )
