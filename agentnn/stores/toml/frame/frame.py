"""All runs of a folder of projects as one table: a column a leaf of their documents.

The table is a view of the index: it is kept there column by column, and patched where runs have changed. Its rows are
in the order in which the runs were created (``_meta.created_at``, or else when ``config.toml`` was written), and by
project and run where that is the same. Its columns are those that
:func:`~agentnn.stores.toml.frame.leaves.ordered` gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import AgentNNError
from agentnn.stores.toml.frame.columns import MISSING, Column, Kept, Piece, check_column, column_of, patched
from agentnn.stores.toml.frame.leaves import ColumnKey, RunLeaves, Shape, column_names, keys_of, leaves_of, ordered
from agentnn.stores.toml.frame.tables import Rows, SavedRows, load_columns, making_sense, save_column, save_rows
from agentnn.stores.toml.index.index import Index
from agentnn.stores.toml.index.reading import Problem, read_runs
from agentnn.stores.toml.layout import CONFIG, METRICS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.stores.toml.index.scanning import Unreadable
    from agentnn.stores.toml.index.seen import Change, RunKey


class Frame(NamedTuple):
    """All runs.

    Attributes:
        rows: How many there are.
        columns: The columns by name: the run's id, which is the name of its folder, that of its project's folder, and
            the leaves.
        apart: The keys that are shown by other names, since two columns would have the same.
    """

    rows: int
    columns: dict[str, Column]
    apart: tuple[str, ...]


def read_frame(base_dir: Path) -> tuple[Frame, tuple[Unreadable, ...]]:
    """All runs of a folder of projects, and the files that could not be read.

    Raises:
        StoreUnavailable: There is no such folder, it can't be read, or there is no place for an index.
    """
    return Index(base_dir).read(FrameView(), _frame)


def _frame(connection: sqlite3.Connection) -> Frame:
    saved, columns = SavedRows(connection), load_columns(connection)
    names = column_names(ordered(saved.shapes()))
    rows = saved.count()
    with making_sense():
        shown = {**saved.names(), **{name: columns[key] for key, name in names.items()}}
        for column in shown.values():
            check_column(column, rows)
    return Frame(rows, shown, tuple(sorted({key.key for key, name in names.items() if name != key.key})))


class FrameView:
    """The tables ``frame_rows`` and ``frame_columns``."""

    name = "frame"
    files: Sequence[str] = (CONFIG, METRICS)
    shared_matter = False

    def apply(self, connection: sqlite3.Connection, base_dir: Path, change: Change) -> Iterator[Problem]:
        """Patch the table; what can't be read comes back."""
        new: dict[RunKey, RunLeaves] = {}
        for one in read_runs(base_dir, change.read):
            if isinstance(one, Problem):
                yield one
                continue
            try:
                new[one.key] = leaves_of(one)
            except AgentNNError as error:
                yield Problem(one.key, f"{one.key.project}/{one.key.run}/{CONFIG}", error.message)
        before = Rows([], [], []) if change.whole else SavedRows(connection).rows()
        if change.whole:
            connection.execute("DELETE FROM frame_columns")
        rows, patch = _patched_rows(before, {*change.read, *change.gone}, new)
        save_rows(connection, rows)
        with making_sense():
            _patch_columns(connection, len(before.keys), ordered(dict.fromkeys(rows.shapes)), patch)


class _NewRows:
    """Some neighbouring rows that are new, turned into columns."""

    def __init__(self, runs: Sequence[RunLeaves]) -> None:
        self._count = len(runs)
        self._cells: dict[ColumnKey, list[tuple[list[int], tuple[Any, ...]]]] = {}
        alike: dict[Shape, list[int]] = {}
        for at, run in enumerate(runs):
            alike.setdefault(run.shape, []).append(at)
        for shape, places in alike.items():
            columns = zip(*(runs[at].values for at in places), strict=True)
            for key, values in zip(keys_of(shape), columns, strict=True):
                self._cells.setdefault(key, []).append((places, values))

    def column(self, key: ColumnKey) -> list[Any]:
        """The values of a column in these rows."""
        cells = self._cells.get(key, [])
        if len(cells) == 1 and len(cells[0][0]) == self._count:
            return list(cells[0][1])
        column = [MISSING] * self._count
        for places, values in cells:
            for at, value in zip(places, values, strict=True):
                column[at] = value
        return column


def _patched_rows(
    before: Rows, dropped: Collection[RunKey], new: Mapping[RunKey, RunLeaves]
) -> tuple[Rows, list[Kept | _NewRows]]:
    """The rows as they are now, and of what rows that stay, and what new ones, they are made."""
    places = {key: at for at, key in enumerate(before.keys) if key not in dropped}
    order = [(before.created[at], key) for key, at in places.items()]
    order += [(run.created, key) for key, run in new.items()]
    order.sort()
    shapes: list[Shape] = []
    patch: list[Kept | list[RunLeaves]] = []
    for _, key in order:
        last = patch[-1] if patch else None
        run = new.get(key)
        if run is not None:
            shapes.append(run.shape)
            if isinstance(last, list):
                last.append(run)
            else:
                patch.append([run])
            continue
        at = places[key]
        shapes.append(before.shapes[at])
        if isinstance(last, Kept) and last.stop == at:
            patch[-1] = Kept(last.start, at + 1)
        else:
            patch.append(Kept(at, at + 1))
    rows = Rows([key for _, key in order], [created for created, _ in order], shapes)
    return rows, [part if isinstance(part, Kept) else _NewRows(part) for part in patch]


def _patch_columns(
    connection: sqlite3.Connection, rows: int, keys: Sequence[ColumnKey], patch: Sequence[Kept | _NewRows]
) -> None:
    """Bring all columns up to date, which had so many rows before."""
    before = load_columns(connection)
    none = column_of([MISSING] * rows)
    for gone in before.keys() - set(keys):
        connection.execute("DELETE FROM frame_columns WHERE space = ? AND key = ?", gone)
    for key in keys:
        pieces: list[Piece] = [part if isinstance(part, Kept) else part.column(key) for part in patch]
        column = patched(before.get(key, none), pieces, rows)
        if column != before.get(key):
            save_column(connection, key, column)
