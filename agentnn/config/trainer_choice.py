"""Which trainer a configuration chooses, and that it holds no section of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.config.schema_types import folded
from agentnn.config.trainers import TRAINERS

if TYPE_CHECKING:
    from agentnn.config.tree import Node, Problems

_BY_FOLDED = {folded(name): name for name in TRAINERS}


def check_trainer(root: Node, problems: Problems) -> None:
    """Add what is wrong with the sections of trainers: only that of the chosen one may be there."""
    chosen = trainer_of(root)
    if chosen is None and _written(root) is not None:
        return  # it is no trainer, which is said already, and which sections are wrong is not known
    for name in TRAINERS:
        node = root.value.get(name)
        if node is not None and node.value is not None and name != chosen:
            why = "there is no trainer" if chosen is None else f"the trainer is {chosen}"
            problems.say(node.place, f"belongs to trainer: {name}, and {why}", (name,))


def trainer_of(root: Node) -> str | None:
    """The trainer that a configuration chooses; ``None`` for the plain loop, and for what is no trainer."""
    written = _written(root)
    return _BY_FOLDED.get(folded(written)) if isinstance(written, str) else None


def _written(root: Node) -> object:
    node = root.value.get("trainer") if isinstance(root.value, dict) else None
    return None if node is None else node.value
