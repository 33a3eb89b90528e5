"""What came of asking to move an alias, and where a rollback leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, command
from agentnn.records import finite_or_none, iso_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import ModelVersion
    from agentnn.registry.channels import Channel
    from agentnn.registry.ledger import Entry, Ledger


@dataclass(frozen=True, slots=True)
class Promotion:
    """A version, and what it was promoted to.

    Attributes:
        model: The model.
        channel: The alias or the stage.
        version: The version that holds it now.
        previous: The version that held it before; ``None`` when none did.
        moved: Whether anything was changed.
        entry: What was written to the ledger; ``None`` when nothing was.
        verified: Whether the version was loaded and tried.
        notes: What whoever asked should know.
    """

    model: str
    channel: Channel
    version: int
    previous: int | None
    moved: bool
    entry: Entry | None = None
    verified: bool = False
    notes: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """The version, as MLflow names it."""
        return f"models:/{self.model}/{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        entry = self.entry
        return {
            "model": self.model,
            "version": self.version,
            "alias": self.channel.alias,
            "stage": self.channel.stage,
            "previous": self.previous,
            "moved": self.moved,
            "action": entry.action if entry else None,
            "verified": self.verified,
            "metric": entry.metric if entry else None,
            "mode": entry.mode if entry else None,
            "values": {
                "candidate": finite_or_none(entry.candidate) if entry else None,
                "baseline": finite_or_none(entry.baseline) if entry else None,
            },
            "reason": (entry.reason or None) if entry else None,
            "who": entry.who if entry else None,
            "when": iso_time(entry.when) if entry else None,
            "seq": entry.seq if entry else None,
        }


def check_ready(version: ModelVersion) -> ModelVersion:
    """A version that is whole in the registry.

    Raises:
        ConflictError: It is being registered, or its registration failed.
    """
    if version.status != "READY":
        raise ConflictError(
            f"version {version.version} of {version.name} is {version.status}, not READY",
            hint="wait for its registration to end, or register it again",
        )
    return version


def rollback_target(name: str, channel: Channel, ledger: Ledger, versions: Sequence[ModelVersion]) -> ModelVersion:
    """The version that a rollback leads to.

    An alias that somebody else has moved goes back to where the ledger knows it; otherwise it goes to the version that
    held it before.

    Raises:
        NotFoundError: There was none before, or it was deleted.
    """
    outside = ledger.moved_outside and ledger.expected is not None
    target = ledger.expected if outside else ledger.before()
    if target is None:
        raise NotFoundError(
            f"there is nothing to roll {channel} of {name} back to", hint=command("model", "history", name)
        )
    found = next((one for one in versions if one.version == target), None)
    if found is None:
        raise NotFoundError(
            f"version {target} of {name}, which held {channel} before, was deleted",
            hint=f"choose one: {command('model', 'versions', name)}, then {command('model', 'promote', name)} VERSION",
        )
    return found
