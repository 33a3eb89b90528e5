"""Overrides of single values: ``--training.epochs 5``, ``--training.epochs=5``, ``--model.hidden_layers [64,32]``.

A value is what it would be in YAML without quotes: a number, true, false, null or text; one that begins with a bracket
or a quote is a list, a mapping or quoted text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.config.secrecy import MASK, sounds_secret
from agentnn.config.tree import Node, Place, Problems, dotted, mapping_node, node_of, shown
from agentnn.config.yaml_tree import read_yaml
from agentnn.config.yaml_values import scalar_of
from agentnn.errors import UsageError
from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

Overrides = Mapping[str, Any] | list[str] | tuple[str, ...]
"""Values by dotted key or nested, or arguments as they stand on a command line."""

_SEGMENTS = re.compile(r'(?:"[^"]+"|[^."\s=]+)(?:\.(?:"[^"]+"|[^."\s=]+))*')
_SEGMENT = re.compile(r'"([^"]+)"|([^."]+)')
_NEGATIVE_NUMBER = re.compile(r"-\.?[0-9].*")
_ORDER = 1_000_000
"""Problems of overrides are told after those of files."""


class Override(NamedTuple):
    """One value that takes the place of what the file says.

    Attributes:
        key: The path of the key.
        value: What it becomes: text as it was written, or a value of Python.
        written: How it was given, without what must not be shown.
        is_text: Whether ``value`` is still to be read as a command line means it.
    """

    key: tuple[str, ...]
    value: Any
    written: str
    is_text: bool = False

    def node(self, problems: Problems, order: int = 0) -> Node:
        """The override as a tree of its own, to be merged over a file's."""
        place = Place(self.written, 0, _ORDER + order)
        node = _node_of_text(self, place, problems) if self.is_text else node_of(self.value, place, problems, self.key)
        for part in reversed(self.key):
            node = mapping_node({part: node}, place)
        return node


def parse_overrides(
    arguments: Sequence[str], sections: Iterable[str] = (), values: Collection[str] = ()
) -> list[Override]:
    """Overrides from what a command line leaves over.

    Args:
        arguments: ``["--model.learning_rate", "0.005", "--training.epochs=5"]``.
        sections: The names of the sections, to guess what an option without one was to be.
        values: Keys that are in no section.

    Raises:
        UsageError: An argument is no override: it has one dash, no dot or no value.
    """
    found, words = [], iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise _misplaced(word)
        key = split_key(name[2:])
        if len(key) < 2 and name[2:] not in values:
            raise UsageError(f"unknown option {name}", hint=_guess(name[2:], (*sections, *values), values))
        if not equals:
            value = _next_value(name, words)
        found.append(_override(key, value, f"--{dotted(key)}{equals or ' '}", is_text=True))
    return found


def overrides_of(given: Overrides | None, sections: Iterable[str] = (), values: Collection[str] = ()) -> list[Override]:
    """Overrides however they were given; see :func:`parse_overrides`.

    Raises:
        UsageError: An argument or a key is no override.
    """
    if given is None:
        return []
    if not isinstance(given, Mapping):
        if isinstance(given, str):
            raise UsageError(f"overrides are a list of arguments or a dict, not {given!r}", hint="overrides=[…]")
        return parse_overrides(list(given), sections, values)
    found = []
    for name, value in given.items():
        key = split_key(str(name))
        if not key:
            raise UsageError(f"{name!r} is not a key", hint="for instance 'training.learning_rate'")
        found.append(_override(key, value, f"override {dotted(key)}=", is_text=False))
    return found


def split_key(text: str) -> tuple[str, ...]:
    """A dotted key as its parts; a part in double quotes may hold dots; nothing where it is no key."""
    if not _SEGMENTS.fullmatch(text):
        return ()
    return tuple(quoted or bare for quoted, bare in _SEGMENT.findall(text))


def _override(key: tuple[str, ...], value: Any, written: str, *, is_text: bool) -> Override:
    secret = any(sounds_secret(part) for part in key)
    told = MASK if secret else redact(value if is_text else shown(value))
    return Override(key, value, f"{written}{told}", is_text)


def _node_of_text(override: Override, place: Place, problems: Problems) -> Node:
    text = override.value
    if any("\ud800" <= char <= "\udfff" for char in text):
        problems.say(place, "the text is not valid Unicode", override.key)
        return Node(None, place)
    if text.startswith(("[", "{", '"', "'")):
        inner = Problems()
        node = read_yaml(text, place.source, inner)
        for one in inner.found:
            problems.say(place, one.text, (*override.key, *one.key))
        return _placed(node, place) if node is not None else Node(None, place)
    try:
        return Node(scalar_of(text), place, is_plain=True)
    except ValueError as error:
        problems.say(place, str(error), override.key)
        return Node(None, place)


def _placed(node: Node, place: Place) -> Node:
    """A tree that has no lines."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _placed(one, place) for key, one in value.items()}
    elif isinstance(value, list):
        value = [_placed(one, place) for one in value]
    return node._replace(value=value, place=place)


def _next_value(name: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None or (value.startswith("--") and value != "--"):
        raise UsageError(f"{name} lacks a value", hint=f"{name} VALUE, or {name}=VALUE; true and false are values too")
    if value.startswith("-") and len(value) > 1 and not _NEGATIVE_NUMBER.fullmatch(value):
        told = MASK if any(sounds_secret(part) for part in split_key(name[2:])) else value
        raise UsageError(f"{name} is followed by {told}, which looks like an option", hint=f"{name}={told}")
    return value


def _misplaced(word: str) -> UsageError:
    if word.startswith("-") and len(word) > 1:
        return UsageError(f"unknown option {word}", hint="an override has two dashes and a dot: --training.epochs 5")
    return UsageError(f"unexpected argument {word!r}", hint="an override is written --training.epochs 5")


def _guess(name: str, known: Iterable[str], values: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near and near[0] in values:
        return f"did you mean --{near[0]}?"
    example = f"--{near[0]}.KEY" if near else f"--training.{name}"
    return f"an override names a section and a key: {example} VALUE"
