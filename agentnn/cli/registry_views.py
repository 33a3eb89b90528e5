"""Views of promotions, their history, downloads, predictions and deletions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.amounts import age, size
from agentnn.cli.record_views import single_view
from agentnn.cli.render import Output, Row, Table, View
from agentnn.cli.text import short
from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentnn.records import ModelVersion
    from agentnn.registry.deletion import ModelDeletion
    from agentnn.registry.files import Download
    from agentnn.registry.history import HistoryEntry
    from agentnn.registry.predictions import Predictions
    from agentnn.registry.promotion import Promotion

_PROMOTED = ("model", "version", "alias", "stage", "previous", "moved", "action", "verified", "reason", "who", "when")
_HISTORY = (
    "when", "channel", "action", "from", "to", "who", "reason", "metric", "candidate", "baseline", "outcome",
)  # fmt: skip
_DELETED = ("model", "version", "aliases", "stage", "run_id", "created", "deleted")
_OUTSIDE = "moved outside agentnn"
_SUFFIXES = {".csv": Output.csv, ".tsv": Output.tsv, ".json": Output.json, ".jsonl": Output.jsonl, ".md": Output.md}
_SHORT_ID = 8


def promotion_view(done: Promotion) -> View:
    """What came of a promotion; what ``-o id`` prints is the version."""
    fields = done.to_dict()
    return single_view(_PROMOTED, Row([fields[name] for name in _PROMOTED], done.uri, lambda: fields))


def promotion_history_view(history: Sequence[HistoryEntry]) -> View:
    """The moves of aliases and stages as rows; what ``-o id`` prints are the versions that they went to."""
    rows = [_history_row(one) for one in history]
    return View(rows, lambda: Table(_HISTORY, rows, essential=7))


def download_view(done: Download) -> View:
    """Where a version's files are now; what ``-o id`` prints is the folder."""
    fields = done.to_dict()
    shown = {**fields, "size": size(done.size)}
    row = Row(list(fields.values()), str(done.folder), lambda: fields, [str(value) for value in shown.values()])
    return single_view(list(fields), row)


def predictions_view(predictions: Predictions) -> View:
    """Predictions as rows; what ``-o id`` prints is the number of the row, from 0."""
    records = predictions.records()

    def rows() -> list[Row]:
        return [
            Row(values, str(index), lambda index=index: records[index])  # type: ignore[misc]
            for index, values in enumerate(predictions.rows)
        ]

    return View(rows(), lambda: Table(predictions.columns, rows()), document=lambda: records)


def deletion_view(done: ModelDeletion) -> View:
    """The versions that go, or are gone; a model without versions is one row."""
    rows = [_deleted_row(done, one) for one in done.versions]
    if not rows:
        empty: tuple[Any, ...] = (done.model, None, [], None, None, None, done.deleted)
        rows = [Row(empty, f"models:/{done.model}", done.to_dict)]
    return View(rows, lambda: Table(_DELETED, rows, essential=4), document=done.to_dict)


def format_of(file: Path) -> Output:
    """The format that a file's name asks for.

    Raises:
        UsageError: It is none of ours.
    """
    found = _SUFFIXES.get(file.suffix.lower())
    if found is None:
        raise UsageError(f"--to {file}: the name does not say which format", hint=f"one of {', '.join(_SUFFIXES)}")
    return found


def _history_row(one: HistoryEntry) -> Row:
    fields = one.to_dict()
    action = _OUTSIDE if one.entry.action == "outside" else one.entry.action
    cells: list[Any] = [
        fields["when"],
        one.entry.channel,
        action,
        fields["from"],
        fields["to"],
        fields["who"],
        fields["reason"],
        fields["metric"],
        fields["values"]["candidate"],
        fields["values"]["baseline"],
        fields["outcome"],
    ]
    shown = [age(one.entry.when), *(short(cell) for cell in cells[1:])]
    return Row(cells, f"models:/{one.model}/{fields['to']}", lambda: fields, shown)


def _deleted_row(done: ModelDeletion, one: ModelVersion) -> Row:
    record = {**one.to_dict(), "deleted": done.deleted}
    cells = (
        one.name, one.version, list(one.aliases), one.stage, one.run_id, record["creation_time"], done.deleted,
    )  # fmt: skip
    shown = [short(cell) for cell in cells]
    shown[4:6] = [short(one.run_id)[:_SHORT_ID], age(one.creation_time)]
    return Row(cells, f"models:/{one.name}/{one.version}", lambda: record, shown)
