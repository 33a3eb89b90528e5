"""What the façades that write to one experiment share: an open run, and the best one so far."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError
from agentnn.sdk.nn_models import ModelManager
from agentnn.stores.destination import is_there
from agentnn.tracking.run_context import current_run, runs_of_process
from agentnn.tracking.starting import start_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentnn.query.selection import Mode
    from agentnn.records import Experiment
    from agentnn.tracking.active_run import ActiveRun

_FLUSH_TIMEOUT_S = 30.0


class ExperimentRuns:
    """Runs of one experiment.

    Args:
        experiment_name: The experiment; it is made with its first run.
        tracking_uri: The store; as the settings say without one.
    """

    def __init__(self, experiment_name: str, *, tracking_uri: str | Path | None = None) -> None:
        self.experiment_name = experiment_name
        self.logger = logging.getLogger(f"agentnn.{type(self).__name__}")
        self._tracking_uri = tracking_uri

    @cached_property
    def manager(self) -> ModelManager:
        """Asks the same store."""
        return ModelManager(self._tracking_uri)

    @property
    def experiment(self) -> Experiment:
        """The experiment's record.

        Raises:
            NotFoundError: Its first run has not been delivered yet.
        """
        self._deliver_open_runs()
        return self.manager.get_experiment(self.experiment_name)

    @property
    def run(self) -> ActiveRun:
        """The run that is open here; one is started when there is none, as MLflow does."""
        found = current_run()
        if found is None:
            found = self._start(None)
            self.logger.warning("no run was open: started %r in the experiment %r", found.name, self.experiment_name)
        return found

    def end_run(self) -> None:
        """End the current run, if there is one."""
        found = current_run()
        if found is not None:
            found.end()

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log values of metrics to the current run; see :class:`~agentnn.tracking.recorder.Recorder`."""
        self.run.log_metrics(metrics, step)

    def _start(self, name: str | None, *, nested: bool = False, tags: Mapping[str, Any] | None = None) -> ActiveRun:
        return start_run(
            name, experiment=self.experiment_name, nested=nested, tags=tags, tracking_uri=self._tracking_uri
        )

    def _best_run(self, metric_name: str, mode: Mode) -> dict[str, Any] | None:
        self._deliver_open_runs()
        if not is_there(self.manager.settings):
            return None
        try:
            best = self.manager.get_best_run(
                metric_name, mode=mode, experiment=self.experiment_name, include_unfinished=True
            )
        except NotFoundError as error:
            self.logger.warning("no best run: %s", ". ".join(filter(None, (error.message, error.hint))))
            return None
        return {"run_id": best.run_id, "metrics": dict(best.metrics), "params": dict(best.params)}

    def _deliver_open_runs(self) -> None:
        """What this process has logged is in the store before the store is asked."""
        for run in runs_of_process():
            run.flush(_FLUSH_TIMEOUT_S)
