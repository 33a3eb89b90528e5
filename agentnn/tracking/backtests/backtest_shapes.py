"""The shapes in which backtesting libraries and people give trades and portfolio values, read into plain ones.

Read are lists of dictionaries, of numbers, of (date, value) pairs, dictionaries of columns, numpy arrays, series and
frames: those of backtesting.py (``_trades``, ``_equity_curve``), vectorbt (``trades.records_readable``,
``value()``) and bt (``get_transactions()``, ``prices``) among them. Columns are found by their names, in which case,
spaces and signs don't count.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNWarning, UsageError
from agentnn.tracking.backtests.equity_curve import EquityCurve
from agentnn.values.plain import as_date, as_number, is_missing
from agentnn.values.tabular import (
    Table,
    is_frame,
    is_series,
    items_of,
    table_of_columns,
    table_of_frame,
    table_of_records,
    table_of_series,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

PROFIT_NAMES = ("pnl", "pl", "profit", "netprofit", "profitloss", "netpnl", "realizedpnl")
"""What the column of trades' profits may be called, as :func:`find_column` reads it."""

DATE_NAMES = ("date", "datetime", "timestamp", "time", "index")
"""What a column of dates may be called."""

VALUE_NAMES = (
    "value", "portfoliovalue", "portfoliovalues", "equity", "totalvalue", "total", "accountvalue", "networth", "nav",
    "balance", "capital", "close",
)  # fmt: skip
"""What the column of a portfolio's values may be called, the likeliest first."""

_TRADES, _VALUES = "results['trades']", "results['portfolio_values']"


@dataclass(frozen=True, slots=True)
class PortfolioValues:
    """Portfolio values as they were given, every column kept, and the curve in them; both in the order of time."""

    table: Table
    curve: EquityCurve


def read_trades(given: Any) -> Table:
    """Trades as a table, one row a trade.

    Bare numbers are the trades' profits, in the column ``pnl``. An empty list is a table without columns.

    Raises:
        UsageError: It is none of the known shapes.
    """
    if isinstance(given, Mapping):
        return _table_of_lists(given, _TRADES)
    return _table(given, _TRADES, "pnl")


def read_portfolio_values(given: Any) -> PortfolioValues:
    """Portfolio values as a table and as a curve.

    A dictionary may also map dates to values. Rows that are not in the order of time are sorted, and of rows with the
    same date the last one counts, which is the close of a day in which every order left a row; both with a warning.

    Raises:
        UsageError: It is none of the known shapes, or empty; a date or a value is missing; a value is not finite. A
            missing value is not filled: whether the market was closed or the data are wrong, only the caller knows.
    """
    table = _values_table(given)
    if not table.rows:
        raise UsageError(f"{_VALUES} is empty", hint="give one value or more, or leave the key out")
    date_column = find_column(table, DATE_NAMES) or _column_of_dates(table)
    values = _values(table, date_column)
    if date_column is None:
        return PortfolioValues(table, EquityCurve(tuple(values)))
    dates = _dates(table, date_column)
    kept = _in_order_of_time(dates)
    return PortfolioValues(
        Table(table.columns, tuple(table.rows[index] for index in kept)),
        EquityCurve(tuple(values[index] for index in kept), tuple(dates[index] for index in kept)),
    )


def find_column(table: Table, names: Sequence[str]) -> str | None:
    """The table's column with the first of some names that it has; ``None`` when it has none.

    Args:
        table: Any table.
        names: Small letters and digits alone: ``entryprice`` finds ``EntryPrice`` and ``Entry price``.
    """
    known: dict[str, str] = {}
    for column in table.columns:
        known.setdefault("".join(char for char in column.lower() if char.isalnum()), column)
    return next((known[name] for name in names if name in known), None)


def _values_table(given: Any) -> Table:
    if isinstance(given, Mapping):
        if any(items_of(cells) is not None for cells in given.values()):
            return _table_of_lists(given, _VALUES)
        return table_of_columns({"date": list(given), "value": list(given.values())})
    rows = None if is_series(given) else items_of(given)
    if rows and all(isinstance(row, list | tuple) and len(row) == 2 for row in rows):
        return Table(("date", "value"), tuple(map(tuple, rows)))
    return _table(given, _VALUES, "value")


