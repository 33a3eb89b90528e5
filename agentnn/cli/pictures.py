"""What a person at a terminal sees of one run or one curve. Loads Rich, like :mod:`agentnn.cli.tables`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentnn.cli.tables import curve, details, sparkline, styled
from agentnn.cli.text import short, visible
from agentnn.cli.views import age, duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import Metric, Run


def run_picture(run: Run, histories: Mapping[str, Sequence[Metric]]) -> Group:
    """A run: what it is, its metrics with their curves, its params, its tags."""
    facts: list[tuple[str, Any]] = [
        ("run", f"{run.name}  {run.run_id}"),
        ("experiment", f"{run.experiment} ({run.experiment_id})"),
        (
            "status",
            styled(run.status)
            if run.lifecycle_stage == "active"
            else Text(visible(f"{run.status}, deleted"), style="red"),
        ),
        ("started", f"{run.to_dict()['start_time']} ({age(run.start_time)})"),
        ("duration", duration(run.duration_s)),
        ("user", run.user),
        ("nested in", run.parent_run_id),
        ("artifacts", run.artifact_uri),
    ]
    facts += [("data set", f"{one.name} ({one.digest}) {one.context or ''}") for one in run.datasets]
    tags = {key: value for key, value in run.tags.items() if not key.startswith("mlflow.")}
    parts: list[RenderableType] = [details([pair for pair in facts if pair[1] not in (None, "")])]
    parts += _section("metrics", _metrics(run, histories) if run.metrics else None)
    parts += _section("params", details(sorted(run.params.items())) if run.params else None)
    parts += _section("tags", details(sorted(tags.items())) if tags else None)
    return Group(*parts)


def history_picture(history: Sequence[Metric], width: int) -> Group:
    """A metric's curve, and its ends in words."""
    first, last = history[0], history[-1]
    steps = f"steps {first.step} to {last.step}, {len(history)} values, last {short(last.value)}"
    return Group(
        Text(visible(first.key), style="bold"),
        curve([one.step for one in history], [one.value for one in history], width=width),
        Text(steps, style="dim"),
    )


def _metrics(run: Run, histories: Mapping[str, Sequence[Metric]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for key, value in sorted(run.metrics.items()):
        points = histories.get(key, ())
        line = sparkline([one.value for one in points]) if len(points) > 1 else ""
        table.add_row(Text(visible(key)), Text(short(value)), Text(line, style="cyan"))
    return table


def _section(title: str, body: RenderableType | None) -> list[RenderableType]:
    return [] if body is None else [Text(f"\n{title}", style="dim"), body]
