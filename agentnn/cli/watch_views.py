"""Views of runs that are under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.amounts import duration
from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.text import Text

    from agentnn.query.progress import RunProgress

_COLUMNS = ("run_id", "name", "experiment", "status", "step", "total_steps", "steps_per_s", "remaining_s")
_LONG_SILENCE_S = 180
_MOST_METRICS = 12


def progress_view(seen: Sequence[RunProgress]) -> View:
    """How far runs are; a person sees each with its metrics and their curves."""
    rows = [_row(one) for one in seen]
    return View(rows, lambda: Table(_COLUMNS, rows), picture=lambda console: _picture(seen, console))


def _row(one: RunProgress) -> Row:
    cells: list[Any] = [one.run.run_id, one.run.name, one.run.experiment, one.run.status, one.step, one.total_steps]
    return Row([*cells, one.steps_per_s, one.remaining_s], one.run.run_id, one.to_dict)


def _picture(seen: Sequence[RunProgress], console: Console) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if not seen:
        return Text("(none)", style="dim")
    return Group(*(part for one in seen for part in _paragraph(one, console.width)))


def _paragraph(one: RunProgress, width: int) -> list[RenderableType]:
    from rich.padding import Padding

    from agentnn.cli.pictures import metrics_table

    shown = dict(sorted(one.histories.items())[:_MOST_METRICS])
    parts: list[RenderableType] = [_headline(one)]
    if shown:
        parts.append(Padding(metrics_table(one.run, shown), (0, 0, 0, 2)))
    return parts


def _headline(one: RunProgress) -> Text:
    from rich.text import Text

    from agentnn.cli.tables import styled

    line = Text.assemble((visible(one.run.name or one.run.run_id), "bold"), "  ", styled(one.run.status))
    facts = []
    if one.step is not None:
        facts.append(f"step {one.step}" + (f"/{one.total_steps}" if one.total_steps else ""))
    if one.steps_per_s:
        facts.append(
            f"{short(one.steps_per_s)} steps/s" if one.steps_per_s >= 1 else f"{short(1 / one.steps_per_s)} s/step"
        )
    if one.remaining_s is not None:
        facts.append(f"{duration(one.remaining_s)} left")
    elif one.run.duration_s is not None:
        facts.append(f"took {duration(one.run.duration_s)}")
    line.append("".join(f"  {fact}" for fact in facts))
    if one.silent_s is not None and one.silent_s > _LONG_SILENCE_S:
        line.append(f"  silent for {duration(one.silent_s)}: agentnn run doctor tells whether it is alive", "yellow")
    return line
