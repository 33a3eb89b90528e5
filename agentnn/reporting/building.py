"""One door to the three reports: runs of a store in, a sealed report out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.conventions import MetricConvention, MetricConventions
from agentnn.errors import NotFoundError
from agentnn.reporting.gather import Gatherer
from agentnn.reporting.json_form import sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.reporting.document import Report, Source
    from agentnn.settings import Settings
    from agentnn.stores.base import TrackingStore


class ReportBuilder:
    """Builds reports on the runs of a store.

    Args:
        store: The store.
        settings: Name it.
        conventions: What the project declares of its metrics.
        version: Of agentnn, to be named in the reports.
    """

    def __init__(
        self, store: TrackingStore, settings: Settings, conventions: MetricConventions, version: str = ""
    ) -> None:
        self._store = store
        self._settings = settings
        self._version = version
        self._gatherer = Gatherer(store, settings, conventions)

    def training(self, run: Run) -> Report:
        """The report of one run."""
        from agentnn.reporting.training import training_report

        return sealed(training_report(self._gatherer.training(run)), self._version)

    def study(self, parent: Run, metric: str | None = None) -> Report:
        """The report of a study, by its run; ``metric`` says what its trials are judged by, where the study does not.

        Raises:
            NotFoundError: No run is nested in it, or no trial has the metric.
        """
        from agentnn.reporting.study import study_report

        return sealed(study_report(self._gatherer.study(parent, metric)), self._version)

    def comparison(self, runs: Sequence[Run], baseline: Run) -> Report:
        """The report of several runs, the baseline among them."""
        from agentnn.reporting.comparison import comparison_report

        return sealed(comparison_report(self._gatherer.comparison(runs, baseline)), self._version)

    def again(self, report: Report) -> Report:
        """The same report as the store tells it now, by the conventions of then.

        Raises:
            NotFoundError: A run is gone.
        """
        source = report.source
        found = {run.run_id: run for run in self._store.find_runs(source.runs)}
        gone = [run_id for run_id in source.runs if run_id not in found]
        if gone:
            raise NotFoundError(
                f"{len(gone)} of {len(source.runs)} runs of the report are not in this store: {', '.join(gone[:3])}"
                + (", …" if len(gone) > 3 else ""),
                candidates=tuple(gone),
                hint=f"the report was made from {source.store}: name its store with --tracking-uri",
            )
        builder = ReportBuilder(self._store, self._settings, declared_in(source), self._version)
        runs = [found[run_id] for run_id in source.runs]
        if report.kind == "training":
            return builder.training(runs[0])
        if report.kind == "study":
            return builder.study(runs[0], source.metric)
        return builder.comparison(runs, found.get(source.baseline or "", runs[0]))


def declared_in(source: Source) -> MetricConventions:
    """What the project declared when a report was made."""
    return MetricConventions(
        {one.metric: MetricConvention(one.direction, one.unit, one.digits, one.convention) for one in source.declared}
    )
