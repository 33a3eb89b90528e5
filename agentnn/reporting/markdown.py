"""A report as Markdown for a comment on a pull request: short, and nothing in it is acted on.

GitHub takes comments of up to 65,536 characters: of tables the first rows and columns are told, of charts one line each
with the course of its lines in small characters, and of what is missing one line in all.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from agentnn.reporting.document import (
    BarChart,
    Figure,
    Figures,
    HeatTable,
    LineChart,
    Missing,
    Report,
    Table,
    Text,
    TimelineChart,
)
from agentnn.reporting.shapes import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.reporting.document import Block, Cell, Column, Mark, Point, Section, Shape

_MOST_ROWS, _MOST_COLUMNS, _MOST_LINES, _MOST_CHARTS = 12, 8, 6, 5
_LONGEST_CELL, _LONGEST_CODE = 60, 1500
_OPEN = ("metrics", "curves", "backtest", "best", "runs-section", "seeds", "optimisation", "luck", "problems")
"""The sections that are read at first; the others are folded up."""

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 24
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
_MENTION = re.compile(r"([@#])(?=\w)")
_NOTHING = "\u200b"
_BEGINNING = re.compile(r"^(\d*)([#+\-=.)])(?=[\s#+\-=]|$)")
_MARKS = {"best": "**{}**", "better": "{} ▲", "worse": "{} ▼", "changed": "**{}**", "wrong": "⚠ {}"}
_STATES = {"good": "✅", "open": "⏳", "bad": "❌", "mixed": "⚠️"}
_MIXED_UP = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def render_markdown(report: Report) -> str:
    """A report as Markdown, GitHub's."""
    lines = [f"## {_STATES[report.state]} {safe(report.title)}", "", safe(report.outcome), ""]
    if report.about:
        told = " · ".join(f"{safe(fact.name)}: {_shown(fact.value, fact.shape)}" for fact in report.about)
        lines += [told, ""]
    missing: list[str] = []
    for section in report.sections:
        lines += _section(section, missing)
    if missing:
        lines += [f"<sub>Left out: {'; '.join(missing)}.</sub>", ""]
    by = f"agentnn {report.source.version}".strip()
    when = f", as of {report.source.as_of}" if report.source.as_of else ""
    lines.append(f"<sub>Made by {safe(by)} from {safe(report.source.store)}{safe(when)}.</sub>")
    return "\n".join(lines) + "\n"


def safe(text: str, most: int = 400) -> str:
    """Text in which no markup, HTML, link or mention has a meaning, on one line."""
    line = " ".join(_MIXED_UP.sub(" ", text).split())
    cut = line[: most - 1] + "…" if len(line) > most else line
    escaped = _SPECIAL.sub(r"\\\1", cut).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.replace("://", ":\\//").replace("www.", "www\\.")
    escaped = _MENTION.sub(f"\\1{_NOTHING}", escaped)  # GitHub looks for these after all escapes are gone
    return _BEGINNING.sub(r"\1\\\2", escaped)


