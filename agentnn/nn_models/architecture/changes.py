"""What was changed in a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agentnn.nn_models.architecture.description import Architecture

Kind = Literal["widen", "deepen", "prune", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a network's layers.

    Attributes:
        kind: What was done.
        layer: Where: the layer that was changed or removed, or the place of the new one.
        exact: Whether the network gives what it gave before, in evaluation mode and up to rounding.
        before: The architecture before.
        after: The architecture now.
    """

    kind: Kind
    layer: int
    exact: bool
    before: Architecture
    after: Architecture

    def __str__(self) -> str:
        return f"{self.kind} layer {self.layer}: {self.before} to {self.after}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "exact": self.exact,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }
