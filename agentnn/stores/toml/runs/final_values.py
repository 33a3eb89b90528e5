"""Merging what is logged into the document of final values, where each metric has one place.

A metric's name is its keys joined with dots: ``{"val": {"loss": 0.5}}`` and ``{"val.loss": 0.5}`` are the same metric,
which stays where it was first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Leaf(NamedTuple):
    """A value that is logged: the keys that lead to it, and its name."""

    path: tuple[str, ...]
    name: str
    value: Any


def leaves_of(metrics: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """The values in nested mappings; an empty one is a value."""
    for key, value in metrics.items():
        inside = (*path, key)
        if isinstance(value, dict) and value:
            yield from leaves_of(value, inside)
        else:
            yield Leaf(inside, ".".join(inside), value)


def put(document: dict[str, Any], leaf: Leaf) -> None:
    """Put a value into the place of its metric, or else into that which its keys say.

    Nothing else goes for it: where a number stands in the way of a table, or a table in that of a number, the names of
    what is nested are written in one key, with dots.
    """
    key = leaf.path[0]
    if len(leaf.path) == 1 and "." not in key:
        table, last = document, key
    else:
        table, last = _place_of(document, leaf.name) or _new_place(document, leaf)
    there = table.get(last)
    if isinstance(there, dict) and there:
        if leaf.value == {}:
            return
        _flatten(table, last)
    table[last] = leaf.value


def _place_of(document: dict[str, Any], name: str) -> tuple[dict[str, Any], str] | None:
    if name in document:
        return document, name
    for key, value in document.items():
        if isinstance(value, dict) and name.startswith(f"{key}."):
            found = _place_of(value, name[len(key) + 1 :])
            if found is not None:
                return found
    return None


def _new_place(document: dict[str, Any], leaf: Leaf) -> tuple[dict[str, Any], str]:
    table = document
    for key in leaf.path[:-1]:
        inside = table.setdefault(key, {})
        if not isinstance(inside, dict):
            return document, leaf.name
        table = inside
    return table, leaf.path[-1]


def _flatten(table: dict[str, Any], key: str) -> None:
    inside = table.pop(key)
    for leaf in list(leaves_of(inside, (key,))):
        table[leaf.name] = leaf.value
