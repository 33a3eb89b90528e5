"""All that an online learner remembers, as one state of tensors and plain values."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError
from agentnn.nn_models.online.stream_buffer import BufferState
from agentnn.nn_models.online.stream_events import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.nn_models.online.stream_buffer import StreamBuffer
    from agentnn.nn_models.online.stream_events import Rows
    from agentnn.nn_models.online.stream_learning import StreamLearning

_MAY_CHANGE = frozenset(
    {
        "background",
        "device",
        "capacity",
        "put_timeout_s",
        "when_full",
        "log_every",
        "snapshot_path",
        "snapshot_every",
        "stop_timeout_s",
    }
)
"""Options that may be others after a restoration."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeState:
    """The parts of a learner that change.

    Attributes:
        learning: Weights, optimizer, detector, errors, memory, counts, random numbers, and the samples in between.
        buffer: What waits for it.
        inputs: What the inputs of a sample are like.
        targets: What its target is like.
    """

    learning: StreamLearning
    buffer: StreamBuffer
    inputs: Rows
    targets: Rows

    def read(self) -> dict[str, Any]:
        """The state now; its tensors are those that learning goes on to change."""
        queue = self.buffer.state()
        return {
            "settings": self._settings(),
            "learning": self.learning.state(),
            "queue": packed(queue.events),
            "next_ticket": queue.next_ticket,
            "dropped": queue.dropped,
            "inputs": self.inputs.state(),
            "targets": self.targets.state(),
        }

    def replace(self, state: Mapping[str, Any]) -> None:
        """Go back to a state.

        Raises:
            ConflictError: It is the state of another learner; this one is as it was.
        """
        for name, value in self._settings().items():
            if state["settings"].get(name) != value:
                raise _another(f"its {name} was {state['settings'].get(name)}, and is {value} now")
        before = copy.deepcopy(self.learning.state())
        try:
            self.learning.restore(state["learning"])
        except (KeyError, RuntimeError, ValueError) as error:
            self.learning.restore(before)
            raise _another(" ".join(str(error).split())[:300]) from error
        events = unpacked(state["queue"], self.learning.device)
        self.buffer.restore(BufferState(events, state["next_ticket"], state["dropped"]))
        self.inputs.restore(state["inputs"])
        self.targets.restore(state["targets"])

    def _settings(self) -> dict[str, Any]:
        """What has to be the same for the learning to be the same."""
        options = self.learning.options
        return {
            **{name: value for name, value in asdict(options).items() if name not in _MAY_CHANGE},
            "reactions": list(options.reactions),
            "optimizer": type(self.learning.steps.optimizer).__name__,
            "measures": list(self.learning.judge.prequential),
        }


def _another(why: str) -> ConflictError:
    return ConflictError(
        f"the snapshot is of another learner: {why}", hint="restore with the same model, optimizer and options"
    )
