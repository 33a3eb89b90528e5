"""``MLflowManager``: runs and logging for training code that should not care whether a run is open."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from agentnn.settings import Settings
from agentnn.tracking.run_context import current_run
from agentnn.tracking.starting import start_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentnn.tracking.active_run import ActiveRun

_TEST_VARIABLE = "AGENTNN_TEST"
_TEST_EXPERIMENT_VARIABLE = "AGENTNN_TEST_EXPERIMENT"


class MLflowManager:
    """Starts runs, and logs to the current one; without one it warns and logs nothing.

    Under pytest, or with ``AGENTNN_TEST=1``, runs go to the experiment that ``AGENTNN_TEST_EXPERIMENT`` names, ``test``
    by default, unless an experiment was set explicitly.

    Args:
        tracking_uri: The store; as the settings say without one.
    """

    def __init__(self, tracking_uri: str | Path | None = None) -> None:
        self.logger = logging.getLogger(self.__class__.__name__)
        self._tracking_uri = tracking_uri

    def start_run(self, run_name: str | None = None, nested: bool = False) -> ActiveRun:
        """Start a run.

        Args:
            run_name: The run's name; made from the moment without one.
            nested: Whether it is a child of the run that is open.

        Returns:
            The run, a context manager.

        Raises:
            ConflictError: A run is open, and ``nested`` was not asked for.
        """
        settings = Settings.load(self._tracking_uri)
        return start_run(run_name, experiment=_test_experiment(settings), nested=nested, settings=settings)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log values of metrics to the current run; see :class:`~agentnn.tracking.recorder.Recorder`.

        Args:
            metrics: Numbers by name.
            step: Whole number; 0 without one.
        """
        run = self._current_run("metrics", metrics)
        if run is not None:
            run.log_metrics(metrics, step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params to the current run; see :class:`~agentnn.tracking.recorder.Recorder`.

        Args:
            params: Values by name; nested ones are joined with dots.
        """
        run = self._current_run("params", params)
        if run is not None:
            run.log_params(params)

    def end_run(self) -> None:
        """End the current run, if there is one."""
        run = current_run()
        if run is not None:
            run.end()

    def _current_run(self, what: str, values: Mapping[str, Any]) -> ActiveRun | None:
        run = current_run()
        if run is None:
            self.logger.warning("no run is open: the %s %s are not logged", what, ", ".join(map(str, values)))
        return run


def _test_experiment(settings: Settings) -> str | None:
    if settings.experiment_name or settings.experiment_id:
        return None
    if os.environ.get("PYTEST_CURRENT_TEST") or os.environ.get(_TEST_VARIABLE) == "1":
        return os.environ.get(_TEST_EXPERIMENT_VARIABLE) or "test"
    return None
