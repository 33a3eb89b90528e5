"""A configuration and its schema, for a person and for a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import visible
from agentnn.config.history import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from agentnn.config.history import ConfigRecord


def config_view(record: ConfigRecord) -> View:
    """A resolved configuration: a line a key, the file that gives it again for a person, the record as JSON."""
    from json import dumps

    def cell(value: Any) -> Any:
        return dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value

    rows = [
        Row((key, cell(value)), key, lambda key=key, value=value: {"key": key, "value": value})  # type: ignore[misc]
        for key, value in leaves(record.values)
    ]
    return View(rows, lambda: Table(("key", "value"), rows), document=record.to_dict, picture=lambda _: _text(record))


def schema_view(schema: dict[str, Any]) -> View:
    """A schema: as itself in JSON, else a line a key."""
    rows = [
        Row(cells, cells[0], lambda cells=cells: dict(zip(_COLUMNS, cells, strict=True))) for cells in _keys(schema)
    ]  # type: ignore[misc]
    return View(rows, lambda: Table(_COLUMNS, rows), document=lambda: schema)


_COLUMNS = ("key", "default", "description")


def _keys(schema: dict[str, Any], prefix: str = "", definition: str = "") -> Iterator[tuple[str, Any, str]]:
    from json import dumps

    section = schema["$defs"][definition] if definition else schema
    for key, value in section["properties"].items():
        inside = next((one["$ref"].rpartition("/")[2] for one in (value, *value.get("anyOf", ())) if "$ref" in one), "")
        if inside and inside != "FromEnvironment":
            yield from _keys(schema, f"{prefix}{key}.", inside)
        else:
            default = value.get("default", "")
            shown = default if isinstance(default, str) else dumps(default)
            yield (f"{prefix}{key}", shown, value.get("description", ""))


def _text(record: ConfigRecord) -> RenderableType:
    from rich.text import Text

    return Text(visible(record.to_yaml().rstrip("\n"), keep="\n"))