def _table(given: Any, what: str, number_column: str) -> Table:
    if is_frame(given):
        return table_of_frame(given)
    if is_series(given):
        return table_of_series(given, number_column)
    rows = items_of(given)
    if rows is not None and all(isinstance(row, Mapping) for row in rows):
        return table_of_records(rows)
    if rows is not None and all(is_missing(row) or as_number(row) is not None for row in rows):
        return Table((number_column,), tuple((row,) for row in rows))
    raise UsageError(
        f"{what} has a shape that can't be read: {_in_words(given, rows)}",
        hint="give a list of dictionaries, a list of numbers, a series or a data frame",
    )


def _table_of_lists(given: Mapping[Any, Any], what: str) -> Table:
    columns = {str(name): items_of(cells) for name, cells in given.items()}
    wrong = [name for name, cells in columns.items() if cells is None]
    if wrong:
        raise UsageError(
            f"{what} is a dictionary of columns, and {wrong[0]!r} is not a list",
            hint="give a list of dictionaries, one a row",
        )
    return table_of_columns({name: cells for name, cells in columns.items() if cells is not None})


def _in_words(given: Any, rows: Sequence[Any] | None) -> str:
    if rows is None:
        return f"a {type(given).__name__}"
    kinds = sorted({type(row).__name__ for row in rows})
    return f"a {type(given).__name__} of {', '.join(kinds)}"


# -- the curve ------------------------------------------------------------------------------------------


def _column_of_dates(table: Table) -> str | None:
    """A column that holds dates, though its name does not say so."""
    first = dict(zip(table.columns, table.rows[0], strict=True))
    return next((name for name, cell in first.items() if as_date(cell) and not isinstance(cell, str)), None)


def _value_column(table: Table, date_column: str | None) -> str:
    found = find_column(table, VALUE_NAMES)
    if found is not None:
        return found
    numbers = [
        name
        for name in table.columns
        if name != date_column and any(as_number(cell) is not None for cell in table.column(name))
    ]
    if len(numbers) == 1:
        return numbers[0]
    raise UsageError(
        f"{_VALUES}: which column holds the values? There are {', '.join(table.columns)}",
        hint="call it 'value'; curves of several portfolios belong to runs of their own",
    )


def _values(table: Table, date_column: str | None) -> list[float]:
    cells = table.column(_value_column(table, date_column))
    values = [math.nan if is_missing(cell) else as_number(cell) for cell in cells]
    for row, value in enumerate(values):
        if value is None:
            raise UsageError(f"{_VALUES}: {cells[row]!r} in row {row} is not a number")
    numbers = [value for value in values if value is not None]
    wrong = [row for row, value in enumerate(numbers) if not math.isfinite(value)]
    if wrong:
        where = f" ({table.column(date_column)[wrong[0]]})" if date_column else ""
        raise UsageError(
            f"{_VALUES}: {len(wrong)} of {len(cells)} values are missing or not finite, "
            f"the first in row {wrong[0]}{where}",
            hint="drop them or fill them first, for instance with the value before: values.ffill()",
        )
    return numbers


def _dates(table: Table, column: str) -> list[datetime]:
    dates = []
    for row, cell in enumerate(table.column(column)):
        date = as_date(cell)
        if date is None:
            raise UsageError(
                f"{_VALUES}: {cell!r} in row {row} of {column!r} is not a date",
                hint="give dates or ISO 8601 text; numbers of steps belong into a column called 'step'",
            )
        dates.append(date)
    if len({date.utcoffset() is None for date in dates}) > 1:
        raise UsageError(f"{_VALUES}: some dates in {column!r} have a time zone and some have none")
    return dates


def _in_order_of_time(dates: Sequence[datetime]) -> list[int]:
    """Which rows count, in the order of time."""
    order = sorted(range(len(dates)), key=lambda row: dates[row])
    last_of = {dates[row]: row for row in order}
    if order != list(range(len(dates))):
        warnings.warn(f"{_VALUES} is not in the order of time: it was sorted", AgentNNWarning, stacklevel=5)
    if len(last_of) < len(dates):
        twice = next(date for row, date in enumerate(dates) if last_of[date] != row)
        warnings.warn(
            f"{_VALUES}: {len(dates) - len(last_of)} of {len(dates)} rows repeat a date, {twice} first; "
            "of each date the last row counts",
            AgentNNWarning,
            stacklevel=5,
        )
    return list(last_of.values())
