"""``ExperimentTracker``: a run for each update of a model, named by the moment and the model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentnn.sdk.experiment_runs import ExperimentRuns
from agentnn.tracking.run_context import current_run
from agentnn.values.logged import flatten_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agentnn.tracking.active_run import ActiveRun


class ExperimentTracker(ExperimentRuns):
    """Tracks the models of one experiment.

    Args:
        experiment_name: The experiment; it is made with its first run.
        tracking_uri: The store; as the settings say without one.
    """

    def start_run(
        self, run_name: str | None = None, *, model_type: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> ActiveRun:
        """Start a run.

        Args:
            run_name: The run's name; made from the model and the moment without one: ``lstm_20240131_235959``.
            model_type: The kind of model, kept as the tag ``model_type``.
            tags: More tags.

        Returns:
            The run, a context manager.

        Raises:
            ConflictError: A run is open already.
        """
        kind = {"model_type": model_type} if model_type else {}
        return self._start(run_name or _name(model_type or "run"), tags={**kind, **(tags or {})})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params to the current run; nested ones are joined with dots."""
        self.run.log_params(params)

    def log_model_update(
        self,
        model_type: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, Any],
        artifacts: Mapping[str, str | Path] | Iterable[str | Path] | None = None,
    ) -> str:
        """Log an update of a model as a run of its own; a child of the current run, if there is one.

        Args:
            model_type: The kind of model, such as ``lstm``; it begins the run's name.
            parameters: What it was made with.
            metrics: How well it does.
            artifacts: Files or folders: by the folder of the run that they go into, or just their paths.

        Returns:
            The name of the run.
        """
        nested = current_run() is not None
        with self._start(_name(model_type), nested=nested, tags={"model_type": model_type}) as run:
            run.log_params(parameters)
            run.log_metrics(metrics)
            for folder, path in _placed(artifacts):
                run.log_artifact(path, folder)
        return run.name

    def log_evaluation_results(self, evaluation_type: str, results: Mapping[str, Any]) -> None:
        """Log an evaluation to the current run; as a run of its own when there is none.

        Args:
            evaluation_type: Such as ``validation`` or ``backtest``; it begins the names of the metrics.
            results: Numbers become the metrics ``<evaluation_type>_<name>``, nested ones joined with dots; everything
                goes into ``evaluation/<evaluation_type>.json``.
        """
        run = current_run()
        if run is not None:
            self._log_evaluation(run, evaluation_type, results)
            return
        with self._start(_name(evaluation_type), tags={"evaluation_type": evaluation_type}) as run:
            self._log_evaluation(run, evaluation_type, results)

    def get_best_run(self, metric_name: str, ascending: bool = False) -> dict[str, Any] | None:
        """The best run of the experiment by a metric, open runs and children included.

        Args:
            metric_name: The metric.
            ascending: Whether a smaller value is better.

        Returns:
            ``run_id``, ``metrics`` (floats) and ``params`` (text); ``None`` when no run has a finite value.
        """
        return self._best_run(metric_name, "min" if ascending else "max")

    @staticmethod
    def _log_evaluation(run: ActiveRun, evaluation_type: str, results: Mapping[str, Any]) -> None:
        run.log_metrics({f"{evaluation_type}_{key}": value for key, value in flatten_numbers(results).items()})
        run.log_dict(results, f"evaluation/{evaluation_type}.json")


def _name(kind: str) -> str:
    return f"{kind}_{datetime.now().astimezone():%Y%m%d_%H%M%S}"


def _placed(
    artifacts: Mapping[str, str | Path] | Iterable[str | Path] | None,
) -> list[tuple[str | None, str | Path]]:
    if isinstance(artifacts, Mapping):
        return list(artifacts.items())
    return [(None, path) for path in artifacts or ()]