def sparkline(values: Sequence[Point]) -> str:
    """A line in 24 characters or fewer: the mean of each stretch; a gap is a space."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return ""
    lowest, span = min(finite), max(finite) - min(finite)
    count = min(len(values), _SPARKS)
    signs = []
    for place in range(count):
        part = values[place * len(values) // count : (place + 1) * len(values) // count]
        known = [value for value in part if value is not None and math.isfinite(value)]
        if not known:
            signs.append(" ")
            continue
        height = (math.fsum(known) / len(known) - lowest) / span if span and math.isfinite(span) else 0.5
        signs.append(_BARS[min(int(height * len(_BARS)), len(_BARS) - 1)])
    return "".join(signs)


def _section(section: Section, missing: list[str]) -> list[str]:
    told: list[str] = []
    heading = f"**{safe(section.title)}**"
    charts = 0
    for block in section.blocks:
        if isinstance(block, Missing):
            missing.append(safe(f"{block.what} ({block.why})"))
            continue
        charts += isinstance(block, LineChart)
        if isinstance(block, LineChart) and charts > _MOST_CHARTS:
            continue
        lines = _block(block)
        told += lines[2:] if lines[:1] == [heading] else lines  # it is said already
    if not told:
        return []
    if charts > _MOST_CHARTS:
        told += [f"… and {charts - _MOST_CHARTS} more charts", ""]
    if section.anchor in _OPEN:
        return [f"### {safe(section.title)}", "", *told]
    return [f"<details><summary>{safe(section.title)}</summary>", "", *told, "</details>", ""]


def _block(block: Block) -> list[str]:
    if isinstance(block, Figures):
        return [*_figures(block), ""]
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, LineChart):
        return _lines(block)
    if isinstance(block, BarChart):
        return _bars(block)
    if isinstance(block, HeatTable):
        return _heat(block)
    if isinstance(block, Text):
        return _text(block)
    if isinstance(block, TimelineChart):
        return [f"{safe(block.title)}: {safe(block.summary)}", ""]
    return []  # the other charts draw columns of a table, and say nothing without being seen


def _figures(block: Figures) -> Iterator[str]:
    if block.title:
        yield f"**{safe(block.title)}**"
        yield ""
    for item in block.items:
        arrow = {"max": " ↑", "min": " ↓", None: ""}[item.direction]
        unit = f" {safe(item.unit)}" if item.unit else ""
        more = [_delta(item)] if item.delta is not None else []
        more += [safe(item.note)] if item.note else []
        yield f"- {safe(item.name)}{arrow}: **{_shown(item.value, item.shape, item.digits)}**{unit}" + (
            f" ({'; '.join(more)})" if more else ""
        )


def _delta(item: Figure) -> str:
    assert item.delta is not None
    sign = {True: "▲ ", False: "▼ ", None: ""}[item.is_better]
    plus = "+" if item.delta > 0 else ""
    return f"{sign}{plus}{_shown(item.delta, item.shape, item.digits)} to {safe(item.delta_to)}"


def _table(table: Table) -> list[str]:
    """The first columns; of many rows the best ones, where a column says what that is, or else the first."""
    if table.is_collapsed and len(table.rows) > _MOST_ROWS:
        return []
    marks = {(mark.row, mark.column): mark for mark in table.marks}
    shown = [place for place, column in enumerate(table.columns) if column.shape != "id"][:_MOST_COLUMNS]
    rows, by = _first_rows(table)
    lines = [f"**{safe(table.title)}**", ""]
    lines.append("| " + " | ".join(safe(table.columns[place].title, _LONGEST_CELL) for place in shown) + " |")
    lines.append("|" + "".join(_rule(table.columns[place]) for place in shown))
    for row in rows:
        cells = [_cell(table.rows[row][place], table.columns[place], marks.get((row, place))) for place in shown]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    left = []
    if len(rows) < len(table.rows):
        left.append(f"{len(rows)} of {len(table.rows):,} rows{by}")
    if len(shown) < len(table.columns):
        left.append(f"{len(shown)} of {len(table.columns)} columns")
    notes = ([", ".join(left)] if left else []) + ([table.note] if table.note else [])
    return [*lines, f"<sub>{safe('; '.join(notes))}</sub>", ""] if notes else lines


def _first_rows(table: Table) -> tuple[list[int], str]:
    """Which rows are shown, and in words why these."""
    judged = next((place for place, column in enumerate(table.columns) if column.direction is not None), None)
    if len(table.rows) <= _MOST_ROWS or judged is None:
        return list(range(min(len(table.rows), _MOST_ROWS))), ""
    sign = -1 if table.columns[judged].direction == "max" else 1
    values = [row[judged] for row in table.rows]
    known = [(sign * value, row) for row, value in enumerate(values) if isinstance(value, (int, float))]
    return [row for _, row in sorted(known)[:_MOST_ROWS]], f", the best by {table.columns[judged].title}"


def _lines(chart: LineChart) -> list[str]:
    lines = [f"**{safe(chart.title)}**", ""]
    for one in chart.series[:_MOST_LINES]:
        known = [value for value in one.y if value is not None]
        if known:
            shape: Shape = chart.y_shape
            ends = f"{_shown(known[0], shape)} → {_shown(known[-1], shape)}"
            lines.append(f"- `{sparkline(one.y)}` {safe(one.name, _LONGEST_CELL)}: {ends}")
    if len(lines) == 2:
        return []
    if len(chart.series) > _MOST_LINES:
        lines.append(f"- … and {len(chart.series) - _MOST_LINES:,} more")
    return [*lines, ""]


def _bars(chart: BarChart) -> list[str]:
    lines = [f"**{safe(chart.title)}**", ""]
    greatest = max((abs(value) for value in chart.values if value is not None), default=0.0)
    for label, value in list(zip(chart.labels, chart.values, strict=True))[:_MOST_LINES]:
        bar = "█" * round(10 * abs(value) / greatest) if value is not None and greatest else ""
        lines.append(f"- {safe(label, _LONGEST_CELL)}: {_shown(value, chart.value_shape)} {bar}".rstrip())
    return [*lines, ""]


def _heat(table: HeatTable) -> list[str]:
    lines = [f"**{safe(table.title)}**", "", "| | " + " | ".join(map(safe, table.column_labels)) + " |"]
    lines.append("|---|" + "--:|" * len(table.column_labels))
    for label, values in list(zip(table.row_labels, table.values, strict=True))[-_MOST_ROWS:]:
        lines.append(f"| {safe(label)} | " + " | ".join(_shown(value, table.shape) for value in values) + " |")
    return [*lines, ""]


def _text(block: Text) -> list[str]:
    if block.is_collapsed:
        return []
    title = [f"**{safe(block.title)}**", ""] if block.title else []
    if block.style == "prose":
        return [*title, safe(block.text, _LONGEST_CODE), ""]
    text = block.text if len(block.text) <= _LONGEST_CODE else block.text[:_LONGEST_CODE] + "\n…"
    text = "\n".join(_MIXED_UP.sub(" ", line) for line in text.splitlines())
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [*title, fence, text, fence, ""]


def _rule(column: Column) -> str:
    return " --: |" if column.shape in ("number", "percent", "duration") else " --- |"


def _cell(value: Cell, column: Column, mark: Mark | None) -> str:
    text = _shown(value, column.shape, column.digits, is_signed=column.is_signed)
    return _MARKS[mark.kind].format(text) if mark is not None and text else text


def _shown(value: Cell, shape: Shape, digits: int | None = None, *, is_signed: bool = False) -> str:
    """A value as the page shows it; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"`{value[:8]}`" if shape == "id" and value.isalnum() else safe(value, _LONGEST_CELL)
    return shown(value, shape, digits=digits, is_signed=is_signed)
