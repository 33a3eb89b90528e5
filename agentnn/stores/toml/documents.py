"""TOML documents: any nested mapping of values in, plain readable text out, and the same mapping back.

TOML (https://toml.io/en/v1.0.0) has no null. What is ``None`` is left out and its place noted, so that reading the
document gives it back.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError
from agentnn.values.plain import json_value

if TYPE_CHECKING:
    from pathlib import Path

NONE = "_none"
"""Holds the places of what is ``None``."""


def parse(data: bytes, where: Path | str) -> dict[str, Any]:
    """The mapping that a TOML document holds; ``None`` where one was noted.

    Args:
        data: The bytes of the file.
        where: The file, for the message.

    Raises:
        CorruptDataError: It is no TOML.
    """
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CorruptDataError(f"{where} is not TOML: {error}", hint="mend the file, or move it away") from error
    for place in document.pop(NONE, []):
        _put(document, place, None)
    return document


def render(mapping: Mapping[str, Any], before: bytes = b"") -> bytes:
    """The text of a document that holds a mapping, in the mapping's order.

    Args:
        mapping: Nested mappings, lists, and values of Python, numpy, pandas or PyTorch.
        before: The document as it was; its comments are kept.

    Raises:
        UsageError: Something in it can't be written: a key that is no text, a text that is no valid Unicode.
    """
    import tomli_w

    places: list[list[str]] = []
    plain = _without_none(mapping, (), places)
    if places:
        plain[NONE] = places
    return tomli_w.dumps(plain).encode("utf-8")


def _without_none(mapping: Mapping[str, Any], place: tuple[str, ...], places: list[list[str]]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in mapping.items():
        if value is None:
            places.append([*place, key])
        elif isinstance(value, Mapping):
            plain[key] = _without_none(value, (*place, key), places)
        else:
            plain[key] = value if isinstance(value, float | int | str | bool) else json_value(value)
    return plain


def _put(document: dict[str, Any], place: list[str], value: Any) -> None:
    for key in place[:-1]:
        document = document.setdefault(key, {})
    document[place[-1]] = value
