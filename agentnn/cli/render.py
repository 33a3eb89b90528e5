"""Results on standard output, in any of the formats; nothing else in the package writes there."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.cli.text import json_safe, markdown_safe, plain, short, shown_lines, spreadsheet_safe, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType


class ReaderGone(Exception):
    """Who reads our output, such as ``head``, has all it wanted.

    A ``BrokenPipeError`` would say the same, but Click ends the process with code 1 when it sees one.
    """


class Output(StrEnum):
    """The formats of ``--output``."""

    auto = "auto"
    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    md = "md"
    id = "id"


class Row(NamedTuple):
    """One line of a result.

    Attributes:
        cells: The values under the view's columns, unrounded.
        identifier: What ``-o id`` prints.
        record: The whole record, as JSON shows it.
        shown: The cells as a person reads them, or what makes them, where that is not just the value rounded.
        styles: Their colours on a terminal, where these are not those of a status.
    """

    cells: Sequence[Any]
    identifier: str
    record: Callable[[], dict[str, Any]]
    shown: Sequence[str] | Callable[[], Sequence[str]] | None = None
    styles: Sequence[str] | None = None

    def as_shown(self) -> Sequence[str]:
        """The cells as a person reads them."""
        if self.shown is None:
            return [short(value) for value in self.cells]
        return self.shown() if callable(self.shown) else self.shown


class Table(NamedTuple):
    """Columns, and rows that fit them; ``essential`` leading columns are never dropped for want of width."""

    columns: Sequence[str]
    rows: Iterable[Row]
    essential: int = 2


class View(NamedTuple):
    """A result on its way to the screen; it does not know in which format.

    Attributes:
        rows: The lines; they may come one by one, and JSON and identifiers are printed as they come.
        table: Makes the same lines into a table; which columns there are may depend on all of them.
        single: There is one record, not a list of them.
        document: The JSON form of the whole, where it is not the rows' records.
        picture: Draws the whole for a person at a terminal, where a plain table of the rows is not it.
        identifiers: What ``-o id`` prints, where that is known sooner than the rows.
    """

    rows: Iterable[Row]
    table: Callable[[], Table]
    single: bool = False
    document: Callable[[], Any] | None = None
    picture: Callable[[Console], RenderableType] | None = None
    identifiers: Callable[[], Iterable[str]] | None = None


def emit(view: View, output: Output, *, formulas: bool = False) -> None:
    """Print a view on standard output.

    Args:
        view: What to print.
        output: The format; ``auto`` is a table on a terminal and TSV otherwise.
        formulas: Leave cells alone that a spreadsheet would run as a formula.
    """
    stream = sys.stdout
    if output is Output.auto:
        output = Output.table if stream.isatty() else Output.tsv
    if output is Output.table:
        _print_table(view)
        return
    try:
        for line in _FORMATS[output](view, formulas):
            stream.write(line)
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error


def emit_bytes(chunks: Iterator[bytes], name: str) -> None:
    """Print a file on standard output as it is; on a terminal only text, in which nothing is acted on.

    Args:
        chunks: Its bytes.
        name: What to call it in an error.

    Raises:
        UsageError: It is not text, and this is a terminal.
    """
    stream = sys.stdout
    try:
        if stream.isatty():
            for text in shown_lines(chunks, name):
                stream.write(text)
        else:
            for chunk in chunks:
                stream.buffer.write(chunk)
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error


def save(view: View, path: Path, output: Output, *, formulas: bool = False) -> None:
    """Write a view into a file, which takes its place as a whole.

    Args:
        view: What to write.
        path: The file.
        output: The format; ``auto`` and ``table`` are not for files.
        formulas: Leave cells alone that a spreadsheet would run as a formula.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            stream.writelines(_FORMATS[output](view, formulas))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def emit_live(views: Iterable[View], output: Output, *, empty: View) -> None:
    """Show a result that changes: on a terminal each view in the place of the one before, otherwise the last one.

    Args:
        views: The result as it changes.
        output: The format, as for :func:`emit`.
        empty: What to print when there is no view at all.
    """
    if output in (Output.auto, Output.table) and sys.stdout.isatty():
        from rich.live import Live

        from agentnn.cli.tables import make_console, picture_of

        console = make_console()
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for view in views:
                live.update(picture_of(view, console), refresh=True)
        return
    last = empty
    for last in views:  # noqa: B007 - only the last one is wanted
        pass
    emit(last, output)


def _json(view: View, _: bool) -> Iterator[str]:
    if view.document is not None:
        yield _indented(view.document()) + "\n"
    elif view.single:
        yield _indented(next(iter(view.rows)).record()) + "\n"
    else:
        yield from _json_array(view.rows)


def _json_array(rows: Iterable[Row]) -> Iterator[str]:
    """A list of records as it would be written at once, record by record."""
    before = "[\n  "
    for row in rows:
        yield before + _indented(row.record()).replace("\n", "\n  ")
        before = ",\n  "
    yield "[]\n" if before.startswith("[") else "\n]\n"


def _indented(whole: Any) -> str:
    from json import dumps

    return json_safe(dumps(whole, ensure_ascii=False, indent=2, allow_nan=False))


def _jsonl(view: View, _: bool) -> Iterator[str]:
    from json import JSONEncoder

    encode = JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    for row in view.rows:
        yield json_safe(encode(row.record())) + "\n"


def _tsv(view: View, formulas: bool) -> Iterator[str]:
    for cells in _lines_of_cells(view.table(), formulas):
        yield "\t".join(visible(cell) for cell in cells) + "\n"


def _csv(view: View, formulas: bool) -> Iterator[str]:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for cells in _lines_of_cells(view.table(), formulas):
        writer.writerow([visible(cell, keep="\n\t") for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _lines_of_cells(table: Table, formulas: bool) -> Iterator[list[str]]:
    """The header, then each row; names of runs can be headers, so these are defused like any other text."""
    yield [_cell(name, formulas) for name in table.columns]
    for row in table.rows:
        yield [_cell(value, formulas) for value in row.cells]


def _md(view: View, _: bool) -> Iterator[str]:
    table = view.table()
    yield "| " + " | ".join(markdown_safe(name) for name in table.columns) + " |\n"
    yield "|" + " --- |" * len(table.columns) + "\n"
    for row in table.rows:
        yield "| " + " | ".join(markdown_safe(plain(value)) for value in row.cells) + " |\n"


def _id(view: View, _: bool) -> Iterator[str]:
    identifiers = (row.identifier for row in view.rows) if view.identifiers is None else view.identifiers()
    for one in identifiers:
        yield visible(one) + "\n"


_FORMATS: dict[Output, Callable[[View, bool], Iterator[str]]] = {
    Output.json: _json,
    Output.jsonl: _jsonl,
    Output.csv: _csv,
    Output.tsv: _tsv,
    Output.md: _md,
    Output.id: _id,
}


def _cell(value: Any, formulas: bool) -> str:
    is_number = isinstance(value, (int, float)) or value is None
    return plain(value) if formulas or is_number else spreadsheet_safe(plain(value))


def _print_table(view: View) -> None:
    from agentnn.cli.tables import make_console, picture_of

    console = make_console()
    try:
        console.print(picture_of(view, console))
    except BrokenPipeError as error:
        raise ReaderGone from error
