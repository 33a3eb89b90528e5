"""TOML as people write it: short arrays on one line, and date-times as RFC 3339 has them, ``2024-01-02T03:04:05.678Z``.

``tomli_w`` gives each item of an array a line of its own, and writes a date-time as Python prints it.
"""

from __future__ import annotations

import json
from datetime import date, datetime, time
from typing import Any, Self

_WIDTH = 100
_MOST_ITEMS = 50


class _Written(int):
    """A number to ``tomli_w``, which writes of a number what ``str`` says."""

    text: str

    @classmethod
    def as_text(cls, text: str) -> Self:
        written = cls()
        written.text = text
        return written

    def __str__(self) -> str:
        return self.text


def styled(table: dict[str, Any]) -> dict[str, Any]:
    """A document for ``tomli_w``, and for nothing else."""
    return {key: _styled(value) if isinstance(value, dict | list | datetime) else value for key, value in table.items()}


def _styled(value: Any) -> Any:
    if isinstance(value, dict):
        return styled(value)
    if isinstance(value, datetime):
        return _Written.as_text(_moment(value))
    if not isinstance(value, list):
        return value
    text = _array(value)
    if text is None or len(text) > _WIDTH:
        return [_styled(one) for one in value]
    return _Written.as_text(text)


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
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, int | float | date | time):
        return str(value)
    if isinstance(value, str) and value.isprintable():
        return json.dumps(value, ensure_ascii=False)
    return None


def _moment(value: datetime) -> str:
    whole = value.microsecond % 1000
    text = value.isoformat(timespec="milliseconds" if value.microsecond and not whole else "auto")
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text
