"""How the trials of a study have ended, and which of them is the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentnn.query.selection import Mode

TrialState = Literal["complete", "pruned", "failed"]
STATES: tuple[TrialState, ...] = ("complete", "pruned", "failed")


@dataclass(frozen=True, slots=True)
class TrialResult:
    """How a trial of a study has ended.

    Attributes:
        number: The trial's number, from 0.
        run_id: Its run; ``None`` while the store has not answered.
        value: What it is judged by; ``None`` where it came to none.
        params: What was tried.
        state: ``complete``, ``pruned`` or ``failed``.
    """

    number: int
    run_id: str | None
    value: float | None
    params: Mapping[str, Any] = field(default_factory=dict)
    state: TrialState = "complete"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        value = self.value if self.value is not None and math.isfinite(self.value) else None
        return {
            "number": self.number,
            "run_id": self.run_id,
            "value": value,
            "params": dict(self.params),
            "state": self.state,
        }


def best_of(trials: Iterable[TrialResult], mode: Mode) -> TrialResult | None:
    """The complete trial with the best finite value, of several the first; ``None`` where there is none."""
    sign = 1 if mode == "min" else -1
    found = [
        (sign * one.value, one.number, one)
        for one in trials
        if one.state == "complete" and one.value is not None and math.isfinite(one.value)
    ]
    return min(found, key=lambda entry: entry[:2])[2] if found else None
