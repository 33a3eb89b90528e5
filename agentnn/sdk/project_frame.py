"""All runs of a folder of projects as a pandas DataFrame."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.stores.toml.frame.columns import MISSING, Column, text_parts, values_of
from agentnn.stores.toml.frame.frame import read_frame
from agentnn.stores.toml.frame.leaves import ROW_COLUMNS
from agentnn.tracking.capture.guard import warn

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd

    from agentnn.stores.toml.index.scanning import Unreadable


def load_frame(base_dir: str | os.PathLike[str]) -> tuple[pd.DataFrame, tuple[Unreadable, ...]]:
    """All runs of a folder of projects, a row a run.

    The columns are ``run_id`` and ``project_name``, the names of the run's folder and of its project's; the leaves of
    the configs, those of the metrics, and those of ``_meta`` and ``_wandb``, each in the order in which they are first
    seen, with the keys of nested tables joined with dots. Their types are those that pandas infers from a list of
    records. The rows are in the order in which the runs were created (``_meta.created_at``, or else when
    ``config.toml`` was written).

    A key that both a config and a metrics file have is shown as ``config.KEY`` and ``metrics.KEY``, in all rows, and so
    is one that is called like another column; an :class:`~agentnn.errors.AgentNNWarning` names them.

    Args:
        base_dir: The folder of all projects.

    Returns:
        The frame, and the files that could not be read; their runs are not in it.

    Raises:
        StoreUnavailable: There is no such folder, it can't be read, or there is no place for an index.
    """
    import pandas as pd

    frame, unreadable = read_frame(Path(base_dir))
    if frame.apart:
        keys = ", ".join(map(repr, frame.apart))
        warn(f"more than one column would be called {keys}: shown as config.KEY and metrics.KEY")
    if not frame.rows:
        return pd.DataFrame(columns=list(ROW_COLUMNS)), unreadable
    odd = {name: column for name, column in frame.columns.items() if column.kind == "json"}
    inferred = _inferred(odd, frame.rows) if odd else {}
    data = {
        name: inferred[name] if name in odd else _array(column, frame.rows) for name, column in frame.columns.items()
    }
    return pd.DataFrame(data), unreadable


def _inferred(columns: dict[str, Column], rows: int) -> Mapping[str, pd.Series]:
    """Columns of mixed values, of the types that pandas finds for them."""
    import pandas as pd

    records: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name, column in columns.items():
        for record, value in zip(records, values_of(column, rows), strict=True):
            if value is not MISSING:
                record[name] = value
    frame = pd.DataFrame(records, columns=list(columns))
    return {name: frame[name] for name in columns}


def _array(column: Column, rows: int) -> Any:
    """A column of values of one kind, as pandas would hold them."""
    import numpy as np

    if column.kind == "text":
        return _texts(column, rows)
    if column.kind == "time":
        return _times(column, rows)
    values = np.frombuffer(column.content, {"float": "float64", "int": "int64", "bool": "bool"}[column.kind])
    if not column.present:
        return values
    # Where a row has none, pandas makes whole numbers floating ones, and truth values objects.
    spread = np.full(rows, np.nan, dtype="object" if column.kind == "bool" else "float64")
    spread[_mask(column)] = values
    return spread


def _times(column: Column, rows: int) -> Any:
    import numpy as np
    import pandas as pd

    dtype = pd.Series([datetime(1970, 1, 1, tzinfo=UTC)]).dtype  # its unit depends on the version of pandas
    values = np.frombuffer(column.content, "datetime64[us]")
    if column.present:
        spread = np.full(rows, "NaT", dtype="datetime64[us]")
        spread[_mask(column)] = values
        values = spread
    return pd.DatetimeIndex(values.astype(f"datetime64[{dtype.unit}]")).tz_localize(dtype.tz)


def _texts(column: Column, rows: int) -> Any:
    """Texts, in an array of Arrow's where pandas keeps them in those: its layout is that of the column."""
    import numpy as np
    import pandas as pd

    dtype = pd.Series([""]).dtype
    if getattr(dtype, "storage", "") != "pyarrow":
        return [np.nan if text is MISSING else text for text in values_of(column, rows)]
    import pyarrow  # type: ignore[import-untyped]

    lengths, data = text_parts(column)
    spread = np.zeros(rows, dtype="int64")
    spread[_mask(column) if column.present else slice(None)] = lengths
    ends = np.zeros(rows + 1, dtype="int64")
    np.cumsum(spread, out=ends[1:])
    known = pyarrow.py_buffer(np.packbits(_mask(column), bitorder="little")) if column.present else None
    texts = pyarrow.LargeStringArray.from_buffers(rows, pyarrow.py_buffer(ends), pyarrow.py_buffer(data), known)
    return dtype.__from_arrow__(texts)


def _mask(column: Column) -> np.ndarray:
    import numpy as np

    return np.frombuffer(column.present, "bool")
