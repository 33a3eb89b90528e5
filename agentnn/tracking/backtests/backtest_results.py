"""A backtest's results in a run: tables, JSON, metrics, a figure and a small equity curve.

Everything is read and checked before anything is logged, so that a wrong value leaves no half of a backtest behind.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from agentnn.errors import AgentNNWarning, UsageError
from agentnn.tracking.backtests.backtest_shapes import PortfolioValues, read_portfolio_values, read_trades
from agentnn.tracking.backtests.equity_curve import EQUITY_CURVE_TAG, EquityCurve, sketch
from agentnn.values.plain import json_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from agentnn.tracking.backtests.backtest_metrics import ComputedMetrics
    from agentnn.values.tabular import Table

CONVENTIONS_TAG = "agentnn.metric_conventions"
COMPUTED_TAG = "agentnn.computed_metrics"

_KEYS = ("trades", "portfolio_values", "metrics")


class LogsBacktests(Protocol):
    """What a run must be able to log."""

    def log_metrics(self, metrics: Mapping[str, float]) -> None: ...
    def set_tags(self, tags: Mapping[str, Any]) -> None: ...
    def log_text(self, text: str, artifact_file: str) -> None: ...
    def log_dict(self, dictionary: Any, artifact_file: str) -> None: ...
    def log_table(self, data: Any, artifact_file: str) -> None: ...
    def log_figure(self, figure: Figure, artifact_file: str) -> None: ...


@dataclass(frozen=True, slots=True)
class BacktestResults:
    """Results that have been read and checked.

    Attributes:
        trades: One row a trade; ``None`` when there was no such key.
        portfolio: The values; ``None`` when there was no such key.
        given: The metrics of the caller, flat.
        computed: The standard metrics; those that were also given are not logged.
        document: Everything that was given, as JSON can hold it.
    """

    trades: Table | None
    portfolio: PortfolioValues | None
    given: dict[str, float]
    computed: ComputedMetrics
    document: dict[str, Any]

    @property
    def missing_metrics(self) -> dict[str, float]:
        """The standard metrics that the caller did not give."""
        return {key: value for key, value in self.computed.metrics.items() if key not in self.given}


def log_backtest_results(
    run: LogsBacktests,
    results: Mapping[str, Any],
    artifact_path: str = "backtest",
    *,
    periods_per_year: float | None = None,
) -> dict[str, float]:
    """Log a backtest.

    Under ``artifact_path`` come to lie ``results.json`` (all that was given, JSON-safe), ``trades.csv`` and
    ``portfolio_values.csv`` (full precision), the same as ``trades.json`` and ``portfolio_values.json``, which MLflow's
    user interface shows as tables, and ``equity_and_drawdown.png``. Portfolio values are logged in the order of time.

    Every number of ``results['metrics']`` becomes a metric, exactly as given: a drawdown of 0.2, -0.2 or 20 stays what
    it is, NaN stays NaN. Standard metrics that are not among them are computed from the values and trades
    (:func:`~agentnn.tracking.backtests.backtest_metrics.standard_metrics`). The tag ``agentnn.metric_conventions`` says
    by which conventions, ``agentnn.computed_metrics`` which they are, and ``agentnn.equity_curve`` holds the curve for
    ``agentnn run show``. A run has one set of metrics and tags: of several backtests in one run the last one's.

    Args:
        run: The run.
        results: ``trades``, ``portfolio_values`` and ``metrics``, each optional and ``None`` for none, in any shape of
            :mod:`~agentnn.tracking.backtests.backtest_shapes`; any other key is kept in ``results.json``. Nothing is
            changed.
        artifact_path: The folder in the run.
        periods_per_year: How many of the periods make a year; from the dates, or 252, where it is not given.

    Returns:
        The metrics that were logged, given and computed.

    Warns:
        AgentNNWarning: The values are not in the order of time, have a date twice, are not all positive, or are only
            one; their dates have no rhythm; a metric is ``None``. The answer stands, without what is undefined then.

    Raises:
        UsageError: The results hold none of the three, or what can't be read: a shape, a value that is missing or not
            finite, a date, a metric that is no number. Nothing has been logged then.
    """
    folder = _folder(artifact_path)
    read = read_results(results, periods_per_year)
    figure = _figure(read.portfolio)
    run.log_dict(read.document, str(folder / "results.json"))
    for name, table in _tables(read):
        columns = {column: [json_value(cell) for cell in table.column(column)] for column in table.columns}
        run.log_text(_csv(columns), str(folder / f"{name}.csv"))
        if columns:  # without one MLflow has nothing to show
            run.log_table(columns, str(folder / f"{name}.json"))
    if figure is not None:
        run.log_figure(figure, str(folder / "equity_and_drawdown.png"))
    metrics = {**read.missing_metrics, **read.given}
    tags = _tags(read)
    if tags:
        run.set_tags(tags)
    if metrics:
        run.log_metrics(metrics)
    return metrics


def read_results(results: Mapping[str, Any], periods_per_year: float | None = None) -> BacktestResults:
    """Read, check and complete a backtest's results; the arguments, warnings and errors of the logging."""
    # numpy takes a tenth of a second to import, and who logs no backtest does without.
    from agentnn.tracking.backtests.backtest_metrics import given_metrics, standard_metrics

    if periods_per_year is not None and not (math.isfinite(periods_per_year) and periods_per_year > 0):
        raise UsageError(f"periods_per_year must be positive, not {periods_per_year}")
    _check_keys(results)
    trades = None if results.get("trades") is None else read_trades(results["trades"])
    values = results.get("portfolio_values")
    portfolio = None if values is None else read_portfolio_values(values)
    given = {} if results.get("metrics") is None else given_metrics(results["metrics"])
    if portfolio is not None:
        _warn_of_what_is_undefined(portfolio.curve)
    computed = standard_metrics(portfolio.curve if portfolio else None, trades, periods_per_year)
    return BacktestResults(trades, portfolio, given, computed, json_value(results))


