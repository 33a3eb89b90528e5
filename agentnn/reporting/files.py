"""The files of a run that a report knows how to read, found by their names wherever they lie in the run.

They are those that agentnn logs (:mod:`agentnn.tracking.capture.recording`, ``log_backtest_results``). Anybody may have
written them: what does not fit is left out and said, and never believed.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError
from agentnn.values.tabular import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agentnn.records import Artifact, Run
    from agentnn.reporting.discretion import Discretion
    from agentnn.stores.artifacts.files import RunFiles
    from agentnn.stores.base import TrackingStore

_LARGEST = 16 << 20
"""Bytes of a file that is read."""

_MOST_FOLDERS, _DEEPEST = 60, 4
_MOST_OF_A_KIND = 4
_MOST_CELLS = 2_000_000
_LONGEST_TEXT = 60_000
_MOST_DIGITS = 19

_SUMMARIES = ("model_summary", "model_architecture", "architecture")
_KINDS: Mapping[str, str] = {
    "characteristics.json": "data",
    "importance.json": "importance",
    "param_importance.json": "importance",
    "environment.json": "environment",
    "predictions.csv": "predictions",
    "history.csv": "history",
    "trades.csv": "trades",
    "portfolio_values.csv": "portfolio",
    "config.yaml": "config",
    "best_config.yaml": "config",
    "packages.txt": "packages",
    "changes.diff": "changes",
    "requirements.txt": "packages",
}


@dataclass(frozen=True, slots=True)
class Files:
    """What was read; each by the folder that it lay in, which tells several of a kind apart.

    Attributes:
        data: Of each set of data, its characteristics as JSON.
        importance: What the model relies on, as JSON.
        environment: Where the run ran, as JSON.
        predictions, history, trades, portfolio: Tables, all cells text.
        summaries: Of the model, as text, by path.
        config, packages, changes: Text.
        problems: What could not be read, and why, a line each.
    """

    data: dict[str, Any] = field(default_factory=dict)
    importance: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    predictions: dict[str, Table] = field(default_factory=dict)
    history: dict[str, Table] = field(default_factory=dict)
    trades: dict[str, Table] = field(default_factory=dict)
    portfolio: dict[str, Table] = field(default_factory=dict)
    summaries: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_files(store: TrackingStore, run: Run, discretion: Discretion, kinds: Sequence[str] = ()) -> Files:
    """Read what a report needs of a run's files; what can't be read is a problem, and no error.

    Args:
        store: Where the run is.
        run: The run as the store gave it.
        discretion: Strikes secrets out.
        kinds: Only these fields of :class:`Files`; all of them without.
    """
    found = Files()
    if run.artifact_uri is None:
        return found
    try:
        files = store.run_files(run)
        wanted = [(one, kind) for one, kind in _known(files) if not kinds or kind in kinds]
    except AgentNNError as error:
        found.problems.append(discretion.text(f"the files of the run: {error.message}"))
        return found
    for kind in {kind: None for _, kind in wanted}:
        of_kind = [one for one, its in wanted if its == kind]
        if len(of_kind) > _MOST_OF_A_KIND:
            found.problems.append(f"{len(of_kind)} files {PurePosixPath(of_kind[0].path).name}: the first 4 are here")
        for one in of_kind[:_MOST_OF_A_KIND]:
            _read(files, one, kind, found, discretion)
    return found


def read_table(store: TrackingStore, run: Run, path: str, discretion: Discretion) -> Table:
    """One CSV file of a run.

    Raises:
        NotFoundError, UnsafeError, StoreUnavailable, CorruptDataError: The file can't be had.
        ValueError: It is too large, or no table.
    """
    return _table(_whole(store.run_files(run).read(path)), discretion)


def _known(files: RunFiles) -> Iterator[tuple[Artifact, str]]:
    """The files that are known by name; a folder that holds a model is not looked into."""
    folders = [""]
    looked = 0
    while folders and looked < _MOST_FOLDERS:
        folder = folders.pop(0)
        looked += 1
        entries = files.entries(folder)
        names = {PurePosixPath(one.path).name for one in entries}
        if "MLmodel" in names:
            continue
        for one in entries:
            path = PurePosixPath(one.path)
            if one.is_dir:
                if len(path.parts) < _DEEPEST:
                    folders.append(one.path)
            elif path.name in _KINDS:
                yield one, _KINDS[path.name]
            elif path.suffix == ".txt" and path.stem in _SUMMARIES:
                yield one, "summaries"


def _read(files: RunFiles, artifact: Artifact, kind: str, found: Files, discretion: Discretion) -> None:
    path = PurePosixPath(artifact.path)
    place = "" if len(path.parts) == 1 else str(path.parent)
    name = str(path) if kind == "summaries" else place
    try:
        text = _text(files, artifact)
        getattr(found, kind)[discretion.text(name)] = _READERS[kind](text, discretion)
    except (AgentNNError, ValueError, RecursionError, csv.Error) as error:
        message = getattr(error, "message", "") or f"it is not what its name says ({type(error).__name__})"
        found.problems.append(discretion.text(f"{artifact.path}: {message}"))


def _text(files: RunFiles, artifact: Artifact) -> str:
    """A file's text, which is read whole.

    Raises:
        ValueError: It is too large, or no text.
    """
    return _whole(files.read_listed(artifact))


def _whole(chunks: Iterator[bytes]) -> str:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > _LARGEST:
            raise _TooLarge
    return held.decode("utf-8-sig")


class _TooLarge(ValueError):
    message = f"it is larger than {_LARGEST >> 20} MB"


def _json(text: str, discretion: Discretion) -> dict[str, Any]:
    read = json.loads(text, parse_int=_whole_number)
    if not isinstance(read, dict):
        raise ValueError("no object")
    plain: dict[str, Any] = discretion.plain(read)
    return plain


def _whole_number(text: str) -> float:
    """A number of JSON without a point, which may be longer than a float can hold."""
    return int(text) if len(text) < _MOST_DIGITS else float(text)


def _table(text: str, discretion: Discretion) -> Table:
    """A CSV file; rows that don't fit the head, and cells beyond two million, make it no table."""
    rows = csv.reader(io.StringIO(text, newline=""))
    head = next(rows, None)
    if not head or len(set(head)) != len(head):
        raise ValueError("no head")
    columns = tuple(map(discretion.text, head))
    cells: list[tuple[str, ...]] = []
    for row in rows:
        if not row:
            continue
        if len(row) != len(columns) or len(cells) * len(columns) > _MOST_CELLS:
            raise ValueError("a row does not fit")
        cells.append(tuple(map(discretion.text, row)))
    return Table(columns, tuple(cells))


def _lines(text: str, discretion: Discretion) -> str:
    shown = discretion.lines(text[:_LONGEST_TEXT])
    return f"{shown}\n… (cut here)" if len(text) > _LONGEST_TEXT else shown


_READERS = {
    "data": _json,
    "importance": _json,
    "environment": _json,
    "predictions": _table,
    "history": _table,
    "trades": _table,
    "portfolio": _table,
    "summaries": _lines,
    "config": _lines,
    "packages": _lines,
    "changes": _lines,
}
