"""Conditions of a search: ``when`` another key has a certain value."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from agentnn.config.schema_types import folded

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class ConditionCycle(ValueError):
    """Keys that wait for each other.

    Attributes:
        names: The keys, each of which depends on the next one; the last one is the first one again.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(" → ".join(names))
        self.names = names


def in_order(needs: Mapping[str, Collection[str]]) -> list[str]:
    """Keys such that each one follows those that it depends on.

    Args:
        needs: For each key the keys that its conditions name; what is no key itself is left out.

    Raises:
        ConditionCycle: Some depend on each other.
    """
    sorter = TopologicalSorter({name: [one for one in others if one in needs] for name, others in needs.items()})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        names = [str(name) for name in error.args[1]]
        raise ConditionCycle(tuple(reversed(names))) from None


def holds(wanted: Any, value: Any) -> bool:
    """Whether a condition holds where the other key has this value: it is the one that is wanted, or one of them."""
    return same_value(wanted, value) or (isinstance(wanted, list) and any(same_value(one, value) for one in wanted))


def same_value(one: Any, other: Any) -> bool:
    """Whether two values mean the same: ``1`` and ``1.0`` do, ``1`` and ``true`` don't, ``"SGD"`` and ``"sgd"`` do."""
    if isinstance(one, str) and isinstance(other, str):
        return folded(one) == folded(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