def _check_keys(results: Any) -> None:
    if not isinstance(results, Mapping):
        raise UsageError(
            f"backtest results are a dictionary, not a {type(results).__name__}",
            hint="of backtesting.py: {'trades': stats['_trades'], 'portfolio_values': stats['_equity_curve']}",
        )
    if all(results.get(key) is None for key in _KEYS):
        found = ", ".join(map(str, results)) or "nothing"
        raise UsageError(f"backtest results hold {found}", hint=f"give at least one of {', '.join(_KEYS)}")


def _folder(artifact_path: str) -> PurePosixPath:
    folder = PurePosixPath(artifact_path or ".")
    if folder.is_absolute() or ".." in folder.parts:
        raise UsageError(f"artifact_path {artifact_path!r} leads out of the run", hint="for instance 'backtest'")
    return folder


def _warn_of_what_is_undefined(curve: EquityCurve) -> None:
    text = ""
    if len(curve.values) < 2:
        text = "results['portfolio_values'] is one value: it is logged, and no metric is computed from it"
    elif curve.values[0] <= 0:
        text = (
            f"results['portfolio_values'] starts at {curve.values[0]:g}: no metric is computed, as there is no capital "
            "to compare with. If these are profits, add the capital at the start"
        )
    elif min(curve.values) <= 0:
        place = next(index for index, value in enumerate(curve.values) if value <= 0)
        when = f"on {curve.dates[place]}" if curve.dates else f"in row {place}"
        text = (
            f"results['portfolio_values'] is {curve.values[place]:g} {when}: the account was ruined, and metrics that "
            "need the return of each period, such as the Sharpe ratio, are left out"
        )
    if text:
        warnings.warn(text, AgentNNWarning, stacklevel=4)


def _tables(read: BacktestResults) -> Iterator[tuple[str, Table]]:
    if read.trades is not None:
        yield "trades", read.trades
    if read.portfolio is not None:
        yield "portfolio_values", read.portfolio.table


def _csv(columns: Mapping[str, list[Any]]) -> str:
    """Columns as CSV; floats as the shortest text that gives the same float again."""
    if not columns:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _figure(portfolio: PortfolioValues | None) -> Figure | None:
    if portfolio is None or len(portfolio.curve.values) < 2:
        return None
    from agentnn.tracking.figures.equity import equity_and_drawdown

    return equity_and_drawdown(portfolio.curve)


def _tags(read: BacktestResults) -> dict[str, str]:
    tags = {}
    if read.missing_metrics:
        tags[CONVENTIONS_TAG] = read.computed.conventions
        tags[COMPUTED_TAG] = ", ".join(sorted(read.missing_metrics))
    if read.portfolio is not None and len(read.portfolio.curve.values) > 1:
        tags[EQUITY_CURVE_TAG] = sketch(read.portfolio.curve)
    return tags
