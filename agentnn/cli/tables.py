"""Tables and curves for a person at a terminal. Loads Rich, so it is itself loaded only when there is one."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from agentnn.cli.text import short, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.cli.render import View

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


def table_of(view: View, console: Console) -> Group | Table:
    """A table of a view's rows; columns that do not fit are left out from the right, and named below."""
    rows = [row.shown or [short(value) for value in row.cells] for row in view.rows]
    numeric = [all(_is_number(row[index]) for row in rows) for index in range(len(view.columns))]
    fitting = _fitting(view.columns, rows, console.width, view.essential)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    for index in fitting:
        header = Text(_header(view.columns[index]))
        justify: Literal["left", "right"] = "right" if rows and numeric[index] else "left"
        table.add_column(header, justify=justify, no_wrap=True, overflow="ellipsis", max_width=_WIDEST_CELL)
    for row in rows:
        table.add_row(*(styled(row[index]) for index in fitting))
    if not rows:
        return Group(Text("(none)", style="dim"))
    left_out = [view.columns[index] for index in range(len(view.columns)) if index not in fitting]
    return Group(table, _left_out_note(left_out, console.width)) if left_out else table


def details(pairs: Sequence[tuple[str, object]]) -> Table:
    """Names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(visible(name)), styled(short(value)) if not isinstance(value, Text) else value)
    return table


def styled(text: str) -> Text:
    """A cell; the words for a status get their colour, everything else is plain."""
    return Text(text, style=_STATUS.get(text, ""))


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve as one line of blocks; NaN and infinities are gaps."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    step = (high - low) / (len(_BLOCKS) - 1) or 1.0
    if not math.isfinite(step):
        return ""
    picked = [values[index * len(values) // width] for index in range(width)] if len(values) > width else values
    return "".join(_BLOCKS[round((value - low) / step)] if math.isfinite(value) else " " for value in picked)


def curve(values: Sequence[float], *, width: int, height: int = 12) -> Text:
    """A curve over its index, drawn in braille dots: 2 x 4 a character (https://www.unicode.org/charts/PDF/U2800.pdf)."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Text("(no finite value)", style="dim")
    low, high = min(finite), max(finite)
    labels = [short(high), *[""] * (height - 2), short(low)]
    margin = max(map(len, labels)) + 1
    columns = max(10, width - margin - 2)
    dots = [[0] * columns for _ in range(height)]
    for x in range(2 * columns):
        value = _between(values, x * (len(values) - 1) / (2 * columns - 1))
        if math.isfinite(value):
            y = round((high - value) / ((high - low) or 1.0) * (4 * height - 1))
            dots[y // 4][x // 2] |= _braille_bit(x % 2, y % 4)
    lines = ("".join(chr(0x2800 + cell) for cell in line).rstrip("\u2800") for line in dots)
    return Text("\n".join(f"{label:>{margin}} │{line}" for label, line in zip(labels, lines, strict=True)))


def _between(values: Sequence[float], position: float) -> float:
    """The value at a place between two points of a curve."""
    before = int(position)
    after = min(before + 1, len(values) - 1)
    share = position - before
    return values[before] if share == 0 else values[before] * (1 - share) + values[after] * share


def _braille_bit(x: int, y: int) -> int:
    return (0x40, 0x80)[x] if y == 3 else 1 << (y + 3 * x)


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, essential: int) -> list[int]:
    fitting: list[int] = []
    used = 0
    for index, name in enumerate(columns):
        cells = max((len(row[index]) for row in rows), default=0)
        needed = min(_WIDEST_CELL, max(len(_header(name)), cells)) + _GAP
        if index >= essential and used + needed > width + _GAP:
            break
        used += needed
        fitting.append(index)
    return fitting


def _header(column: str) -> str:
    """A column's name for a person: of what kind it is goes without saying."""
    return visible(column.removeprefix("metrics.").removeprefix("params.").removeprefix("best."))


def _left_out_note(left_out: Sequence[str], width: int) -> Text:
    many = "column" if len(left_out) == 1 else "columns"
    text = f"and {len(left_out)} more {many}: {', '.join(_header(name) for name in left_out)}"
    return Text(text if len(text) <= width else text[: width - 1] + "…", style="dim")


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
