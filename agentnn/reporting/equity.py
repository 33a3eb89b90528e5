"""The equity of a run: from the table that its backtest logged, or from the small copy in its tag."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING, Any

from agentnn.query.expressions import to_number
from agentnn.tracking.backtests.backtest_shapes import read_portfolio_values
from agentnn.tracking.backtests.equity_curve import EquityCurve, read_sketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.values.tabular import Table


@dataclass(frozen=True, slots=True)
class Equity:
    """What a portfolio was worth.

    Attributes:
        curve: The values, and their dates where they are known.
        is_sketch: It is the tag's copy: some of the values, whose distances in time are not known.
        span: The first and the last date of a sketch.
    """

    curve: EquityCurve
    is_sketch: bool = False
    span: tuple[str, str] | None = None


def equity_of_table(table: Table) -> Equity:
    """The equity in a table as ``log_backtest_results`` writes it.

    Raises:
        UsageError: The table holds no such thing.
    """
    return Equity(read_portfolio_values(numeric_columns(table)).curve)


def equity_of_sketch(text: str) -> Equity | None:
    """The equity in a run's tag; ``None`` where the tag holds none."""
    sketch = read_sketch(text)
    return None if sketch is None else Equity(EquityCurve(sketch.values), True, sketch.dates)


def numeric_columns(table: Table) -> dict[str, list[Any]]:
    """The columns of a table of text; one in which every cell is a number or empty, as numbers."""
    columns: dict[str, list[Any]] = {}
    for name in table.columns:
        cells = table.column(name)
        numbers = [to_number(one) if one else None for one in cells]
        is_numeric = any(cells) and all(value is not None or not one for one, value in zip(cells, numbers, strict=True))
        columns[name] = numbers if is_numeric else cells
    return columns


def iso_dates(dates: Sequence[datetime]) -> list[str]:
    """Dates as ISO 8601; without the time of day where all are midnights."""
    if all(date.time() == time() for date in dates):
        return [date.date().isoformat() for date in dates]
    return [date.isoformat(timespec="seconds") for date in dates]
