"""What trades tell that portfolio values don't: wins and losses, how long and how much was held."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.tracking.backtests.backtest_shapes import DATE_NAMES, PROFIT_NAMES, find_column
from agentnn.values.plain import as_date, as_number, is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentnn.tracking.backtests.equity_curve import EquityCurve
    from agentnn.values.tabular import Table

_ENTRY_TIME = ("entrytime", "entrytimestamp", "entrydate", "opentime", "opendate")
_EXIT_TIME = ("exittime", "exittimestamp", "exitdate", "closetime", "closedate")
_ENTRY_PRICE = ("entryprice", "avgentryprice", "openprice")
_EXIT_PRICE = ("exitprice", "avgexitprice", "closeprice")
_SIZE = ("size", "quantity", "qty", "shares", "units")

Moments = list["datetime | None"]
Fill = tuple["datetime", float]


def wins_of_trades(trades: Table) -> dict[str, float]:
    """The figures of closed trades by their profit, that is, rows with a profit whose ``Status`` is not ``Open``.

    Returns:
        ``n_trades``; ``win_rate``: the fraction with a profit above 0, a trade without gain or loss counting as not
        won, as in backtesting.py and vectorbt; ``profit_factor``: sum of the gains over the sum of the losses, absent
        without a loss. Nothing at all without a closed trade or a column of profits, as in a list of fills.

    Raises:
        UsageError: A profit is not a number.
    """
    column = find_column(trades, PROFIT_NAMES)
    if column is None:
        return {}
    is_open = _open_rows(trades)
    cells = [cell for row, cell in enumerate(trades.column(column)) if not is_open[row] and not is_missing(cell)]
    profits = [as_number(cell) for cell in cells]
    numbers = [profit for profit in profits if profit is not None]
    if len(numbers) < len(profits):
        wrong = cells[profits.index(None)]
        raise UsageError(f"results['trades']: {wrong!r} in the column {column!r} is not a number")
    if not numbers:
        return {}
    figures = {"n_trades": float(len(numbers)), "win_rate": sum(one > 0 for one in numbers) / len(numbers)}
    losses = -sum(one for one in numbers if one < 0)
    return {**figures, "profit_factor": sum(one for one in numbers if one > 0) / losses} if losses > 0 else figures


def exposure_of_trades(trades: Table, curve: EquityCurve) -> float | None:
    """The fraction of the curve's periods in which a trade was held.

    A period ends at a date of the curve and begins at the one before. A trade is held from its entry to its exit, or to
    the end; one that is entered and left at the same date is held in the period that ends there. ``None`` where the
    curve has no dates, or the trades have no times of entry and exit that can be compared with them.
    """
    dates = curve.dates
    entries, exits = _moments(trades, _ENTRY_TIME, dates), _moments(trades, _EXIT_TIME, dates)
    if dates is None or entries is None or exits is None or None in entries:
        return None
    held: set[int] = set()
    for entry, leaving in zip(entries, exits, strict=True):
        if entry is not None:
            last = len(dates) - 1 if leaving is None else bisect_left(dates, leaving)
            first = min(bisect_right(dates, entry), last)
            held.update(range(max(first, 1), min(last, len(dates) - 1) + 1))
    return len(held) / (len(dates) - 1)


def turnover_of_trades(trades: Table, curve: EquityCurve, periods_per_year: float) -> float | None:
    """How often the capital is traded in a year: each fill's size times price, over the capital at its time.

    Sizes times prices must be in the curve's currency: a contract's multiplier is not known here. ``None`` where
    sizes, prices or times are missing or can't be compared with the curve's dates, or the capital was not positive.
    """
    fills = _fills(trades, curve.dates)
    if fills is None or curve.dates is None:
        return None
    traded = 0.0
    for moment, amount in fills:
        capital = curve.values[max(bisect_right(curve.dates, moment) - 1, 0)]
        if capital <= 0:
            return None
        traded += amount / capital
    return traded / (len(curve.dates) - 1) * periods_per_year


def _fills(trades: Table, dates: Sequence[datetime] | None) -> list[Fill] | None:
    """When how much was bought or sold: of each trade its two sides, or of a list of fills each row."""
    sizes = _numbers(trades, _SIZE)
    entries, entry_prices = _moments(trades, _ENTRY_TIME, dates), _numbers(trades, _ENTRY_PRICE)
    exits, exit_prices = _moments(trades, _EXIT_TIME, dates), _numbers(trades, _EXIT_PRICE)
    if entries is None:
        return _complete(_moments(trades, DATE_NAMES, dates), sizes, _numbers(trades, ("price",)))
    bought = _complete(entries, sizes, entry_prices)
    if bought is None or sizes is None or exits is None or exit_prices is None:
        return None
    closed = [row for row, is_open in enumerate(_open_rows(trades)) if not is_open and exits[row] is not None]
    sold = _complete(
        [exits[row] for row in closed], [sizes[row] for row in closed], [exit_prices[row] for row in closed]
    )
    return None if sold is None else bought + sold


def _complete(
    moments: Moments | None, sizes: Sequence[float | None] | None, prices: Sequence[float | None] | None
) -> list[Fill] | None:
    """Fills from their parts; ``None`` if a part is missing anywhere."""
    if moments is None or sizes is None or prices is None:
        return None
    fills = [
        (moment, abs(size * price))
        for moment, size, price in zip(moments, sizes, prices, strict=True)
        if moment is not None and size is not None and price is not None
    ]
    return fills if len(fills) == len(moments) else None


def _moments(trades: Table, names: Sequence[str], dates: Sequence[datetime] | None) -> Moments | None:
    """A column of times, ``None`` for a missing one; no column at all if it can't be compared with the curve's."""
    column = find_column(trades, names)
    if column is None or dates is None:
        return None
    cells = trades.column(column)
    moments = [as_date(cell) for cell in cells]
    readable = all(moment is not None or is_missing(cell) for moment, cell in zip(moments, cells, strict=True))
    has_zone = {moment.utcoffset() is not None for moment in (*moments, dates[0]) if moment is not None}
    return moments if readable and len(has_zone) == 1 else None


def _numbers(trades: Table, names: Sequence[str]) -> list[float | None] | None:
    column = find_column(trades, names)
    return None if column is None else [None if is_missing(cell) else as_number(cell) for cell in trades.column(column)]


def _open_rows(trades: Table) -> list[bool]:
    """Of each trade, whether it says that it is still open, as vectorbt's do."""
    column = find_column(trades, ("status",))
    cells: Sequence[Any] = trades.column(column) if column else [None] * len(trades.rows)
    return [str(cell).strip().lower() == "open" for cell in cells]
