"""The run of a training in several processes, which is the first one's alone."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable
from agentnn.nn_models.distributed.group import restarts
from agentnn.tracking.active_run import NullRun
from agentnn.tracking.run_context import current_run
from agentnn.tracking.starting import start_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.nn_models.distributed.group import Group
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.loop.history import History


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """Which run a training is recorded in.

    Attributes:
        run: One that is open, and stays so.
        name: The name of one that is started; made from the moment without one.
        experiment: Its experiment.
        tags: Its tags.
        where: What names the store: ``settings`` and ``tracking_uri``.
        is_wanted: Whether one is started at all.
    """

    run: ActiveRun | None
    name: str | None
    experiment: str
    tags: dict[str, Any]
    where: dict[str, Any]
    is_wanted: bool

    @contextmanager
    def of(self, group: Group, saved: Mapping[str, Any] | None) -> Iterator[ActiveRun | NullRun]:
        """The run that was given; or one that ends in here: that of the checkpoint, or a new one.

        All processes but the first get one that takes every call and does nothing.
        """
        if not group.is_first or (self.run is None and not self.is_wanted):
            yield NullRun()
        elif self.run is not None:
            yield self.run
        else:
            with self._started(saved) as run:
                yield run

    def _started(self, saved: Mapping[str, Any] | None) -> ActiveRun:
        where = {**self.where, "nested": current_run() is not None}
        if saved is not None and saved["distributed"]["run"]:
            try:
                return start_run(run_id=saved["distributed"]["run"], **where)
            except (ConflictError, NotFoundError, StoreUnavailable):
                pass
        return start_run(self.name, experiment=self.experiment, tags=self.tags, **where)

    def beginning(
        self, run: ActiveRun | NullRun, group: Group, saved: Mapping[str, Any] | None, params: Mapping[str, Any]
    ) -> None:
        """How many processes there are now; and, for a run that was started here, what it is about."""
        run.set_tags({"distributed.processes": group.size, "distributed.restarts": restarts()})
        if self.run is None and saved is None:
            run.log_params(params)

    def end(self, run: ActiveRun | NullRun, history: History, monitor: str) -> None:
        """Which epoch was best."""
        if self.run is None and history.best_epoch:
            run.log_metrics({f"best_{monitor}": history.best_value, "best_epoch": history.best_epoch})
