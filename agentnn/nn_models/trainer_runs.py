"""The run that a trainer records in."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable
from agentnn.tracking.active_run import NullRun
from agentnn.tracking.capture.guard import warn
from agentnn.tracking.run_context import current_run
from agentnn.tracking.starting import start_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainerRuns:
    """Which run a trainer records in: one that it was given, or one of its own.

    Attributes:
        given: An open run, which stays open.
        experiment: The experiment of the trainer's own runs.
        name: Their name; made from the moment without one.
        tags: Their tags.
        tracking_uri: Their store; as the settings say without one.
        settings: All of the settings, instead of ``tracking_uri``.
        track: Whether there are any.
    """

    given: ActiveRun | NullRun | None
    experiment: str
    name: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    tracking_uri: str | Path | None = None
    settings: Settings | None = None
    track: bool = True

    def open(self, resumed: str = "", **tags: str) -> AbstractContextManager[ActiveRun | NullRun]:
        """The run that was given; or one that ends with the context: that of a checkpoint, or a new one.

        A new one lies below the run that is current here. One that takes every call and does nothing, where nothing is
        recorded.

        Args:
            resumed: Our own id of the run that a checkpoint is of. It is gone on with as far as it is there.
            tags: Tags that those of the trainer's user go before.

        Raises:
            AgentNNError: There can't be a store where the settings say; see :func:`~agentnn.start_run`.
        """
        if self.given is not None:
            return nullcontext(self.given)
        if not self.track:
            return NullRun()
        where: dict[str, Any] = {"settings": self.settings, "tracking_uri": self.tracking_uri}
        where["nested"] = current_run() is not None
        if resumed:
            try:
                return start_run(run_id=resumed, **where)
            except (ConflictError, NotFoundError, StoreUnavailable) as error:
                warn(f"this training is recorded in another run than what it goes on with: {error.message}")
        return start_run(self.name, experiment=self.experiment, tags={**tags, **self.tags}, **where)
