"""Rewriting a TOML file that somebody has written comments into: they stay, as do its order and its blank lines."""

from __future__ import annotations

import re
from datetime import date, time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRING_OR_COMMENT = re.compile(
    rb'"""(?:[^\\]|\\.)*?"{3,5}' rb"|'''.*?'{3,5}" rb'|"(?:[^"\\\n]|\\.)*"' rb"|'[^'\n]*'" rb"|(#)", re.DOTALL
)


def has_comments(data: bytes) -> bool:
    """Whether a document has a comment."""
    return b"#" in data and any(found[1] for found in _STRING_OR_COMMENT.finditer(data))


def rewrite(before: bytes, table: Mapping[str, Any]) -> bytes | None:
    """A document with other values in it.

    Args:
        before: The document with its comments.
        table: What it should hold now.

    Returns:
        The document; ``None`` when it can't be written so that it holds just that.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from agentnn.stores.toml.text.reading import read_toml

    try:
        document = tomlkit.parse(before)
        _change(document, table)
        after = tomlkit.dumps(document).encode("utf-8")
        return after if _same(read_toml(after), table) else None
    except (TOMLKitError, ValueError, TypeError, LookupError, AttributeError):  # tomlkit trips over rare documents
        return None


def _change(document: Any, table: Mapping[str, Any]) -> None:
    for key in [one for one in document if one not in table]:
        del document[key]
    for key, value in table.items():
        if key not in document:
            document[key] = value
            continue
        there = document[key]
        if isinstance(value, dict) and isinstance(there, dict):
            _change(there, value)
        elif _are_tables(value) and _are_tables(there) and len(value) == len(there):
            for old, new in zip(there, value, strict=True):
                _change(old, new)
        elif not _same(there.unwrap() if hasattr(there, "unwrap") else there, value):  # a truth value is Python's own
            document[key] = value


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, and of the same kind: NaN is NaN, and a time is one of the same zone."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one.isoformat() == other.isoformat() if isinstance(one, date | time) else one == other)
