"""Data of any library as columns of bounded length: what is too large is sampled, with a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.tracking.capture.predicting import to_numpy

if TYPE_CHECKING:
    import numpy as np

MOST_CELLS = 2_000_000
"""Cells that are looked at."""

MOST_FEATURES = 500


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Data as columns.

    Attributes:
        kind: The type that was given, such as ``DataFrame``.
        shape: As it was given.
        dtypes: How many features have which type.
        cells: Values by name of the feature: floats with NaN for what is missing, or objects. Of data with more than
            two axes the last one holds the features, and the others are its rows.
        rows: Rows that there are.
        looked_at: Rows that ``cells`` holds: all of them, or a sample.
        features: Features that there are; ``cells`` holds the first 500.
    """

    kind: str
    shape: tuple[int, ...]
    dtypes: Mapping[str, int]
    cells: Mapping[str, np.ndarray]
    rows: int
    looked_at: int
    features: int


def columns_of(data: Any, names: Sequence[str] | None = None, *, seed: int = 0) -> Columns:
    """Read data; it stays as it is.

    Args:
        data: An array, a tensor, a frame, a series, a list, a sparse matrix, or a dict of columns.
        names: Of the features; a frame's own, or ``0``, ``1``, … without them.
        seed: Of the sample of rows.

    Raises:
        UsageError: It is none of these, or ``names`` are not as many as the features.
    """
    if isinstance(data, Mapping):
        import pandas as pd

        data, kind = pd.DataFrame({str(key): to_numpy(value) for key, value in data.items()}), "dict"
    else:
        kind = type(data).__name__
    if not hasattr(data, "shape"):
        data = to_numpy(data)
    shape = tuple(int(length) for length in data.shape)
    if not shape:
        raise UsageError(f"a {kind} without an axis is no data", hint="give samples in rows and features in columns")
    is_frame = hasattr(data, "columns")
    features = 1 if len(shape) == 1 else shape[-1]
    found = _names(data, names, features)
    kept = _sample(shape, min(features, MOST_FEATURES), seed)
    columns: dict[str, np.ndarray] = {}
    if is_frame:
        columns = _frame_columns(data, kept, found)
        dtypes = _counted([str(data.iloc[:, place].dtype) for place in range(min(features, MOST_FEATURES))])
    else:
        columns = _array_columns(data, kept, found, features)
        dtypes = {str(getattr(data, "dtype", "object")): features}
    looked_at = len(next(iter(columns.values()))) if columns else 0
    per_sample = _product(shape[1:-1])
    return Columns(kind, shape, dtypes, columns, shape[0] * per_sample, looked_at, features)


def chosen_rows(rows: int, most: int, seed: int) -> np.ndarray | None:
    """Places of at most ``most`` rows, ascending and the same for the same seed; ``None`` for all of them."""
    import numpy as np

    if rows <= most:
        return None
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def rows_at(data: Any, places: np.ndarray | None) -> Any:
    """The rows of any kind of data at some places, or all of it."""
    if places is None:
        return data
    if hasattr(data, "iloc"):
        return data.iloc[places]
    return data[places.tolist()] if hasattr(data, "detach") else data[places]


def _sample(shape: tuple[int, ...], features: int, seed: int) -> np.ndarray | None:
    cells_a_sample = max(1, features * _product(shape[1:-1]))
    return chosen_rows(shape[0], max(1, MOST_CELLS // cells_a_sample), seed)


def _product(lengths: Sequence[int]) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


def _names(data: Any, names: Sequence[str] | None, features: int) -> list[str]:
    if names is None:
        if hasattr(data, "columns"):
            own = [".".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in data.columns]
        elif len(data.shape) == 1:
            own = [str(getattr(data, "name", None) or "0")]
        else:
            own = [str(place) for place in range(features)]
    else:
        own = [str(name) for name in names]
    if len(own) != features:
        raise UsageError(f"{len(own)} names for {features} features")
    return [name if own.count(name) == 1 else f"{name}#{place}" for place, name in enumerate(own[:MOST_FEATURES])]


def _frame_columns(frame: Any, kept: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    taken = rows_at(frame.iloc[:, : len(names)], kept)
    return {name: _plain(taken.iloc[:, place]) for place, name in enumerate(names)}


def _array_columns(data: Any, kept: Any, names: Sequence[str], features: int) -> dict[str, np.ndarray]:
    if hasattr(data, "tocsr"):
        taken = data.tocsr()
        taken = (taken if kept is None else taken[kept]).toarray()
    else:
        taken = rows_at(data, kept)
    if hasattr(taken, "to_numpy"):  # a series
        return {names[0]: _plain(taken)}
    if not features:
        return {}
    flat = to_numpy(taken).reshape(-1, features)
    return {name: _plain(flat[:, place]) for place, name in enumerate(names)}


def _plain(column: Any) -> np.ndarray:
    """Numbers and truth values as floats, everything else as it is."""
    import numpy as np
    import pandas as pd

    series = pd.Series(column).reset_index(drop=True)
    is_number = pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series)
    if is_number and not pd.api.types.is_complex_dtype(series):
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(series.to_numpy(dtype=object))


def _counted(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in dict.fromkeys(names)}
