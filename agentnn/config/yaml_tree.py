"""YAML text as a tree of nodes with their lines, within bounds.

The tree is made from PyYAML's events, one by one and without recursion, so that nothing in a file can make it large:
neither aliases of aliases nor brackets in brackets. No tag makes an object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from agentnn.config.environment import OPENING
from agentnn.config.tree import MAX_DEPTH, MAX_NODES, KeyPath, Node, Place, Problems, list_node, mapping_node
from agentnn.config.yaml_values import Scalar, scalar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
_CORE = "tag:yaml.org,2002:"
_COLLECTIONS = {"map": yaml.MappingStartEvent, "seq": yaml.SequenceStartEvent}
_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),),
}  # fmt: skip
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "<<"


def read_yaml(text: str, source: str, problems: Problems, *, order: int = 0) -> Node | None:
    """Read one document.

    Args:
        text: The YAML.
        source: What to call it in a problem.
        problems: What is wrong is added here.
        order: The place of its problems among those of other sources.

    Returns:
        The root; ``None`` when the text is no YAML, is empty or breaks a bound, which is then among the problems.
    """
    builder = _Builder(source, order, problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _TooMuch as error:
        problems.say(error.place, error.text, error.path)
        return None
    except yaml.YAMLError as error:
        line = _line_of(error, text)
        problems.say(Place(source, line, order), f"is not YAML: {_reason(error)}{_advice(text, line)}")
        return None
    if builder.root is None:
        problems.say(Place(source, 1, order), "is empty: expected a mapping of sections")
    return builder.root


class _TooMuch(Exception):
    """A bound is broken; nothing more is read."""

    def __init__(self, place: Place, text: str, path: KeyPath = ()) -> None:
        super().__init__(text)
        self.place = place
        self.text = text
        self.path = path


class _Open:
    """A mapping or a list that has begun and not ended."""

    def __init__(self, place: Place, anchor: str | None, *, is_mapping: bool) -> None:
        self.place = place
        self.anchor = anchor
        self.is_mapping = is_mapping
        self.children: dict[str, Node] = {}
        self.items: list[Node] = []
        self.key: str | None = None
        self.key_place = place
        self.bases: list[Node] = []

    def part(self) -> str | int:
        """What is being read now: a key, or the position of an item."""
        return (self.key or "") if self.is_mapping else len(self.items)

    def node(self) -> Node:
        """What it was."""
        if not self.is_mapping:
            return list_node(self.items, self.place)
        for base in self.bases:
            for key, child in base.value.items():
                self.children.setdefault(key, child)
        return mapping_node(self.children, self.place)


class _Builder:
    def __init__(self, source: str, order: int, problems: Problems) -> None:
        self.root: Node | None = None
        self._source = source
        self._order = order
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0
        self._nodes = 0

    def take(self, event: Any) -> None:
        """One event of PyYAML."""
        place = Place(self._source, event.start_mark.line + 1, self._order)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _TooMuch(place, "a second document begins here: expected one")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event, place)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._put(self._aliased(event.anchor, place), place)
            case yaml.ScalarEvent():
                self._scalar(event, place)

    def _path(self) -> KeyPath:
        return tuple(one.part() for one in self._open)

    def _begin(self, event: Any, place: Place) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if len(self._open) >= MAX_DEPTH:
            raise _TooMuch(place, f"is nested more than {MAX_DEPTH} deep", self._path()[:3])
        if self._expects_key():
            raise _TooMuch(place, "a key must be text, not a mapping or a list", self._path()[:-1])
        if event.tag is not None and _COLLECTIONS.get(event.tag.removeprefix(_CORE)) is not type(event):
            self._problems.say(place, _foreign(event.tag), self._path())
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open(place, event.anchor, is_mapping=is_mapping))

    def _end(self) -> None:
        done = self._open.pop()
        node = done.node()
        if done.anchor:
            self._anchors[done.anchor] = node
        self._put(node, done.place)

    def _scalar(self, event: Any, place: Place) -> None:
        if self._expects_key():
            self._begin_entry(event.value, place)
            if event.anchor:
                self._anchors[event.anchor] = Node(event.value, place)
            return
        node = Node(self._value_of(event, place), place, is_plain=event.tag is None and event.implicit[0])
        if event.anchor:
            self._anchors[event.anchor] = node
        self._put(node, place)

    def _begin_entry(self, key: str, place: Place) -> None:
        around = self._open[-1]
        around.key, around.key_place = key, place
        if not key:
            self._problems.say(place, "a key is empty", self._path()[:-1])
        elif key in around.children:
            first = around.children[key].place.line
            self._problems.say(place, f"is given twice: first in line {first}", self._path())

    def _put(self, node: Node, place: Place) -> None:
        """Put a value where it belongs."""
        self._nodes += 1
        if node.size > MAX_NODES or self._nodes > MAX_NODES:
            raise _TooMuch(place, f"holds more than {MAX_NODES:,} values", self._path()[:3])
        if len(self._open) + node.depth > MAX_DEPTH + 1:
            raise _TooMuch(place, f"is nested more than {MAX_DEPTH} deep", self._path()[:3])
        if not self._open:
            self.root = node
            return
        around = self._open[-1]
        if not around.is_mapping:
            around.items.append(node._replace(place=place))
            return
        if around.key is None:  # an alias as a key
            self._begin_entry(str(node.value), place)
            return
        if around.key == _MERGE and node.place.line:
            self._merge(node, around)
        else:
            around.children.setdefault(around.key, node._replace(place=around.key_place))
        around.key = None

    def _merge(self, node: Node, around: _Open) -> None:
        bases = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(base.value, dict) for base in bases):
            self._problems.say(around.key_place, "expected an alias of a mapping, such as *base", self._path())
            return
        around.bases += bases

    def _expects_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_mapping and self._open[-1].key is None

    def _aliased(self, anchor: str | None, place: Place) -> Node:
        if anchor is None or anchor not in self._anchors:
            raise _TooMuch(place, f"there is no anchor &{anchor} above", self._path())
        node = self._anchors[anchor]
        if node is None:
            raise _TooMuch(place, f"*{anchor} stands inside of &{anchor} itself", self._path())
        return node

    def _value_of(self, event: Any, place: Place) -> Scalar:
        text, tag = event.value, event.tag
        if tag in (None, "!") and not (tag is None and event.implicit[0]):
            return str(text)
        kind = None if tag is None else tag.removeprefix(_CORE)
        if kind is not None and (kind == tag or kind not in _SCALARS):
            self._problems.say(place, _foreign(tag), self._path())
            return None
        if kind == "str":
            return str(text)
        try:
            value = scalar_of(text)
        except ValueError as error:
            self._problems.say(place, str(error), self._path())
            return None
        if kind is None:
            return value
        if not isinstance(value, _SCALARS[kind]) or (isinstance(value, bool) and kind != "bool"):
            self._problems.say(place, f"is not a !!{kind}", self._path())
        return float(value) if kind == "float" and isinstance(value, int) else value


def _foreign(tag: str) -> str:
    short = f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag
    return f"the tag {short} is not allowed: a configuration holds plain values only"


def _advice(text: str, line: int) -> str:
    lines = text.splitlines()
    if line <= len(lines) and OPENING in lines[line - 1]:
        return f" (between braces and brackets, {OPENING}…}} stands in quotes)"
    return ""


def _line_of(error: yaml.YAMLError, text: str) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    position = getattr(error, "position", None)
    return text.count("\n", 0, position) + 1 if isinstance(position, int) else 1


def _reason(error: yaml.YAMLError) -> str:
    parts: Iterator[Any] = (getattr(error, name, None) for name in ("context", "problem", "reason"))
    return ", ".join(str(part) for part in parts if part) or " ".join(str(error).split())
