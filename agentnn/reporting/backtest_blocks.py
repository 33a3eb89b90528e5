"""A backtest as blocks: equity, drawdown, the months, the rolling Sharpe ratio, the trades."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, AgentNNWarning
from agentnn.reporting.analysis import deepest_falls, monthly_returns, rolling_sharpe
from agentnn.reporting.curves import rounded, thinned
from agentnn.reporting.document import Block, Column, HeatTable, LineChart, Mark, Missing, Series, Table
from agentnn.reporting.equity import Equity, equity_of_sketch, equity_of_table, iso_dates, numeric_columns
from agentnn.reporting.words import counted, number
from agentnn.tracking.backtests.backtest_results import CONVENTIONS_TAG
from agentnn.tracking.backtests.backtest_shapes import PROFIT_NAMES, find_column
from agentnn.tracking.backtests.equity_curve import EQUITY_CURVE_TAG, drawdowns
from agentnn.values.plain import as_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.reporting.document import Cell, Shape
    from agentnn.reporting.files import Files
    from agentnn.values import tabular

_MOST_POINTS = 1500
_MOST_TRADES = 1000
_MOST_FALLS = 5
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def backtest_blocks(run: Run, files: Files) -> list[Block]:
    """Every backtest that a run logged; of its equity the tag's small copy where there is no file."""
    folders = list(dict.fromkeys([*files.portfolio, *files.trades]))
    blocks: list[Block] = []
    for place, folder in enumerate(folders):
        name = f" ({folder})" if len(folders) > 1 else ""
        blocks += _of_folder(run, files, folder, name, f"-{place}" if place else "")
    if not folders and EQUITY_CURVE_TAG in run.tags:
        sketch = equity_of_sketch(run.tags[EQUITY_CURVE_TAG])
        if sketch is not None:
            blocks += _equity_blocks(sketch, "", "")
        blocks.append(
            Missing("dates, months and trades of the backtest", "its files are not there: only the small copy")
        )
    if not blocks:
        blocks.append(Missing("backtest", "the run logged none: log_backtest_results"))
    return blocks


def _of_folder(run: Run, files: Files, folder: str, name: str, suffix: str) -> list[Block]:
    blocks: list[Block] = []
    if folder in files.portfolio:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AgentNNWarning)  # said when it was logged
                equity = equity_of_table(files.portfolio[folder])
        except AgentNNError as error:
            blocks.append(Missing(f"equity{name}", error.message))
        else:
            blocks += _equity_blocks(equity, name, suffix)
            blocks += _more_of_equity(equity, run, name, suffix)
    else:
        blocks.append(Missing(f"equity and drawdown{name}", "the backtest holds no portfolio values"))
    if folder in files.trades:
        blocks.append(_trades(files.trades[folder], name, suffix))
    else:
        blocks.append(Missing(f"trades{name}", "the backtest holds none"))
    return blocks


def _equity_blocks(equity: Equity, name: str, suffix: str) -> list[Block]:
    """Equity and drawdown over time."""
    curve = equity.curve
    if len(curve.values) < 2:
        return [Missing(f"equity{name}", "the backtest holds one value only")]
    falls = drawdowns(curve.values)
    kept = curve.landmarks(_MOST_POINTS)
    below = thinned([None if math.isnan(fall) else fall for fall in falls], _MOST_POINTS)
    dates = iso_dates(curve.dates) if curve.dates else None
    note = _equity_note(equity, len(kept))
    first, last, deepest = curve.values[0], curve.values[-1], min(filter(math.isfinite, falls), default=0.0)
    return [
        LineChart(
            f"equity{suffix}",
            f"Equity{name}",
            f"The portfolio goes from {number(first)} to {number(last)}; lowest {number(min(curve.values))}, "
            f"highest {number(max(curve.values))}.",
            (Series("equity", tuple(rounded(curve.values[place]) for place in kept)),),
            x=_places(kept, dates),
            x_title="" if dates else "period",
            y_title="value",
            x_shape="date" if dates else "number",
            can_log=min(curve.values) > 0,
            note=note,
        ),
        LineChart(
            f"drawdown{suffix}",
            f"Drawdown{name}",
            f"How far the portfolio is below its last peak: at the worst {deepest:.1%}.",
            (Series("drawdown", tuple(rounded(falls[place]) for place in below)),),
            x=_places(below, dates),
            x_title="" if dates else "period",
            x_shape="date" if dates else "number",
            y_shape="percent",
            is_filled=True,
            note=note,
        ),
    ]


def _more_of_equity(equity: Equity, run: Run, name: str, suffix: str) -> list[Block]:
    """What needs every value: the deepest falls, the months, the rolling ratio."""
    values, dates = equity.curve.values, equity.curve.dates
    blocks: list[Block] = []
    falls = deepest_falls(values, _MOST_FALLS)
    shown = iso_dates(dates) if dates else list(map(str, range(len(values))))
    if falls:
        blocks.append(_falls_table(falls, shown, f"Deepest drawdowns{name}", f"falls{suffix}", dates is not None))
    if dates is None:
        blocks.append(Missing(f"monthly returns{name}", "the portfolio values have no dates"))
    elif len({(date.year, date.month) for date in dates}) < 2:
        blocks.append(Missing(f"monthly returns{name}", "the backtest lies within one month"))
    else:
        blocks.append(_months(monthly_returns(values, dates), f"Monthly returns{name}", f"months{suffix}"))
    blocks.append(_rolling(values, shown if dates else None, _periods(run, dates), name, suffix))
    return blocks


