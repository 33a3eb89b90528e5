"""Views of files and runs that went from one place to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.amounts import size
from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.stores.artifacts.download import DownloadedFile
    from agentnn.transfer.exporting import ExportedRun
    from agentnn.transfer.importing import ImportedRun

_DOWNLOADED = ("path", "file", "size", "sha256")
_EXPORTED = ("run_id", "name", "experiment", "folder", "points", "files", "size")
_IMPORTED = ("run_id", "name", "experiment", "imported_run_id", "result")
_SHORT_ID = 8


def downloads_view(files: Sequence[DownloadedFile]) -> View:
    """Files that were written, and where."""
    return _view(_DOWNLOADED, [(one.to_dict(), one.file) for one in files])


def exported_view(runs: Sequence[ExportedRun]) -> View:
    """Runs that were exported, in the order of the export."""
    return _view(_EXPORTED, [(one.to_dict(), one.run_id) for one in runs])


def imported_view(runs: Sequence[ImportedRun]) -> View:
    """Runs that were imported or were there already, in the order of the export."""
    return _view(_IMPORTED, [(one.to_dict(), one.run_id) for one in runs])


def _view(columns: Sequence[str], records: Sequence[tuple[dict[str, Any], str]]) -> View:
    rows = [_row(columns, fields, identifier) for fields, identifier in records]
    return View(rows, lambda: Table(columns, rows, essential=3))


def _row(columns: Sequence[str], fields: dict[str, Any], identifier: str) -> Row:
    shown = [_shown(column, fields[column]) for column in columns]
    return Row([fields[column] for column in columns], identifier, lambda: fields, shown)


def _shown(column: str, value: Any) -> str:
    if column == "size" and isinstance(value, int):
        return size(value)
    if column in ("run_id", "imported_run_id", "sha256"):
        return str(value)[:_SHORT_ID]
    return short(value)
