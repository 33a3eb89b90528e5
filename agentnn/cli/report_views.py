"""What the commands about reports print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.cli.render import Row, Table, View

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.reporting.verifying import Verification

_COLUMNS = ("section", "what", "in_report", "in_store")


def file_view(path: Path) -> View:
    """A file that was written."""
    row = Row((str(path),), str(path), lambda: {"path": str(path)})
    return View([row], lambda: Table(("path",), [row]), single=True)


def verification_view(found: Verification) -> View:
    """What a report and its store don't agree on, a line each."""
    rows = [
        Row((one.section, one.what, one.in_report, one.in_store), one.what, one.to_dict) for one in found.differences
    ]
    return View(rows, lambda: Table(_COLUMNS, rows, essential=len(_COLUMNS)), document=found.to_dict)
