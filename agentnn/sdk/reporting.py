"""``ExperimentReporter``: reports on runs, studies and comparisons, as files that people send to each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agentnn.errors import UsageError
from agentnn.reporting.building import ReportBuilder
from agentnn.reporting.saving import Assets, Format, destination, save, stem_of_run, stem_of_runs
from agentnn.sdk.store_access import Experiments, StoreAccess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.reporting.document import Report
    from agentnn.reporting.verifying import Verification

MAX_COMPARED = 1000
_FULL_ID = r"[0-9a-f]{32}"


class ExperimentReporter(StoreAccess):
    """Makes reports: one self-contained page each, or Markdown, or JSON.

    A run is named by its id or any other selector: its name, ``@last``, ``@best:METRIC``, ``models:/NAME@ALIAS``. The
    same runs give the same bytes: all times come from the runs. What a run did not log is left out, with a line that
    says so. No password and no token is ever in a report.

    >>> from agentnn import ExperimentReporter
    >>> reporter = ExperimentReporter(mlflow_tracking_uri="mlruns")
    >>> reporter.generate_training_report("@last", "reports/training.html")  # doctest: +SKIP

    The three kinds share these arguments::

        output_path: The file, whose suffix says the format: ``.html``, ``.md`` or ``.json``; a name of its own in
            ``reports/`` without one. Folders are made. A report that is there is replaced, as a whole.
        format: ``html``, ``md`` or ``json``, where the suffix does not say it.
        assets: Where a page takes Plotly from: ``inline`` it holds it (5 MB, opens offline), ``shared`` it loads a file
            that is put beside it, ``cdn`` it loads it from the network.
        force: Whether a file may be replaced that is no report.
        experiment: Where names and ``@`` selectors are looked for.

    All three raise ``NotFoundError`` for a run that is not there, ``ConflictError`` for a file that is there and no
    report, ``StoreUnavailable`` where the store can't be read or the file can't be written, ``UsageError`` for an
    unknown format, and ``MissingDependencyError`` for a page without Plotly: ``pip install 'agentnn[report]'``.

    Args:
        mlflow_tracking_uri: Where runs are kept, such as ``mlruns`` or ``sqlite:///mlflow.db``; as for
            :class:`~agentnn.ModelManager` without one.
    """

    def __init__(self, mlflow_tracking_uri: str | Path | None = None) -> None:
        super().__init__(mlflow_tracking_uri)

    @classmethod
    def on(cls, access: StoreAccess) -> Self:
        """A reporter on the store of another façade, such as a ``ModelManager``."""
        reporter = cls.__new__(cls)
        reporter.settings = access.settings
        return reporter

    def generate_training_report(
        self,
        run_id: str,
        output_path: str | Path | None = None,
        *,
        format: Format | None = None,
        assets: Assets = "inline",
        force: bool = False,
        experiment: Experiments = None,
    ) -> Path:
        """Tell what came of one run, and what it was made of.

        Args:
            run_id: The run.
            output_path, format, assets, force, experiment: See the class.

        Returns:
            The file.
        """
        run = self._named(run_id, experiment)
        to = destination(output_path, format, assets, stem=stem_of_run("training", run), force=force)
        return save(self._builder.training(run), to)

    def generate_hpo_report(
        self,
        parent_run_id: str,
        output_path: str | Path | None = None,
        *,
        metric: str | None = None,
        format: Format | None = None,
        assets: Assets = "inline",
        force: bool = False,
        experiment: Experiments = None,
    ) -> Path:
        """Tell what a study found: a run with trials nested in it, whoever logged them.

        Args:
            parent_run_id: The study's run.
            metric: What trials are judged by, as ``METRIC`` or ``METRIC:min``; what the study says without it.
            output_path, format, assets, force, experiment: See the class.

        Returns:
            The file.
        """
        run = self._named(parent_run_id, experiment)
        to = destination(output_path, format, assets, stem=stem_of_run("study", run), force=force)
        return save(self._builder.study(run, metric), to)

    def generate_model_comparison_report(
        self,
        run_ids: Sequence[str],
        output_path: str | Path | None = None,
        *,
        baseline: str | None = None,
        format: Format | None = None,
        assets: Assets = "inline",
        force: bool = False,
        experiment: Experiments = None,
    ) -> Path:
        """Put runs side by side.

        Args:
            run_ids: 2 to 1000 runs.
            baseline: The run that others are compared with; the first one without it.
            output_path, format, assets, force, experiment: See the class.

        Returns:
            The file.
        """
        runs, base = self._compared(run_ids, baseline, experiment)
        to = destination(output_path, format, assets, stem=stem_of_runs(runs, base), force=force)
        return save(self._builder.comparison(runs, base), to)

    def build_training_report(self, run_id: str, *, experiment: Experiments = None) -> Report:
        """What :meth:`generate_training_report` would write, as data."""
        return self._builder.training(self._named(run_id, experiment))

    def build_hpo_report(
        self, parent_run_id: str, *, metric: str | None = None, experiment: Experiments = None
    ) -> Report:
        """What :meth:`generate_hpo_report` would write, as data."""
        return self._builder.study(self._named(parent_run_id, experiment), metric)

    def build_model_comparison_report(
        self, run_ids: Sequence[str], *, baseline: str | None = None, experiment: Experiments = None
    ) -> Report:
        """What :meth:`generate_model_comparison_report` would write, as data."""
        return self._builder.comparison(*self._compared(run_ids, baseline, experiment))

    def verify_report(self, file: str | Path) -> Verification:
        """Build a report again from the data in a page or a JSON file, and say whether the store still agrees.

        Raises:
            NotFoundError: There is no such file, or a run is gone.
            UsageError: The file holds no data of a report, such as Markdown.
            CorruptDataError: The data in it are damaged, or were changed.
            StoreUnavailable: The file or the store can't be read.
        """
        from agentnn.reporting.verifying import verify

        return verify(Path(file), self._builder)

    @property
    def _builder(self) -> ReportBuilder:
        from agentnn import __version__

        return ReportBuilder(self._store, self.settings, self.metric_conventions, __version__)

    def _named(self, selector: str, experiment: Experiments) -> Run:
        return self._find_run(selector, self._scope(experiment, None, "active"))

    def _compared(
        self, selectors: Sequence[str], baseline: str | None, experiment: Experiments
    ) -> tuple[list[Run], Run]:
        """The runs, each once, and the baseline, which comes first where it was not named among them."""
        if isinstance(selectors, str):
            raise UsageError("the runs of a comparison are a list", hint="run_ids=[…]")
        if len(selectors) > MAX_COMPARED:
            raise UsageError(f"{len(selectors):,} runs can't be compared; 2 to {MAX_COMPARED} can")
        named = list(dict.fromkeys(selectors if baseline is None else [*selectors, baseline]))
        full = [one for one in named if re.fullmatch(_FULL_ID, one)]
        by_id = {run.run_id: run for run in self._store.find_runs(full)} if full else {}
        found = {one: by_id.get(one) or self._named(one, experiment) for one in named}
        runs = list({found[one].run_id: found[one] for one in dict.fromkeys(selectors)}.values())
        base = runs[0] if baseline is None and runs else found.get(baseline or "")
        if base is not None and base.run_id not in {run.run_id for run in runs}:
            runs.insert(0, base)
        if base is None or len(runs) < 2:
            raise UsageError("a comparison needs at least two different runs", hint="agentnn report compare RUN RUN")
        return runs, base
