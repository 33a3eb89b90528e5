"""Trials one after the other in the driver's own process: nothing is started, nothing is sent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agentnn.training.hpo.engines.engine import TrialEnd

if TYPE_CHECKING:
    from agentnn.training.hpo.engines.engine import OnReport, TrialTask, Work


class InlineEngine:
    """Runs a trial inside :meth:`wait`.

    Args:
        work: Runs a trial.
        on_report: Answers its reports.
    """

    def __init__(self, work: Work, on_report: OnReport) -> None:
        self._work = work
        self._on_report = on_report
        self._task: TrialTask | None = None

    @property
    def capacity(self) -> int:
        """One."""
        return 1

    def submit(self, task: TrialTask) -> None:
        """Note a trial."""
        self._task = task

    def wait(self, timeout_s: float) -> list[TrialEnd]:
        """Run it; the timeout means nothing here."""
        task, self._task = self._task, None
        if task is None:
            return []
        return [TrialEnd(task.number, self._work(task, partial(self._on_report, task.number)))]

    def close(self, *, interrupted: bool = False) -> None:
        """Nothing is left behind."""
        self._task = None