def _falls_table(falls: Sequence[Any], shown: Sequence[str], title: str, id: str, are_dates: bool) -> Table:
    when: Shape = "time" if are_dates else "text"
    columns = (
        Column("depth", "Depth", "percent"),
        Column("peak", "Peak", when),
        Column("trough", "Lowest", when),
        Column("recovery", "Recovered", when),
        Column("periods", "Periods below the peak", "number", digits=0),
    )
    last = len(shown) - 1
    rows = tuple(
        (
            rounded(fall.depth),
            shown[fall.peak],
            shown[fall.trough],
            "not yet" if fall.recovery is None else shown[fall.recovery],
            (last if fall.recovery is None else fall.recovery - 1) - fall.peak,
        )
        for fall in falls
    )
    return Table(id, title, columns, rows, is_heading_first=False)


def _months(returns: Any, title: str, id: str) -> HeatTable:
    all_months = [value for row in returns.months for value in row if value is not None]
    up = sum(value > 0 for value in all_months)
    return HeatTable(
        id,
        title,
        f"{up} of {counted(len(all_months), 'month')} gained; the best {max(all_months, default=0):.1%}, the worst "
        f"{min(all_months, default=0):.1%}.",
        tuple(map(str, returns.years)),
        (*_MONTHS, "Year"),
        tuple(tuple(map(rounded, (*row, total))) for row, total in zip(returns.months, returns.totals, strict=True)),
        "percent",
        totals=1,
    )


def _rolling(values: Sequence[float], dates: Sequence[str] | None, periods: float, name: str, suffix: str) -> Block:
    """Over half a year, or over a quarter of a year where there is not a year of values."""
    returns = len(values) - 1
    window = max(2, round(periods / 2))
    if returns < 2 * window:
        window = max(2, round(periods / 4))
    if returns < 2 * window or window < 5:
        why = f"{counted(returns, 'return')} are too few for it"
        return Missing(f"rolling Sharpe ratio{name}", why)
    ratios = rolling_sharpe(values, window, periods)
    kept = thinned(ratios, _MOST_POINTS)
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return Missing(f"rolling Sharpe ratio{name}", "the returns don't vary, or a value is not positive")
    return LineChart(
        f"rolling-sharpe{suffix}",
        f"Rolling Sharpe ratio{name}",
        f"Over {window} periods it lies between {number(min(known))} and {number(max(known))}, at last "
        f"{number(known[-1])}.",
        (Series(f"Sharpe ratio of {window} periods", tuple(rounded(ratios[place]) for place in kept)),),
        x=_places(kept, dates),
        x_title="" if dates else "period",
        x_shape="date" if dates else "number",
        note=f"{periods:g} periods a year, ddof 1, risk-free 0; windows of {window} periods",
    )


def _trades(table: tabular.Table, name: str, suffix: str) -> Block:
    if not table.rows:
        return Missing(f"trades{name}", "the backtest made none")
    cells = numeric_columns(table)
    profit = find_column(table, PROFIT_NAMES)
    columns = tuple(
        Column(
            column,
            column,
            _shape(values),
            "max" if column == profit else None,
            is_signed=column == profit,
        )
        for column, values in cells.items()
    )
    shown = min(len(table.rows), _MOST_TRADES)
    rows: list[tuple[Cell, ...]] = [
        tuple(values[row] or None if isinstance(values[row], str) else values[row] for values in cells.values())
        for row in range(shown)
    ]
    marks = []
    if profit is not None:
        place = list(cells).index(profit)
        amounts = [(row[place], number) for number, row in enumerate(rows) if isinstance(row[place], float)]
        marks = [Mark(max(amounts, key=_amount)[1], place, "best")] if amounts else []
    note = f"the first {shown:,} of {len(table.rows):,} trades" if shown < len(table.rows) else ""
    return Table(
        f"trades{suffix}",
        f"Trades{name}",
        columns,
        tuple(rows),
        tuple(marks),
        is_filterable=True,
        is_collapsed=len(rows) > 20,
        is_heading_first=False,
        note=note,
    )


def _amount(pair: tuple[Any, int]) -> tuple[float, int]:
    return float(pair[0]), -pair[1]


def _shape(values: Sequence[Any]) -> Shape:
    present = [value for value in values if value not in (None, "")]
    if present and all(isinstance(value, float) for value in present):
        return "number"
    if present and all(isinstance(value, str) and as_date(value) is not None for value in present):
        return "time"
    return "text"


def _places(kept: Sequence[int], dates: Sequence[str] | None) -> tuple[int | str, ...]:
    return tuple(kept) if dates is None else tuple(dates[place] for place in kept)


def _equity_note(equity: Equity, drawn: int) -> str:
    if equity.is_sketch:
        span = f", from {equity.span[0]} to {equity.span[1]}" if equity.span else ""
        return f"from the small copy in a tag: its extremes are true, their distances in time are not known{span}"
    count = len(equity.curve.values)
    return f"{drawn:,} of {count:,} values are drawn, every extreme among them" if drawn < count else ""


def _periods(run: Run, dates: Sequence[Any] | None) -> float:
    """How many periods make a year: as the backtest's own metrics have it, or by the dates."""
    found = re.match(r"([\d.e+]{1,12}) periods", run.tags.get(CONVENTIONS_TAG, ""))
    if found is not None:
        try:
            periods = float(found[1])
        except ValueError:
            periods = 0.0
        if math.isfinite(periods) and periods >= 1:
            return periods
    from agentnn.tracking.backtests.backtest_metrics import periods_per_year_of  # loads numpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AgentNNWarning)
        return periods_per_year_of(dates)
