"""What deleting a model, or versions of it, would take away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentnn.records import ModelVersion

_IDLE_STAGES = ("None", "Archived")


@dataclass(frozen=True, slots=True)
class ModelDeletion:
    """A plan, or what was done.

    Attributes:
        model: The model.
        whole: Whether the model itself goes, with its tags and its history of promotions.
        versions: The versions that go, the newest first.
        entries: How many entries of the history go; 0 unless the model goes.
        deleted: Whether it was done.
    """

    model: str
    whole: bool
    versions: tuple[ModelVersion, ...]
    entries: int = 0
    deleted: bool = False

    @property
    def in_use(self) -> tuple[ModelVersion, ...]:
        """The versions that hold an alias, or a stage that is served."""
        return tuple(one for one in self.versions if one.aliases or one.stage not in _IDLE_STAGES)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "model": self.model,
            "whole": self.whole,
            "versions": [one.version for one in self.versions],
            "aliases": {alias: one.version for one in self.versions for alias in one.aliases},
            "stages": {str(one.version): one.stage for one in self.versions if one.stage != "None"},
            "history_entries": self.entries,
            "deleted": self.deleted,
        }


def in_use_words(versions: tuple[ModelVersion, ...]) -> str:
    """Which versions are in use, and by what name."""
    names = []
    for one in versions:
        held = [f"@{alias}" for alias in one.aliases]
        held += [one.stage] if one.stage not in _IDLE_STAGES else []
        names.append(f"version {one.version} is {' and '.join(held)}")
    return ", ".join(names)
