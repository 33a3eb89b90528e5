"""Tables and curves for a person at a terminal. Loads Rich, so it is itself loaded only when there is one."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentnn.cli.text import short, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentnn.cli import render

_BLOCKS = "▁▂▃▄▅▆▇█"
_STATUS = {
    "FINISHED": "green",
    "RUNNING": "yellow",
    "SCHEDULED": "yellow",
    "FAILED": "red",
    "KILLED": "red",
    "deleted": "red",
}
_GAP = 2
_WIDEST_CELL = 40


def make_console(*, stderr: bool = False) -> Console:
    """A console that styles nothing by itself: no markup, no highlighting, no emoji codes."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 100_000
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width, soft_wrap=not stream.isatty())


def picture_of(view: render.View, console: Console) -> RenderableType:
    """What a person sees of a view: its own picture, or its rows as a table."""
    return view.picture(console) if view.picture is not None else table_of(view.table(), console)


def table_of(source: render.Table, console: Console) -> Group | Table:
    """A table; columns that do not fit are left out from the right, and named below."""
    source_rows = list(source.rows)
    rows = [row.as_shown() for row in source_rows]
    if not rows:
        return Group(Text("(none)", style="dim"))
    headers = _headers(source.columns)
    widths = [_width(headers[index], [row[index] for row in rows]) for index in range(len(headers))]
    fitting = _fitting(widths, console.width, source.essential)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    for index in fitting:
        justify: Literal["left", "right"] = "right" if all(_is_number(row[index]) for row in rows) else "left"
        table.add_column(
            Text(headers[index]), justify=justify, no_wrap=True, overflow="ellipsis", max_width=_WIDEST_CELL
        )
    for row, source_row in zip(rows, source_rows, strict=True):
        styles = source_row.styles
        table.add_row(*(styled(row[index], styles[index] if styles else "") for index in fitting))
    left_out = headers[len(fitting) :]
    return Group(table, _left_out_note(left_out, console.width)) if left_out else table


def details(pairs: Sequence[tuple[str, object]]) -> Table:
    """Names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(visible(name)), styled(short(value)) if not isinstance(value, Text) else value)
    return table


def styled(text: str, style: str = "") -> Text:
    """A cell; the words for a status get their colour, everything else is plain or as it is told."""
    return Text(visible(text), style=style or _STATUS.get(text, ""))


def sparkline(values: Sequence[float], width: int = 24, *, top: float = -math.inf) -> str:
    """A curve as one line of blocks; NaN and infinities are gaps.

    Args:
        values: The curve.
        width: Characters; of more values than that some are picked.
        top: The highest block stands for this, or for the greatest value if that is higher.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(top, *finite)
    picked = [values[index * len(values) // width] for index in range(width)] if len(values) > width else values
    last = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[last - round(_share(value, low, high) * last)] if math.isfinite(value) else " " for value in picked
    )


def condensed(values: Sequence[float], count: int, choose: Callable[[Sequence[float]], float]) -> list[float]:
    """One value for each of ``count`` equal stretches, or all values where they are no more than that.

    Args:
        values: The values.
        count: How many are wanted, at least 1.
        choose: Makes one value out of a stretch, such as ``min``.
    """
    if len(values) <= count:
        return list(values)
    edges = [stretch * len(values) // count for stretch in range(count + 1)]
    return [choose(values[start:end]) for start, end in zip(edges, edges[1:], strict=False)]


def curve(steps: Sequence[float], values: Sequence[float], *, width: int, height: int = 12) -> Text:
    """A curve over its steps, drawn in braille dots, 2 x 4 a character (https://www.unicode.org/charts/PDF/U2800.pdf).

    Args:
        steps: Where the values lie, ascending.
        values: The values; what is not finite is a gap.
        width: Characters, the scale on the left included.
        height: Lines.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Text("(no finite value)", style="dim")
    low, high = min(finite), max(finite)
    labels = [short(high), *[""] * (height - 2), short(low)]
    margin = max(map(len, labels)) + 1
    columns = max(10, width - margin - 2)
    dots = [[0] * columns for _ in range(height)]
    for x, value in enumerate(_resampled(steps, values, 2 * columns)):
        if math.isfinite(value):
            y = round(_share(value, low, high) * (4 * height - 1))
            dots[y // 4][x // 2] |= _braille_bit(x % 2, y % 4)
    lines = ("".join(chr(0x2800 + cell) for cell in line).rstrip("\u2800") for line in dots)
    return Text("\n".join(f"{label:>{margin}} │{line}" for label, line in zip(labels, lines, strict=True)))


def _share(value: float, low: float, high: float) -> float:
    """How far a value lies below the top, from 0 to 1. Halved on the way, since a whole range may overflow."""
    span = high / 2 - low / 2
    return (high / 2 - value / 2) / span if span else 0.5


def _resampled(steps: Sequence[float], values: Sequence[float], count: int) -> list[float]:
    """The values at evenly spaced steps, on straight lines between those that were logged."""
    first, last = steps[0], steps[-1]
    sampled, after = [], 0
    for index in range(count):
        step = first + (last - first) * (index / (count - 1))
        while after < len(steps) - 1 and steps[after] < step:
            after += 1
        before = max(after - 1, 0)
        gap = steps[after] - steps[before]
        share = (step - steps[before]) / gap if gap and step < steps[after] else 1.0
        sampled.append(values[after] if share == 1 else values[before] * (1 - share) + values[after] * share)
    return sampled


def _braille_bit(x: int, y: int) -> int:
    return (0x40, 0x80)[x] if y == 3 else 1 << (y + 3 * x)


def _width(header: str, cells: Sequence[str]) -> int:
    return min(_WIDEST_CELL, max(cell_len(header), *(cell_len(cell) for cell in cells)))


def _fitting(widths: Sequence[int], available: int, essential: int) -> range:
    """The leading columns that fit side by side."""
    used = 0
    for index, width in enumerate(widths):
        used += width + _GAP
        if index >= essential and used > available + _GAP:
            return range(index)
    return range(len(widths))


def _headers(columns: Sequence[str]) -> list[str]:
    """Names of columns for a person: of what kind each is goes without saying, unless two would be called the same."""
    short_names = [_without_kind(column) for column in columns]
    twice = {name for name in short_names if short_names.count(name) > 1}
    return [visible(column if name in twice else name) for column, name in zip(columns, short_names, strict=True)]


def _without_kind(column: str) -> str:
    kind, dot, key = column.partition(".")
    return key if dot and kind in ("metrics", "params", "best") else column


def _left_out_note(left_out: Sequence[str], width: int) -> Text:
    many = "column" if len(left_out) == 1 else "columns"
    text = Text(f"and {len(left_out)} more {many}: {', '.join(left_out)}", style="dim", no_wrap=True)
    text.truncate(width, overflow="ellipsis")
    return text


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
