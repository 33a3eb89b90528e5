"""An error on its way from the sender to whoever waits for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from agentnn import errors
from agentnn.errors import AgentNNError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something can't be delivered.

    Attributes:
        kind: The name of the error's class.
        message: What is wrong, in one line.
        hint: What to do next.
    """

    kind: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """The problem that an error is; one that is not of our own making counts as an unavailable store."""
        if isinstance(error, AgentNNError):
            return cls(type(error).__name__, error.message, error.hint)
        return cls("StoreUnavailable", f"{type(error).__name__}: {error}", "the sender's log says more: sender.log")

    @classmethod
    def from_dict(cls, said: Mapping[str, Any] | None) -> Self | None:
        """What :meth:`to_dict` gave; ``None`` for nothing."""
        return cls(said["kind"], said["message"], said.get("hint", "")) if said else None

    def to_dict(self) -> dict[str, str]:
        """The JSON form."""
        return asdict(self)

    def error(self, message: str = "", hint: str = "") -> AgentNNError:
        """The error again, with a message that says more, and a hint for when it has none."""
        found = getattr(errors, self.kind, StoreUnavailable)
        kind = found if isinstance(found, type) and issubclass(found, AgentNNError) else StoreUnavailable
        return kind(message or self.message, hint=self.hint or hint)
