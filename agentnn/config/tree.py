"""A configuration before it is checked: values that remember where they were written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from agentnn.errors import ConfigError

MAX_DEPTH = 32
MAX_NODES = 50_000
"""How many values a configuration may hold once its aliases are written out."""

KeyPath = tuple[str | int, ...]
_LONGEST_SHOWN = 60
_LONGEST_LINE = 500
_MOST_PROBLEMS = 100
_BARE_KEY = re.compile(r"[^\s.\"'\[\]=]+")


class Place(NamedTuple):
    """Where something was written: a line of a file, an override, a dict.

    Attributes:
        source: The file's name, or the override itself.
        line: From 1; 0 where there are no lines.
        order: Sorts sources as they were read.
    """

    source: str
    line: int = 0
    order: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Node(NamedTuple):
    """A value and its place.

    Attributes:
        value: A scalar, a list of nodes, or a dict of nodes.
        place: Where its key is; for an item of a list where it is itself.
        is_plain: It is text without quotes, of which a number may be made.
        size: How many values it holds, itself included.
        depth: How deep these are nested.
        variables: The environment variables that it was made of.
        written: Its text before they were put in.
    """

    value: Any
    place: Place
    is_plain: bool = False
    size: int = 1
    depth: int = 1
    variables: tuple[str, ...] = ()
    written: str = ""


class Problem(NamedTuple):
    """One thing that is wrong."""

    place: Place
    key: KeyPath
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.place), _cut(dotted(self.key)), _cut(self.text))))


class Problems:
    """Everything that is wrong with a configuration, collected before anybody is told."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._known: set[tuple[Place, KeyPath]] = set()
        self._unsaid = 0

    def say(self, place: Place, text: str, key: KeyPath = ()) -> None:
        """Add one, unless something is known to be wrong with this value already, from which the rest follows."""
        if (place, key) in self._known:
            return
        if self.are_many:
            self.leave_out(1)
            return
        self._known.add((place, key))
        self.found.append(Problem(place, key, text))

    @property
    def are_many(self) -> bool:
        """Whether nobody would read any more of them."""
        return len(self.found) >= _MOST_PROBLEMS

    def leave_out(self, number: int) -> None:
        """Only count so many more."""
        self._unsaid += number

    def raise_any(self, what: str, *, hint: str = "agentnn experiment schema shows every key") -> None:
        """Raise them all at once, where there is any.

        Raises:
            ConfigError: Its ``problems`` are one line each, by place.
        """
        if not self.found:
            return
        ordered = sorted(self.found, key=lambda one: (one.place.order, one.place.source, one.place.line))
        lines = list(dict.fromkeys(str(one) for one in ordered))
        count = len(lines) + self._unsaid
        if self._unsaid:
            lines.append(f"… and {self._unsaid} more")
        raise ConfigError(
            f"{what} has {'1 problem' if count == 1 else f'{count} problems'}", problems=tuple(lines), hint=hint
        )


def dotted(path: Sequence[str | int]) -> str:
    """A path as it is written in an override: ``model.hidden_layers[0]``; an odd key stands in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
    return text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def mapping_node(children: dict[str, Node], place: Place) -> Node:
    """A node that holds others by name."""
    return _holding(children, list(children.values()), place)


def list_node(items: list[Node], place: Place) -> Node:
    """A node that holds others in order."""
    return _holding(items, items, place)


def _holding(value: Any, inside: list[Node], place: Place) -> Node:
    size, depth = 1, 0
    for one in inside:
        size += one.size
        depth = max(depth, one.depth)
    return Node(value, place, size=size, depth=depth + 1)


def node_of(value: Any, place: Place, problems: Problems, path: KeyPath = ()) -> Node:
    """A value of Python as a node; what a configuration can't hold is a problem.

    Numbers of numpy become Python's own, tuples lists, and paths text.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if len(path) >= MAX_DEPTH:
        problems.say(place, f"is nested more than {MAX_DEPTH} deep", path[:3])
        return Node(None, place)
    if isinstance(value, Mapping):
        return mapping_node(
            {str(key): node_of(one, place, problems, (*path, str(key))) for key, one in value.items()}, place
        )
    if isinstance(value, (list, tuple)):
        items = [node_of(one, place, problems, (*path, index)) for index, one in enumerate(value)]
        return list_node(items, place)
    if isinstance(value, PurePath):
        value = str(value)
    if value is not None and not isinstance(value, (str, bool, int, float)):
        problems.say(place, f"a configuration can't hold a {type(value).__name__}", path)
    elif isinstance(value, float) and not math.isfinite(value):
        problems.say(place, f"a configuration can't hold {value}", path)
    elif isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        problems.say(place, "the text is not valid Unicode", path)
    return Node(value, place)


def plain_of(node: Node) -> Any:
    """The value without its places."""
    if isinstance(node.value, dict):
        return {key: plain_of(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain_of(child) for child in node.value]
    return node.value


def merged(base: Node, over: Node) -> Node:
    """Two nodes as one: mappings are merged key by key, and of everything else the second one counts."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    children = dict(base.value)
    for key, child in over.value.items():
        children[key] = merged(children[key], child) if key in children else child
    return mapping_node(children, over.place)


def nearest_node(root: Node, path: Sequence[str | int]) -> Node:
    """The node at a path, or the last one on the way that is there."""
    node = root
    for part in path:
        try:
            node = node.value[part]
        except (KeyError, IndexError, TypeError):
            break
        if not isinstance(node, Node):
            break
    return node


def shown(value: Any) -> str:
    """A value in a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str():
            return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…")
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
