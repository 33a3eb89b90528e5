"""A configuration and its schema, for a person and for a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import visible
from agentnn.config.history import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from agentnn.config.history import ConfigRecord


def config_view(record: ConfigRecord) -> View:
    """A resolved configuration: a line a key, the file that gives it again for a person, the record as JSON."""
    rows = [_row(("key", "value"), (key, value)) for key, value in leaves(record.values)]
    return View(rows, lambda: Table(("key", "value"), rows), document=record.to_dict, picture=lambda _: _text(record))


def schema_view(schema: dict[str, Any]) -> View:
    """A schema: as itself in JSON, else a line a key."""
    rows = [_row(_COLUMNS, cells) for cells in _keys(schema)]
    return View(rows, lambda: Table(_COLUMNS, rows), document=lambda: schema)


def _row(columns: Sequence[str], values: Sequence[Any]) -> Row:
    """A line whose lists and mappings are JSON in a cell, and themselves in a record."""
    from json import dumps

    cells = [dumps(one, ensure_ascii=False) if isinstance(one, (list, dict)) else one for one in values]
    return Row(cells, str(values[0]), lambda: dict(zip(columns, values, strict=True)))


_COLUMNS = ("key", "default", "description")


def _keys(schema: dict[str, Any], prefix: str = "", definition: str = "") -> Iterator[tuple[str, Any, str]]:
    section = schema["$defs"][definition] if definition else schema
    for key, value in section["properties"].items():
        inside = next((one["$ref"].rpartition("/")[2] for one in (value, *value.get("anyOf", ())) if "$ref" in one), "")
        if inside and inside != "FromEnvironment":
            yield from _keys(schema, f"{prefix}{key}.", inside)
        else:
            yield (f"{prefix}{key}", value.get("default"), value.get("description", ""))


def _text(record: ConfigRecord) -> RenderableType:
    from rich.text import Text

    return Text(visible(record.to_yaml().rstrip("\n"), keep="\n"))
