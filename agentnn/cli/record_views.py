"""Records of any kind as rows and as one record: the columns, and what a cell shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.amounts import age, duration
from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short
from agentnn.errors import UsageError
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console, RenderableType

_LEDGER_TAGS = ("agentnn.promotion.", "agentnn.claim.")
"""Of a registered model; ``model history`` shows what they mean."""

_TIMES = ("start_time", "end_time", "creation_time", "last_update_time", "last_updated_time", "timestamp")
SHORT_ID = 8
"""How much of a run's id a person sees."""


def listed_view(
    records: Iterable[Any],
    identify: Callable[[Any], str],
    chosen: Sequence[str] | None,
    default: Callable[[Iterable[Any]], Sequence[str]],
    *,
    essential: int = 2,
    keep: Callable[[Iterable[Any]], Iterable[Any]] = list,
) -> View:
    """Records as rows; a stream of them stays a stream unless the default columns depend on all.

    Args:
        records: The records.
        identify: What ``-o id`` prints of one.
        chosen: The columns, where ``--columns`` says them.
        default: The columns otherwise, of all records.
        essential: So many leading columns are never dropped for want of width.
        keep: Where the records wait until the columns are known.
    """

    def table() -> Table:
        if chosen is not None:
            return Table(chosen, (row_of(one, chosen, identify(one)) for one in records), essential)
        listed = keep(records)
        columns = default(listed)
        return Table(columns, (row_of(one, columns, identify(one)) for one in listed), essential)

    return View((Row((), identify(one), one.to_dict) for one in records), table)


def single_view(columns: Sequence[str], row: Row, pairs: Callable[[], list[tuple[str, Any]]] | None = None) -> View:
    """One record, which a person sees as names and values: those of the row, unless ``pairs`` makes others."""

    def picture(_: Console) -> RenderableType:
        from agentnn.cli.tables import details

        cells = row.as_shown() if row.shown else row.cells
        shown = list(zip(columns, cells, strict=True)) if pairs is None else pairs()
        return details([(name, value) for name, value in shown if value not in (None, "", [], {})])

    return View([row], lambda: Table(columns, [row]), single=True, picture=picture)


def pairs_of(record: Any, fields: dict[str, Any], columns: Sequence[str]) -> list[tuple[str, Any]]:
    """One record as names and values for a person: its columns, then its tags."""

    def shown(column: str) -> Any:
        value = fields[column]
        return f"{value} ({age(getattr(record, column))})" if column in _TIMES and value else value

    told = {key: value for key, value in record.tags.items() if not key.startswith(_LEDGER_TAGS)}
    tags = [(f"tags.{key}", value) for key, value in sorted(told.items())]
    return [*((column, shown(column)) for column in columns), *tags]


def chosen_columns(text: str | None, known: Sequence[str], mappings: Sequence[str]) -> list[str] | None:
    """The columns that ``--columns`` names; ``None`` when it was not given.

    Args:
        text: Names, with commas between them.
        known: The fields of the record.
        mappings: The fields whose keys can be named, as in ``metrics.loss``.

    Raises:
        UsageError: A column is none of these.
    """
    if text is None:
        return None
    columns = [one.strip() for one in text.split(",") if one.strip()]
    for column in columns:
        kind, dot, key = column.partition(".")
        if column in known or column in mappings or (kind in mappings and key):
            continue
        near = nearest(column, known)
        hint = f"did you mean {', '.join(near)}?" if near else f"one of {', '.join((*known, *mappings))}"
        if "metrics" in mappings and not dot:
            hint += f" (a metric is written metrics.{column})"
        raise UsageError(f"unknown column {column!r}", hint=hint)
    if not columns:
        raise UsageError("--columns names no column", hint=f"for instance {','.join(known[:3])}")
    return columns


def metric_columns(records: Iterable[Any]) -> list[str]:
    """The columns of all metrics that some record has."""
    return sorted({f"metrics.{key}" for one in records for key in one.metrics})


def row_of(record: Any, columns: Sequence[str], identifier: str) -> Row:
    """A record as a row: what a script gets, what a person sees, and the whole record."""
    fields = record.to_dict()
    cells = [_value(record, fields, column) for column in columns]

    def shown() -> list[str]:
        return [_shown(record, column, cell) for column, cell in zip(columns, cells, strict=True)]

    return Row(cells, identifier, lambda: fields, shown)


def _value(record: Any, fields: dict[str, Any], column: str) -> Any:
    kind, dot, key = column.partition(".")
    if not dot:
        return fields.get(column)
    if kind == "best":
        return fields.get("best", {}).get(key)
    return getattr(record, kind, {}).get(key)  # not from the fields, where NaN is None


def _shown(record: Any, column: str, cell: Any) -> str:
    if column in _TIMES:
        return age(getattr(record, column))
    if column == "duration_s":
        return duration(cell)
    if column == "run_id" and isinstance(cell, str):
        return cell[:SHORT_ID]
    if isinstance(cell, dict):
        return short(", ".join(f"{key}→{value}" for key, value in cell.items()))
    return short(cell)
