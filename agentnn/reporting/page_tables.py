"""A table as a page shows it: headings, rows as text, and what is said of single cells.

Of a long table the first rows are in the page, for readers without scripts; the browser has the rest.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from agentnn.reporting.shapes import NUMERIC, common_digits, shown, visible

if TYPE_CHECKING:
    from agentnn.reporting.document import Cell, Column, Table

FIRST_ROWS = 100
"""As many rows of a table are shown before somebody asks for more; ``templates/tables.js`` says it, too."""

_SHORT = 24
_GROUP_TITLES = {"metric": "Metrics", "param": "Params", "tag": "Tags"}


class Heading(NamedTuple):
    """A column's heading; ``cell`` is how its cells look, in the words of the style sheet."""

    column: Column
    title: str
    digits: int | None
    cell: str


class ShownCell(NamedTuple):
    """A cell as text: ``look`` is in the words of the style sheet, ``full`` is there where the text is shortened,
    ``mark`` is what is said of it."""

    text: str
    look: str
    full: str
    mark: str


class ShownTable(NamedTuple):
    """A table as a page shows it; ``groups`` are titles with their number of columns, and may be empty."""

    headings: list[Heading]
    groups: list[tuple[str, int]]
    rows: list[list[ShownCell]]
    left_out: int


def shown_table(table: Table) -> ShownTable:
    """A table as a page shows it."""
    headings = [_heading(table, place, column) for place, column in enumerate(table.columns)]
    marks = {(mark.row, mark.column): mark.kind for mark in table.marks}
    rows = [
        [
            _cell(value, heading, marks.get((number, place), ""))
            for place, (value, heading) in enumerate(zip(row, headings, strict=True))
        ]
        for number, row in enumerate(table.rows[:FIRST_ROWS])
    ]
    return ShownTable(headings, _groups(table), rows, max(len(table.rows) - FIRST_ROWS, 0))


def _heading(table: Table, place: int, column: Column) -> Heading:
    digits = column.digits
    if digits is None and column.shape == "number":
        digits = common_digits(row[place] for row in table.rows)
    unit = f" ({visible(column.unit)})" if column.unit else ""
    return Heading(column, visible(column.title) + unit, digits, _look(table, place, column))


def _look(table: Table, place: int, column: Column) -> str:
    if column.shape in NUMERIC:
        return "n"
    if column.shape in ("code", "id"):
        return "code" if column.shape == "code" else "code short"
    return "short" if all(len(str(row[place])) <= _SHORT for row in table.rows) else ""


def _cell(value: Cell, heading: Heading, mark: str) -> ShownCell:
    column = heading.column
    text = shown(value, column.shape, digits=heading.digits, is_signed=column.is_signed)
    full = visible(value) if column.shape == "id" and isinstance(value, str) else ""
    is_fall = mark in ("better", "worse") and isinstance(value, (int, float)) and value < 0
    words = (heading.cell, "nothing" if value is None else "", mark, "fall" if is_fall else "")
    return ShownCell(text, " ".join(filter(None, words)), full if full != text else "", mark)


def _groups(table: Table) -> list[tuple[str, int]]:
    if not any(column.group for column in table.columns):
        return []
    found = groupby("metric" if column.group == "delta" else column.group for column in table.columns)
    return [(_GROUP_TITLES.get(name, visible(name)), len(list(members))) for name, members in found]
