"""Which numbers of a table are learned from, and which are predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from agentnn.errors import ConfigError, CorruptDataError, UsageError
from agentnn.training.data.prices import (
    ALSO_NEEDED,
    FEATURES,
    LOOK_BACK,
    Prices,
    compute_features,
    first_impossible_bar,
)
from agentnn.training.data.source_tables import PRICE_COLUMNS, find_name, nearest_or_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agentnn.config.schema import DataSection
    from agentnn.training.data.source_tables import SourceTable

Task = Literal["direction", "return", "regression", "classification"]
"""What is predicted: whether the next return is positive, the next return itself, a column, or a column's class."""

_DEFAULT_LOSS: dict[Task, str] = {"direction": "bce", "return": "mse", "regression": "mse", "classification": "bce"}
_CLASS_LOSSES = ("bce", "gce", "cross_entropy")
_ADJUSTED = "adj_close"


class Features(NamedTuple):
    """What is learned from.

    Attributes:
        names: Of the columns.
        values: Shape (rows, features); NaN in the first ``look_back`` rows.
        look_back: Rows that each row reaches back.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    look_back: int


class Target(NamedTuple):
    """What is predicted.

    Attributes:
        task: What kind of thing it is.
        loss: How a prediction of it is judged.
        name: It in words.
        values: Shape (rows,); NaN, or meaningless, in the last ``horizon`` rows.
        horizon: Rows that each row reaches ahead.
    """

    task: Task
    loss: str
    name: str
    values: NDArray[np.float64]
    horizon: int


def features_of(table: SourceTable, data: DataSection) -> Features:
    """Columns of the table, or features that are computed from its prices.

    Raises:
        UsageError: One is neither, or the prices are not there.
        CorruptDataError: A value is missing, no number, or no price.
    """
    if data.features is None:
        _check_bars_are_there(table, data)
    wanted = FEATURES if data.features is None else tuple(data.features)
    built_in = [name for name in wanted if name not in table.cells]
    unknown = [name for name in built_in if name not in FEATURES]
    if unknown:
        raise UsageError(
            f"data.features: {unknown[0]!r} is neither a column of {table.source} nor a built-in feature",
            hint=nearest_or_all(unknown[0], [*table.cells, *FEATURES]),
        )
    if data.horizon == 0 and data.target in wanted:
        raise UsageError(
            f"data.features holds the target {data.target!r} itself", hint="predict it ahead: data.horizon"
        )
    computed = compute_features(_prices_of(table, data, built_in)) if built_in else np.empty((len(table), 0))
    columns = [
        table.numbers(name, "data.features") if name in table.cells else computed[:, FEATURES.index(name)]
        for name in wanted
    ]
    return Features(wanted, np.stack(columns, axis=1), LOOK_BACK if built_in else 0)


def target_of(table: SourceTable, data: DataSection, output_dim: int, loss: str | None) -> Target:
    """The return over the horizon or its direction, or what a column holds then.

    Raises:
        ConfigError: The network's outputs don't fit the loss.
        UsageError: There is no such column, or there are no prices.
        CorruptDataError: A value is missing, no number or no class.
    """
    if data.target is None:
        return _return_ahead(table, data, output_dim, loss)
    task: Task = "classification" if loss in _CLASS_LOSSES else "regression"
    target = Target(
        task, loss or _DEFAULT_LOSS[task], data.target, _ahead(_target_column(table, data), data.horizon), data.horizon
    )
    _check_outputs(target, output_dim)
    if task == "classification":
        _check_classes(table, target, output_dim if target.loss == "cross_entropy" else 2)
    return target


def closes_of(table: SourceTable, data: DataSection) -> NDArray[np.float64] | None:
    """Closes, adjusted where ``data.columns.adj_close`` is given, each positive.

    Where a column is predicted and the configuration does not name that of the close, nothing depends on the closes:
    then ``None`` stands for such that are not there, or can't be.

    Raises:
        UsageError: There is no such column.
        CorruptDataError: A close is missing, no number or not positive.
    """
    is_needed = data.target is None or "close" in data.columns
    if not is_needed and _price_column(table, data, "close") is None:
        return None
    try:
        return _adjusted_closes(table, data)
    except CorruptDataError:
        if is_needed:
            raise
        return None


def _return_ahead(table: SourceTable, data: DataSection, output_dim: int, loss: str | None) -> Target:
    closes = closes_of(table, data)
    assert closes is not None
    returns = _ahead(closes, data.horizon) / closes - 1
    over = "the next day" if data.horizon == 1 else f"the next {data.horizon} days"
    if loss is None or loss in _CLASS_LOSSES:
        target = Target(
            "direction",
            loss or _DEFAULT_LOSS["direction"],
            f"whether the return of {over} is positive",
            np.where(returns > 0, 1.0, 0.0),
            data.horizon,
        )
    else:
        target = Target("return", loss, f"the return of {over}", returns, data.horizon)
    _check_outputs(target, output_dim)
    return target


def _target_column(table: SourceTable, data: DataSection) -> NDArray[np.float64]:
    assert data.target is not None
    return table.numbers(data.target, "data.target")


def _check_bars_are_there(table: SourceTable, data: DataSection) -> None:
    missing = [kind for kind in PRICE_COLUMNS if _price_column(table, data, kind) is None]
    if missing:
        raise UsageError(
            f"{table.source} has no column {missing[0]!r}, which the built-in features need",
            hint=f"data.columns names it, or data.features what to learn from; there are {', '.join(table.cells)}",
        )


def _prices_of(table: SourceTable, data: DataSection, features: Sequence[str]) -> Prices:
    """The daily bars; what these features don't need is made up from the rest."""
    needed = {kind for name in features for kind in ALSO_NEEDED.get(name, ())}
    close = _price(table, data, "close")
    open_ = _price(table, data, "open") if "open" in needed else close
    bars = {
        "open": open_,
        "high": _price(table, data, "high") if "high" in needed else np.maximum(open_, close),
        "low": _price(table, data, "low") if "low" in needed else np.minimum(open_, close),
        "close": close,
        "adj_close": close,
    }
    volume = _price(table, data, "volume") if "volume" in needed else np.ones(len(table))
    factor = _adjustment(table, data, close)
    adjusted = {kind: values * factor for kind, values in bars.items()}
    prices = Prices(dates=np.arange(len(table)).astype("datetime64[D]"), volume=volume / factor, **adjusted)
    wrong = first_impossible_bar(prices)
    if wrong is not None:
        row, why = wrong
        if "volume" in needed and volume[row] <= 0:
            raise CorruptDataError(
                f"{table.place(row)}: the volume is not positive",
                hint="name the features in data.features: all but volume_zscore_20 do without a volume",
            )
        raise CorruptDataError(f"{table.place(row)}: {why}", hint="check the row, and data.columns")
    return prices


