"""Requests to writers, and who carries them out: the same ones in two stores must leave the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from agentnn.errors import AgentNNError
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, Metric

if TYPE_CHECKING:
    from agentnn.stores.run_writer import RunWriter

NOON = 1_700_000_000_000
VALUES = st.sampled_from([0.0, -0.0, 1.0, 0.1, -3.5, 1e300, math.inf, -math.inf, math.nan])
KEYS = st.sampled_from(["loss", "val/loss", "f1 score", "π"])
POINTS = st.lists(
    st.builds(Metric, KEYS, VALUES, st.sampled_from([0, 1, 2, -1, 2**62]), st.sampled_from([NOON, NOON + 1, 0])),
    max_size=6,
)
TEXTS = st.sampled_from(["", "a", "1e-05", "🚀", "x" * 5999, "line\nbreak"])
PARAMS = st.dictionaries(st.sampled_from(["lr", "model.layers", "note"]), TEXTS, max_size=2)
TAGS = st.dictionaries(st.sampled_from(["team", RUN_NAME_TAG, PARENT_TAG, "mlflow.note.content"]), TEXTS, max_size=3)
REQUESTS = st.one_of(
    st.tuples(st.just("ensure_experiment"), st.sampled_from(["alpha", "Default", "0", "1", "beta / γ"])),
    st.tuples(st.just("create_run"), st.integers(0, 1), st.sampled_from(["a run", "🚀"]), TAGS),
    st.tuples(st.just("log_batch"), st.integers(0, 2), POINTS, PARAMS, TAGS),
    st.tuples(st.just("terminate"), st.integers(0, 2), st.sampled_from(["FINISHED", "FAILED", "KILLED"])),
    st.tuples(st.just("reopen"), st.integers(0, 2)),
    st.tuples(st.just("delete_run"), st.integers(0, 2)),
    st.tuples(st.just("delete_tag"), st.integers(0, 2), st.sampled_from(["team", "none"])),
)


class Player:
    """Carries out requests in one store, and remembers which runs it has made.

    Attributes:
        first: The first run that requests can name; those of earlier sequences stay as they are.
    """

    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self.runs: list[str] = []
        self.first = 0

    def play(self, request: tuple[Any, ...]) -> object:
        """What a request came to: an answer without ids, or that it was refused."""
        try:
            return self._play(*request)
        except AgentNNError:
            return "refused"

    def _play(self, name: str, *arguments: Any) -> object:
        if name == "ensure_experiment":
            return self.writer.ensure_experiment(*arguments)
        if name == "create_run":
            experiment, run_name, tags = arguments
            tags = {key: text for key, text in tags.items() if key != RUN_NAME_TAG}
            self.runs.append(self.writer.create_run(str(experiment), run_name, NOON, {"mlflow.user": "ana", **tags}))
            return len(self.runs)
        made = self.runs[self.first :]
        run_id = made[arguments[0]] if arguments[0] < len(made) else "0" * 32
        extra = (NOON + 9,) if name == "terminate" else ()
        return getattr(self.writer, name)(run_id, *arguments[1:], *extra)

    def without_ids(self, text: str) -> str:
        """A text in which each run that was made is called by its number."""
        for number, run_id in enumerate(self.runs):
            text = text.replace(run_id, f"run {number}")
        return text
