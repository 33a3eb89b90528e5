"""What a version can be promoted to: an alias, or one of MLflow's stages, which it deprecates."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from agentnn.errors import UsageError

STAGES = ("None", "Staging", "Production", "Archived")
_STAGE_PREFIX = "stage."
_LONGEST_ALIAS = 255
_LONGEST_IN_KEY = 120
"""Of an alias in a tag's key, which MLflow limits to 250 characters; a longer one is known by its digest there."""


class Channel(NamedTuple):
    """An alias of a model, or a stage.

    Attributes:
        name: The alias as it is, or ``stage.Production``. No alias can hold a dot.
    """

    name: str

    @property
    def stage(self) -> str | None:
        """The stage; ``None`` for an alias."""
        return self.name.removeprefix(_STAGE_PREFIX) if self.name.startswith(_STAGE_PREFIX) else None

    @property
    def alias(self) -> str | None:
        """The alias; ``None`` for a stage."""
        return None if self.stage is not None else self.name

    @property
    def key(self) -> str:
        """What stands for it in the key of a tag."""
        if len(self.name) <= _LONGEST_IN_KEY:
            return self.name
        return f"{self.name[: _LONGEST_IN_KEY - 20]}.{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    def __str__(self) -> str:
        return f"the stage {self.stage}" if self.stage is not None else f"@{self.name}"


def alias_channel(alias: str) -> Channel:
    """The channel of an alias.

    Raises:
        UsageError: MLflow does not take such an alias; it reserves ``latest`` and ``v<number>``.
    """
    if not alias or not re.fullmatch(r"[\w\-]+", alias) or len(alias) > _LONGEST_ALIAS:
        raise UsageError(
            f"{alias!r} can't be an alias", hint="letters, digits, _ and - only, at most 255 of them, without the @"
        )
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise UsageError(
            f"the alias {alias!r} is reserved: MLflow takes it for a version", hint="for instance --alias champion"
        )
    return Channel(alias)


def stage_channel(stage: str) -> Channel:
    """The channel of a stage, whatever the case of its letters.

    Raises:
        UsageError: MLflow has no such stage.
    """
    known = next((one for one in STAGES if one.lower() == stage.lower()), None)
    if known is None:
        raise UsageError(f"there is no stage {stage!r}", hint=f"one of {', '.join(STAGES)}")
    return Channel(_STAGE_PREFIX + known)


def chosen_channel(alias: str | None, stage: str | None) -> Channel:
    """The channel of an alias or of a stage, whichever is given.

    Raises:
        UsageError: Both are given, or neither.
    """
    if (alias is None) == (stage is None):
        raise UsageError(
            "--alias and --stage exclude each other" if alias else "promote to what?", hint="--alias champion"
        )
    return alias_channel(alias) if alias is not None else stage_channel(stage or "")