def _price_column(table: SourceTable, data: DataSection, kind: str) -> str | None:
    """The column of ``open``, ``close`` and so on; ``None`` where there is none.

    Raises:
        UsageError: ``data.columns`` names one that is not there.
    """
    known = (*PRICE_COLUMNS, _ADJUSTED)
    unknown = next((name for name in data.columns if name not in known), None)
    if unknown is not None:
        raise UsageError(f"data.columns.{unknown} is unknown", hint=nearest_or_all(unknown, known))
    named = data.columns.get(kind)
    if named is not None:
        table.column(named, f"data.columns.{kind}")
        return str(named)
    return None if kind == _ADJUSTED else find_name(kind, table.cells)


def _price(table: SourceTable, data: DataSection, kind: str) -> NDArray[np.float64]:
    name = _price_column(table, data, kind)
    if name is None:
        raise UsageError(
            f"{table.source} has no column {kind!r}",
            hint=f"data.columns: {{{kind}: …}} names it; there are {', '.join(table.cells)}",
        )
    return table.numbers(name, f"data.columns.{kind}")


def _adjusted_closes(table: SourceTable, data: DataSection) -> NDArray[np.float64]:
    close = _price(table, data, "close")
    adjusted: NDArray[np.float64] = close * _adjustment(table, data, close)
    wrong = ~(np.isfinite(adjusted) & (adjusted > 0))
    if wrong.any():
        raise CorruptDataError(
            f"{table.place(int(np.argmax(wrong)))}: the close is not positive", hint="check the row, and data.columns"
        )
    return adjusted


def _adjustment(table: SourceTable, data: DataSection, close: NDArray[np.float64]) -> NDArray[np.float64]:
    """What prices are multiplied by for splits and dividends, where ``data.columns.adj_close`` is given."""
    if _price_column(table, data, _ADJUSTED) is None:
        return np.ones(len(close))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor: NDArray[np.float64] = _price(table, data, _ADJUSTED) / close
    return factor


def _ahead(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    """Each value of so many rows later, NaN where there is none."""
    result = np.full_like(values, np.nan)
    result[: len(values) - days] = values[days:]
    return result


def _check_outputs(target: Target, output_dim: int) -> None:
    """Whether a network of so many outputs can be trained by this loss."""
    expected: Any = 1
    if target.loss == "quantile":
        return
    if target.loss == "cross_entropy":
        expected = (
            2 if target.task == "direction" else "2 or more, one for each class" if output_dim < 2 else output_dim
        )
    if output_dim != expected:
        raise ConfigError(
            f"model.output_dim is {output_dim}: expected {expected}, since the loss is {target.loss} and what is "
            f"predicted is {target.name}",
            hint="set model.output_dim, or another training.loss",
        )


def _check_classes(table: SourceTable, target: Target, count: int) -> None:
    values = target.values
    known = np.isnan(values) | ((values == np.floor(values)) & (values >= 0) & (values < count))
    if not known.all():
        row = int(np.argmin(known))
        raise CorruptDataError(
            f"{table.place(row + target.horizon)}: the value {values[row]:.10g} of {target.name} is no class",
            hint=f"classes are whole numbers from 0 to {count - 1}; training.loss: mse predicts any number",
        )
