"""Frames, series, arrays and lists as one plain table.

pandas and polars are recognised by what their objects can do and are never imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass
from datetime import date
from typing import Any

from agentnn.errors import UsageError


@dataclass(frozen=True, slots=True)
class Table:
    """Names of columns, and rows of as many cells; the cells are as they were given."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def column(self, name: str) -> list[Any]:
        """The cells of one column."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        """Each row as a dictionary."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame of pandas or polars."""
    return hasattr(value, "columns") and hasattr(value, "to_dict")


def is_series(value: Any) -> bool:
    """Whether a value is a series or an index of pandas, or a series of polars."""
    return hasattr(value, "to_list") and not is_frame(value)


def items_of(value: Any) -> Sequence[Any] | None:
    """What a list, a tuple, a set, an array or a series holds; ``None`` for anything else, text included.

    The dates of a numpy array stay numpy's own: as Python's they would be bare numbers of nanoseconds.
    """
    if is_series(value):
        return list(value.to_list())
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0:
        return list(value) if getattr(value.dtype, "kind", "") == "M" else list(value.tolist())
    if isinstance(value, Sequence | Set | ValuesView) and not isinstance(value, str | bytes):
        return list(value)
    return None


def table_of_frame(frame: Any) -> Table:
    """A frame as a table; an index that says something is its first columns.

    Raises:
        UsageError: Two columns have one name.
    """
    named = _index_columns(getattr(frame, "index", None))
    names = [_column_name(name) for name in frame.columns]
    twice = [name for name in names if names.count(name) > 1 or name in named]
    if twice:
        raise UsageError(f"two columns are called {twice[0]!r}", hint="rename one of them, or the index")
    cells = {name: list(frame[key].to_list()) for name, key in zip(names, frame.columns, strict=True)}
    return table_of_columns({**named, **cells})


def table_of_series(series: Any, name: str) -> Table:
    """A series as a table: an index that says something, then its values in the column ``name``."""
    return table_of_columns({**_index_columns(getattr(series, "index", None)), name: list(series.to_list())})


def table_of_columns(named: Mapping[str, Sequence[Any]]) -> Table:
    """Columns of equal length as a table.

    Raises:
        UsageError: The lengths differ.
    """
    lengths = {name: len(cells) for name, cells in named.items()}
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UsageError(f"columns of different lengths: {words}")
    return Table(tuple(named), tuple(zip(*named.values(), strict=True)))


def table_of_records(records: Sequence[Mapping[Any, Any]]) -> Table:
    """Dictionaries as a table of all their keys; a cell that a record lacks is ``None``."""
    keys = list(dict.fromkeys(key for record in records for key in record))
    return Table(tuple(map(str, keys)), tuple(tuple(record.get(key) for key in keys) for record in records))


def _index_columns(index: Any) -> dict[str, list[Any]]:
    """The levels of a pandas index by their names.

    An index without a name says something only if it holds dates or text; other such numbers count the rows.
    """
    if index is None or callable(index):  # polars has no index, and a list a method of that name
        return {}
    levels = [list(index.get_level_values(level).to_list()) for level in range(index.nlevels)]
    if index.nlevels > 1 or index.name is not None:
        names = [f"index_{place}" if name is None else _column_name(name) for place, name in enumerate(index.names)]
        return dict(zip(names, levels, strict=True))
    [cells] = levels
    if cells and all(isinstance(one, date) or hasattr(one, "to_timestamp") for one in cells):
        return {"date": cells}
    return {"index": cells} if cells and all(isinstance(one, str) for one in cells) else {}


def _column_name(name: Any) -> str:
    return ".".join(map(str, name)) if isinstance(name, tuple) else str(name)
