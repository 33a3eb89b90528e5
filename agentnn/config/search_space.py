"""The keys that a search names, and the values that it would try: checked before the first trial, not by it."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agentnn.config.checking import expected, key_exists, told
from agentnn.config.overrides import split_key
from agentnn.config.schema import ALIASES, Config
from agentnn.config.schema_types import Section
from agentnn.config.search_conditions import ConditionCycle, holds, in_order
from agentnn.config.trainer_choice import trainer_of
from agentnn.config.trainers import TRAINERS
from agentnn.config.tree import KeyPath, Node, Problems, nearest_node, plain_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEARCHED = ("training", "model", "data", "backtest")
"""Sections whose keys a search may name, and in this order where it leaves the section out.

Beside them the section of the trainer, which is never left out: ``online.adwin_delta``.
"""

_SPACE: KeyPath = ("hpo", "param_space")


def target_of(name: str) -> KeyPath | None:
    """The key that a name in ``hpo.param_space`` stands for: ``learning_rate`` or ``training.learning_rate``.

    Returns:
        Its path; ``None`` where the schema has no such key.
    """
    path = split_key(name)
    if len(path) == 1:
        return next(((section, name) for section in _SEARCHED if name in _fields(section)), None)
    target: KeyPath = ALIASES.get(path, path)
    return target if len(target) > 1 and target[0] in (*_SEARCHED, *TRAINERS) and key_exists(target) else None


def check_search(root: Node, problems: Problems) -> None:
    """Add what is wrong with the keys and the values of a search."""
    space = nearest_node(root, _SPACE)
    if not isinstance(space.value, dict) or space is nearest_node(root, _SPACE[:1]):
        return
    from agentnn.config.search_methods import check_methods  # two dozen keys that a file without a search needs not

    check_methods(root, problems)
    names: dict[KeyPath, str] = {}
    trainer = trainer_of(root)
    for name, node in space.value.items():
        if problems.are_many:
            return
        target = target_of(name)
        if target is None:
            problems.say(node.place, f"unknown key{_meant(name, trainer)}", (*_SPACE, name))
            continue
        if target[0] in TRAINERS and target[0] != trainer:
            problems.say(node.place, f"belongs to trainer: {target[0]}", (*_SPACE, name))
            continue
        if names.setdefault(target, name) != name:
            problems.say(node.place, f"means the same as {names[target]}", (*_SPACE, name))
        for part, candidate in _candidates(node):
            value = plain_of(candidate)
            reason = _why_not(target, value)
            if reason:
                text = f"{told(value, candidate)} is no {'.'.join(map(str, target))}: {reason}"
                problems.say(candidate.place, text, (*_SPACE, name, part))
        _check_conditions(name, space, problems)
    _check_order(space, problems)


def _conditions_of(node: Node) -> dict[str, Node]:
    conditions = node.value.get("when") if isinstance(node.value, dict) else None
    return conditions.value if conditions is not None and isinstance(conditions.value, dict) else {}


def _check_conditions(name: str, space: Node, problems: Problems) -> None:
    for other, condition in _conditions_of(space.value[name]).items():
        path = (*_SPACE, name, "when", other)
        if other not in space.value or other == name:
            near = difflib.get_close_matches(other, space.value.keys() - {name}, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            problems.say(condition.place, f"expected another key of the search{meant}", path)
        elif not _may_hold(plain_of(condition), space.value[other]):
            problems.say(condition.place, f"expected a value that {other} can have", path)


def _may_hold(wanted: Any, other: Node) -> bool:
    """Whether a key can have a value, or one of these, that a condition names."""
    space = plain_of(other)
    choices = space.get("choices") if isinstance(space, dict) else space
    if isinstance(choices, list):
        return any(holds(wanted, value) for value in choices)
    low, high = (space.get("low"), space.get("high")) if isinstance(space, dict) else (None, None)
    if not _is_number(low) or not _is_number(high):
        return True  # what is wrong with it is said elsewhere
    return any(_is_number(one) and low <= one <= high for one in (wanted if isinstance(wanted, list) else [wanted]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_order(space: Node, problems: Problems) -> None:
    try:
        in_order({name: _conditions_of(node) for name, node in space.value.items()})
    except ConditionCycle as cycle:
        if len(cycle.names) > 2:  # a key that names itself is told already
            name = cycle.names[0]
            problems.say(space.value[name].place, f"its condition waits for itself: {cycle}", (*_SPACE, name, "when"))


def _candidates(node: Node) -> Iterator[tuple[str | int, Node]]:
    """What a search would try, as far as it is written down, and where."""
    if isinstance(node.value, list):
        yield from enumerate(node.value)
    elif isinstance(node.value, dict):
        choices = node.value.get("choices")
        if choices is not None and isinstance(choices.value, list):
            yield from enumerate(choices.value)
        yield from ((end, node.value[end]) for end in ("low", "high") if end in node.value)


def _why_not(target: KeyPath, value: Any) -> str:
    """Why a key can't have a value; nothing where it can, or where another key decides."""
    if len(target) != 2:
        return ""
    section, field = str(target[0]), str(target[1])
    try:
        _section(section).model_validate({field: value})
    except ValidationError as error:
        ours = [one for one in error.errors(include_url=False) if one["loc"][:1] == (field,)]
        return f"expected {expected(ours[0])}" if ours else ""
    return ""


def _meant(name: str, trainer: str | None) -> str:
    searched = _SEARCHED if trainer is None else (*_SEARCHED, trainer)
    known = {field: section for section in reversed(searched) for field in _fields(section)}
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
    return f" (did you mean {known[near[0]]}.{near[0]}?)" if near else ""


@cache
def _section(name: str) -> type[Section]:
    section = TRAINERS[name].section if name in TRAINERS else Config.model_fields[name].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    return section


def _fields(name: str) -> list[str]:
    return list(_section(name).model_fields)
