"""The run of a training in several processes, which is the first one's alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.nn_models.distributed.group import restarts
from agentnn.tracking.active_run import NullRun

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from agentnn.nn_models.distributed.group import Group
    from agentnn.nn_models.trainer_runs import TrainerRuns
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.loop.history import History


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """Which run a training is recorded in.

    Attributes:
        runs: One that is open, or those of the trainer.
    """

    runs: TrainerRuns

    def of(self, group: Group, saved: Mapping[str, Any] | None) -> AbstractContextManager[ActiveRun | NullRun]:
        """The trainer's run in the first process; in all others one that takes every call and does nothing."""
        if not group.is_first:
            return NullRun()
        return self.runs.open(saved["distributed"]["run"] if saved is not None else "")

    def beginning(
        self, run: ActiveRun | NullRun, group: Group, saved: Mapping[str, Any] | None, params: Mapping[str, Any]
    ) -> None:
        """How many processes there are now; and, for a run that was started here, what it is about."""
        run.set_tags({"distributed.processes": group.size, "distributed.restarts": restarts()})
        if self.runs.given is None and saved is None:
            run.log_params(params)

    def end(self, run: ActiveRun | NullRun, history: History, monitor: str) -> None:
        """Which epoch was best."""
        if self.runs.given is None and history.best_epoch:
            run.log_metrics({f"best_{monitor}": history.best_value, "best_epoch": history.best_epoch})
