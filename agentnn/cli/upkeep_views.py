"""Views of what waits on this machine and of what is wrong with a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.cli.amounts import counted, size
from agentnn.cli.render import Row, Table, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from agentnn.tracking.upkeep.findings import Finding
    from agentnn.tracking.upkeep.store_measures import Measured
    from agentnn.tracking.upkeep.waiting import SyncedRun

_SYNCED = ("run_id", "name", "status", "delivered", "waiting", "refused", "damaged", "problem")
_FOUND = ("check", "severity", "run_id", "run", "experiment", "model", "problem", "repair", "fixed")
_SHORT_ID = 8
_STYLES = {"problem": "red", "notice": "yellow", "advice": "cyan"}
_WORDS = {"problem": "repair: ", "notice": "repair: ", "advice": "faster: "}


def synced_view(runs: Sequence[SyncedRun]) -> View:
    """Runs, and how their delivery stands; one that is not in the store yet is known by its uuid."""
    rows = [_synced_row(run) for run in runs]
    return View(rows, lambda: Table(_SYNCED, rows, essential=len(_SYNCED) - 1))


def findings_view(findings: Sequence[Finding]) -> View:
    """Findings as rows; for a person each is a short paragraph, since a line would cut what matters."""

    def picture(_: Console) -> RenderableType:
        return _paragraphs(findings)

    rows = [_found_row(finding) for finding in findings]
    return View(rows, lambda: Table(_FOUND, rows), picture=picture)


def measures_in_words(found: Measured) -> str:
    """A store's figures, on one line."""
    own, latency = found.measures, found.latency
    parts = [own.reader + (f" ({own.software})" if own.software else "")]
    first, median = (f"{seconds * 1000:.2f} ms" for seconds in latency)
    parts.append(f"answers in {median}, at first in {first}")
    if own.runs is not None:
        parts.append(f"{counted(own.runs, 'run')} in {counted(own.experiments or 0, 'experiment')}")
    if own.size_bytes is not None:
        parts.append(size(own.size_bytes))
    if own.analysed is not None:
        parts.append("with statistics" if own.analysed else "without statistics")
    if own.indexes:
        parts.append(f"indexed by {', '.join(own.indexes)}")
    if own.cache is not None and own.cache.values:
        kept = f"{own.cache.values:,} histories, {size(own.cache.size_bytes)} of at most {size(own.cache.most_bytes)}"
        parts.append(f"kept of all servers: {kept}, in {own.cache.path}")
    return "; ".join(parts)


def _synced_row(run: SyncedRun) -> Row:
    fields = run.to_dict()
    cells = [fields[column] for column in _SYNCED]
    shown = [run.run_id[:_SHORT_ID], *("" if cell is None else str(cell) for cell in cells[1:])]
    return Row(cells, run.run_id or run.uuid, lambda: fields, shown)


def _found_row(finding: Finding) -> Row:
    fields = finding.to_dict()
    subject = f"models:/{finding.model}" if finding.model else finding.run_id or finding.check
    return Row([fields[column] for column in _FOUND], subject, lambda: fields)


def _paragraphs(findings: Sequence[Finding]) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from agentnn.cli.text import visible

    parts: list[RenderableType] = []
    if all(finding.severity == "advice" for finding in findings):
        parts.append(Text("nothing is wrong", style="green"))
    for finding in findings:
        style = "green" if finding.fixed else _STYLES[finding.severity]
        head = Text.assemble((finding.check, f"bold {style}"), "  ", visible(_subject(finding)))
        parts += [head, Padding(Text(visible(finding.problem)), (0, 0, 0, 2))]
        word = "repaired: " if finding.fixed else "--fix: " if finding.is_fixable else _WORDS[finding.severity]
        parts.append(Padding(Text.assemble((word, style), visible(finding.repair)), (0, 0, 0, 2)))
    return Group(*parts)


def _subject(finding: Finding) -> str:
    """What a finding is about, in a few words."""
    where = f"experiment {finding.experiment}" if finding.experiment else ""
    names = (finding.model and f"models:/{finding.model}", finding.run, finding.run_id, where)
    return "  ".join(name for name in names if name)
