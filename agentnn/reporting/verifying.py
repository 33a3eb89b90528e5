"""Whether what a report says is still what its store says.

A page and a JSON file hold their data; the report is built again from the store, by the conventions that the file
names, and the facts of both are compared: figures, cells, points, texts. How they are told does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.config.secrecy import MASK
from agentnn.errors import CorruptDataError, NotFoundError, StoreUnavailable, UsageError
from agentnn.reporting.document import (
    BarChart,
    Figures,
    HeatTable,
    LineChart,
    Missing,
    Report,
    Table,
    Text,
    TimelineChart,
)
from agentnn.reporting.json_form import from_json, is_intact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentnn.reporting.building import ReportBuilder
    from agentnn.reporting.document import Block, Cell

_DATA = re.compile(r'<script\b[^>]*\bid="agentnn-report"[^>]*>(.*?)</script>', re.DOTALL)
_LARGEST = 256 << 20
_HINT = "make the report again with agentnn report"


@dataclass(frozen=True, slots=True)
class ReportDifference:
    """A fact that a report and its store don't agree on; ``None`` where one of them does not have it."""

    section: str
    what: str
    in_report: Cell
    in_store: Cell

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "section": self.section,
            "what": self.what,
            "in_report": self.in_report,
            "in_store": self.in_store,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of comparing a report with its store.

    Attributes:
        file: The report.
        report: What it says.
        differences: What the store says otherwise; empty where they agree.
        facts: How many facts were compared.
    """

    file: Path
    report: Report
    differences: tuple[ReportDifference, ...]
    facts: int

    @property
    def agrees(self) -> bool:
        """Whether the store still says what the report does."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        source = self.report.source
        return {
            "file": str(self.file),
            "kind": self.report.kind,
            "agrees": self.agrees,
            "facts": self.facts,
            "differences": [one.to_dict() for one in self.differences],
            "store": source.store,
            "runs": list(source.runs),
            "as_of": source.as_of,
            "version": source.version,
        }


def verify(file: Path, builder: ReportBuilder) -> Verification:
    """Compare a report with a store.

    Raises:
        NotFoundError: There is no such file, or a run is gone.
        UsageError: It is a file without the data of a report, such as Markdown.
        CorruptDataError: The data in it are damaged, or were changed.
        StoreUnavailable: The file can't be read.
    """
    report = read_report(file)
    before, now = dict(facts_of(report)), dict(facts_of(builder.again(report)))
    differences = tuple(
        ReportDifference(*place, before.get(place), now.get(place))
        for place in [*before, *(place for place in now if place not in before)]
        if not _same(before.get(place), now.get(place))
    )
    return Verification(file, report, differences, len(before))


def read_report(file: Path) -> Report:
    """The report that a page or a JSON file holds; see :func:`verify` for what is raised."""
    try:
        if file.stat().st_size > _LARGEST:
            raise UsageError(f"{file} is too large for a report", hint="name the file that agentnn report wrote")
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", hint="name the file that agentnn report wrote") from None
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"{file} is no text", hint=_HINT) from error
    except OSError as error:
        raise StoreUnavailable(f"{file} can't be read: {error.strerror}", hint="check the path") from error
    report = from_json(_data_in(text, file))
    if not is_intact(report):
        raise CorruptDataError(f"the data in {file} are not those that agentnn wrote: they were changed", hint=_HINT)
    return report


def facts_of(report: Report) -> Iterator[tuple[tuple[str, str], Cell]]:
    """What a report says, each fact with its section and a name of its own."""
    yield ("", "outcome"), report.outcome
    for fact in report.about:
        yield ("", fact.name), fact.value
    for section in report.sections:
        seen: dict[str, int] = {}
        for block in section.blocks:
            for what, value in _facts_of_block(block):
                seen[what] = seen.get(what, 0) + 1
                yield (section.title, what if seen[what] == 1 else f"{what} ({seen[what]})"), value


def _facts_of_block(block: Block) -> Iterator[tuple[str, Cell]]:
    if isinstance(block, Figures):
        yield from ((f"{block.title} {item.name}".strip(), item.value) for item in block.items)
    elif isinstance(block, Table):
        for row in block.rows:
            for column, value in zip(block.columns, row, strict=True):
                yield f"{block.title}: {row[0]}, {column.title}", value
    elif isinstance(block, LineChart):
        for series in block.series:
            yield f"{block.title}: {series.name}", _told(list(zip(series.x or block.x, series.y, strict=False)))
    elif isinstance(block, BarChart):
        yield from ((f"{block.title}: {one}", value) for one, value in zip(block.labels, block.values, strict=False))
    elif isinstance(block, HeatTable):
        for label, values in zip(block.row_labels, block.values, strict=False):
            pairs = zip(block.column_labels, values, strict=False)
            yield from ((f"{block.title}: {label} {column}", value) for column, value in pairs)
    elif isinstance(block, TimelineChart):
        yield from ((f"{block.title}: {one.label}", _told([one.start, one.end, one.state])) for one in block.spans)
    elif isinstance(block, Text):
        yield f"{block.title} text".strip(), block.text
    elif isinstance(block, Missing):
        yield f"{block.what} is left out", block.why


def _told(values: list[Any]) -> str:
    """Points of a line as one fact: a page of numbers tells nobody anything."""
    from hashlib import sha256

    return f"{len(values)} points, {sha256(repr(values).encode()).hexdigest()[:12]}"


def _same(before: Cell, now: Cell) -> bool:
    """Whether two values are the same; what is struck out in one of them may be anything."""
    if before == now and isinstance(before, bool) == isinstance(now, bool):
        return True
    for one, other in ((before, now), (now, before)):
        if isinstance(one, str) and MASK in one and isinstance(other, str):
            pattern = ".*".join(map(re.escape, one.split(MASK)))
            if re.fullmatch(pattern, other, re.DOTALL):
                return True
    return False


def _data_in(text: str, file: Path) -> str:
    if text.lstrip()[:1] == "{":
        return text
    found = _DATA.findall(text)
    if len(found) == 1:
        return str(found[0])
    if "agentnn-report" in text:
        raise CorruptDataError(f"the data in {file} are damaged", hint=_HINT)
    raise UsageError(
        f"{file} holds no data of a report", hint="a page or a JSON file of agentnn report does, Markdown does not"
    )
