"""Arrays on one line, as people write them: ``tomli_w`` gives each item a line of its own."""

from __future__ import annotations

import json
from datetime import date, time
from typing import Any

_WIDTH = 100
_MOST_ITEMS = 50


class _OneLine(int):
    """A number, to ``tomli_w``, which writes of a number what ``str`` says."""

    text: str

    def __str__(self) -> str:
        return self.text


def short_arrays(table: dict[str, Any]) -> dict[str, Any]:
    """A document for ``tomli_w`` in which arrays that are short enough are written on one line."""
    return {key: _shortened(value) if isinstance(value, dict | list) else value for key, value in table.items()}


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return short_arrays(value)
    if not isinstance(value, list):
        return value
    text = _array(value)
    if text is None or len(text) > _WIDTH:
        return [_shortened(one) for one in value]
    line = _OneLine()
    line.text = text
    return line


def _array(items: list[Any]) -> str | None:
    """An array of plain values in one line; ``None`` where that is not to be."""
    if len(items) > _MOST_ITEMS:
        return None
    texts = []
    for item in items:
        text = _array(item) if isinstance(item, list) else _literal(item)
        if text is None:
            return None
        texts.append(text)
    return f"[{', '.join(texts)}]"


def _literal(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | date | time):
        return str(value)
    if isinstance(value, str) and value.isprintable():
        return json.dumps(value, ensure_ascii=False)
    return None
