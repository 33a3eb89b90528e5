"""TOML documents: any nested mapping of values in, plain readable text out, and the same mapping back.

The format is TOML 1.0, https://toml.io/en/v1.0.0. It has no null: what is ``None`` is left out and its place noted at
the top of the document, so that reading gives it back::

    _none = ["model.dropout", "layers.2"]
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError, UsageError
from agentnn.stores.toml.text.comments import has_comments, rewrite
from agentnn.stores.toml.text.reading import read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NONE = "_none"
"""Holds the places of what is ``None``: dotted keys, in which an item of a list is a number."""

_INDEX = re.compile("[0-9]{1,9}")
_PART = re.compile(r'([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*")(?:\.(?=.)|\Z)')


def parse(data: bytes, where: Path | str) -> dict[str, Any]:
    """The mapping that a TOML document holds; ``None`` where one was noted.

    Args:
        data: The bytes of the file.
        where: The file, for the message.

    Raises:
        CorruptDataError: It is no TOML.
    """
    try:
        document = read_toml(data)
    except ValueError as error:
        raise CorruptDataError(f"{where} is not TOML: {error}", hint="mend the file, or move it away") from error
    nones = document.get(NONE)
    if isinstance(nones, list) and all(isinstance(place, str) for place in nones):
        del document[NONE]
        for place in nones:
            _put_none(document, place)
    return document


def render(mapping: Mapping[Any, Any], before: bytes = b"") -> bytes:
    """The text of a document that holds a mapping, in the mapping's order, but that what is no table comes first.

    Args:
        mapping: Nested mappings, lists, and values of Python, numpy, pandas or PyTorch; see
            :func:`~agentnn.stores.toml.text.values.plain_document` for what becomes of them.
        before: The document as it was; where it has comments they are kept, and its order and blank lines.

    Raises:
        UsageError: Something in it can't be written.
    """
    import tomli_w

    from agentnn.stores.toml.text.style import styled
    from agentnn.stores.toml.text.values import plain_document

    table, nones, has_crlf = plain_document(mapping)
    _refuse_ours(table)
    if nones:
        table[NONE] = nones
    kept = rewrite(before, table) if has_comments(before) else None
    # In a text of several lines tomli_w would write line ends of Windows as those of Unix.
    return kept or tomli_w.dumps(styled(table), multiline_strings=not has_crlf).encode("utf-8")


def plain(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """What reading a document gives back that a mapping was written to.

    Raises:
        UsageError: Something in it can't be written.
    """
    from agentnn.stores.toml.text.values import plain_document

    table, nones, _ = plain_document(mapping)
    _refuse_ours(table)
    for place in nones:
        _put_none(table, place)
    return table


def _refuse_ours(table: Mapping[str, Any]) -> None:
    if NONE in table:
        raise UsageError(f"the key {NONE} is one of ours: it notes what is None", hint="choose another name")


def _put_none(document: dict[str, Any], place: str) -> None:
    """Put ``None`` in its place; a document that was changed since may not have the place any more."""
    inside: Any = document
    parts = _parts(place)
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if isinstance(inside, dict):
            if is_last:
                inside.setdefault(part, None)
            inside = inside.get(part)
        elif isinstance(inside, list) and _INDEX.fullmatch(part):
            if is_last and int(part) <= len(inside):
                inside.insert(int(part), None)
            inside = inside[int(part)] if int(part) < len(inside) else None
        else:
            return


def _parts(place: str) -> list[str]:
    """The parts of a dotted key; none if it is not one."""
    parts, end = [], 0
    while end < len(place):
        found = _PART.match(place, end)
        if found is None:
            return []
        try:
            parts.append(json.loads(found[1]) if found[1].startswith('"') else found[1])
        except ValueError:
            return []
        end = found.end()
    return parts
