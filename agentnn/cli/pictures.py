"""What a person at a terminal sees of one run or one curve. Loads Rich, like :mod:`agentnn.cli.tables`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentnn.cli.amounts import age, duration
from agentnn.cli.tables import condensed, curve, details, sparkline, styled
from agentnn.cli.text import short, visible
from agentnn.tracking.backtests.equity_curve import EQUITY_CURVE_TAG, drawdowns, read_sketch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import Metric, Run
    from agentnn.tracking.backtests.equity_curve import CurveSketch

_BACKTEST_WIDTHS = range(8, 48)
"""Characters of an equity curve: at least, and at most, which is twice those of a metric's."""


def run_picture(run: Run, histories: Mapping[str, Sequence[Metric]], width: int) -> Group:
    """A run: what it is, the equity curve of its backtest, its metrics with their curves, its params, its tags."""
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
    backtest = read_sketch(tags.get(EQUITY_CURVE_TAG, ""))
    if backtest is not None:
        del tags[EQUITY_CURVE_TAG]  # drawn; a tag of that name that can't be drawn is shown as it is
    parts: list[RenderableType] = [details([pair for pair in facts if pair[1] not in (None, "")])]
    parts += _section("backtest", _backtest(backtest, width) if backtest else None)
    parts += _section("metrics", metrics_table(run, histories) if run.metrics else None)
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


def _backtest(sketch: CurveSketch, width: int) -> Table:
    """The equity curve and its drawdown, each a line with its figures; the curves take what width these leave."""
    falls = drawdowns(sketch.values)
    deepest = min((fall for fall in falls if math.isfinite(fall)), default=None)
    growth, dates = _from_start_to_end(sketch.values), visible(" → ".join(sketch.dates or ()))
    room = width - len("drawdown") - max(len(growth), len(dates)) - 4
    drawn = max(_BACKTEST_WIDTHS.start, min(room, _BACKTEST_WIDTHS.stop))
    closes = condensed(sketch.values, drawn, lambda stretch: stretch[-1])
    table = _figures_and_curves(wrapped=True)
    table.add_row("equity", Text(growth), Text(sparkline(closes, drawn), style="cyan"))
    if deepest is not None:
        depths = condensed(falls, drawn, min)
        table.add_row("drawdown", f"max {deepest:.1%}", Text(sparkline(depths, drawn, top=0), style="red"))
    if dates:
        table.add_row("dates", Text(dates))
    return table


def _from_start_to_end(values: Sequence[float]) -> str:
    first, last = values[0], values[-1]
    change = f" ({last / first - 1:+.1%})" if first > 0 else ""
    return f"{_amount(first)} → {_amount(last)}{change}"


def _amount(value: float) -> str:
    """A sum of money to the unit, a smaller number to four digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else short(value)


def _figures_and_curves(*, wrapped: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=not wrapped, overflow="fold" if wrapped else "ellipsis")
    table.add_column(no_wrap=True)
    return table


def metrics_table(run: Run, histories: Mapping[str, Sequence[Metric]]) -> Table:
    """A run's metrics, each with its curve."""
    table = _figures_and_curves()
    for key, value in sorted(run.metrics.items()):
        points = histories.get(key, ())
        line = sparkline([one.value for one in points]) if len(points) > 1 else ""
        table.add_row(Text(visible(key)), Text(short(value)), Text(line, style="cyan"))
    return table


def _section(title: str, body: RenderableType | None) -> list[RenderableType]:
    return [] if body is None else [Text(f"\n{title}", style="dim"), body]
