"""A frame as the index keeps it: what is kept of each row, and the columns."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from agentnn.stores.index_file import DamagedIndex
from agentnn.stores.toml.frame.columns import Column, content_of, values_of
from agentnn.stores.toml.frame.leaves import ROW_COLUMNS, ColumnKey
from agentnn.stores.toml.index.seen import RunKey

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from agentnn.stores.toml.frame.leaves import Shape

_RUN, _PROJECT = ROW_COLUMNS
_CREATED, _SHAPE, _SHAPES = "created", "shape", "shapes"


class Rows(NamedTuple):
    """What is kept of each row beside its leaves: which run it is, when that was created, what leaves it has."""

    keys: list[RunKey]
    created: list[int]
    shapes: list[Shape]


class SavedRows:
    """The rows as they were saved.

    Raises:
        DamagedIndex: They make no sense, which shows when one asks for them.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._parts: dict[str, bytes] = dict(connection.execute("SELECT part, content FROM frame_rows"))

    def count(self) -> int:
        """How many there are."""
        return len(self._parts.get(_CREATED, b"")) // 8

    def names(self) -> dict[str, Column]:
        """The columns that every frame begins with: the names of each run's folder and of its project's."""
        with making_sense():
            return {name: Column("text", b"", self._parts[name]) for name in ROW_COLUMNS} if self._parts else {}

    def shapes(self) -> list[Shape]:
        """What leaves the runs have, in their order, each once."""
        with making_sense():
            table = self._table()
            return [table[at] for at in dict.fromkeys(self._numbers(_SHAPE))]

    def rows(self) -> Rows:
        """All that is kept of them."""
        if not self._parts:
            return Rows([], [], [])
        with making_sense():
            created, table = self._numbers(_CREATED), self._table()
            names = (values_of(column, len(created)) for column in self.names().values())
            keys = [RunKey(project, run) for run, project in zip(*names, strict=True)]
            return Rows(keys, created, [table[at] for at in self._numbers(_SHAPE)])

    def _numbers(self, part: str) -> list[int]:
        return values_of(Column("int", b"", self._parts.get(part, b"")), self.count())

    def _table(self) -> list[Shape]:
        shapes = json.loads(self._parts.get(_SHAPES, b"[]"))
        return [(tuple(config), tuple(metrics), tuple(about)) for config, metrics, about in shapes]


def save_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    """Save what is kept of each row."""
    table = {shape: at for at, shape in enumerate(dict.fromkeys(rows.shapes))}
    parts = {
        _RUN: content_of("text", [key.run for key in rows.keys]),
        _PROJECT: content_of("text", [key.project for key in rows.keys]),
        _CREATED: content_of("int", rows.created),
        _SHAPE: content_of("int", [table[shape] for shape in rows.shapes]),
        _SHAPES: json.dumps(list(table), ensure_ascii=False).encode(),
    }
    connection.executemany("INSERT OR REPLACE INTO frame_rows VALUES (?, ?)", parts.items())


def load_columns(connection: sqlite3.Connection) -> dict[ColumnKey, Column]:
    """The columns as they were saved, in no order."""
    rows = connection.execute("SELECT space, key, kind, present, content FROM frame_columns")
    return {ColumnKey(space, key): Column(*column) for space, key, *column in rows}


def save_column(connection: sqlite3.Connection, key: ColumnKey, column: Column) -> None:
    """Save a column in place of what was there."""
    connection.execute("INSERT OR REPLACE INTO frame_columns VALUES (?, ?, ?, ?, ?)", (*key, *column))


@contextmanager
def making_sense() -> Iterator[None]:
    """What can't be read of a frame means that the index is damaged."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedIndex from error
