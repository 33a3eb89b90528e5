"""Values as cells, and tables that grow column by column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeGuard

from agentnn.query.comparison import typed
from agentnn.reporting.curves import rounded
from agentnn.reporting.document import Column, Mark, Table, cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentnn.conventions import Direction
    from agentnn.reporting.document import Cell, MarkKind, Shape

_LONGEST_PARAM = 120
_WIDE = 99.9
_ROUNDING = 1e-12


class GrowingTable:
    """A table of rows that are known, to which columns are added."""

    def __init__(self) -> None:
        self._columns: list[Column] = []
        self._cells: list[Sequence[Cell]] = []
        self._marks: list[Mark] = []

    def add(self, column: Column, cells: Sequence[Cell]) -> None:
        """Add a column."""
        self._columns.append(column)
        self._cells.append(cells)

    def mark(self, rows: Iterable[int], kind: MarkKind) -> None:
        """Mark cells of the column that was added last."""
        self._marks += [Mark(row, len(self._columns) - 1, kind) for row in rows]

    def finish(self, id: str, title: str, **more: Any) -> Table:
        """The table; ``more`` are fields of it."""
        rows = tuple(zip(*self._cells, strict=True))
        return Table(id, title, tuple(self._columns), rows, tuple(self._marks), **more)


def metric_cell(value: float | None, digits: int | None = None) -> Cell:
    """A metric's value, which a run may lack, in full or to so many significant digits."""
    if value is None:
        return None
    return rounded(value, digits) if digits is not None and math.isfinite(value) else cell(value)


def param_cell(text: str | None) -> Cell:
    """A param in a table of many runs, as what it means; a long text is cut."""
    value = typed(text)
    if isinstance(value, str) and len(value) > _LONGEST_PARAM:
        return f"{value[: _LONGEST_PARAM - 1]}…"
    return None if value is None else cell(value)


def shape_of_cells(cells: Iterable[Cell]) -> Shape:
    """``number`` where there are numbers and nothing else."""
    present = [value for value in cells if value is not None]
    return "number" if present and all(map(is_number, present)) else "text"


def is_number(value: object) -> TypeGuard[float | int]:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_wide(cells: Iterable[Cell]) -> bool:
    """Whether there are only positive numbers, which span two powers of ten or more."""
    numbers = [value for value in cells if is_number(value)]
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) > _WIDE


def best_places(values: Sequence[float | None], direction: Direction | None) -> list[int]:
    """Where the best values are; nowhere if all are the same, or nobody says what is better."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if direction is None or not finite or is_same(min(finite), max(finite)):
        return []
    best = max(finite) if direction == "max" else min(finite)
    return [place for place, value in enumerate(values) if value is not None and is_same(value, best)]


def is_same(one: float, other: float) -> bool:
    """Whether two values differ by no more than the rounding of what they were computed by."""
    return one == other or math.isclose(one, other, rel_tol=_ROUNDING)


def difference(value: float, base: float) -> float:
    """A value less another; 0 where they differ by their rounding alone."""
    return 0.0 if is_same(value, base) else value - base


def wrong_places(values: Sequence[float | None]) -> list[int]:
    """Where values are not finite."""
    return [place for place, value in enumerate(values) if value is not None and not math.isfinite(value)]
