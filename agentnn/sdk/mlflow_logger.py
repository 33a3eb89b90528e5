"""``MLflowLogger``: experiment tracking for trading models and their backtests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.sdk.experiment_runs import ExperimentRuns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.query.selection import Mode
    from agentnn.tracking.active_run import ActiveRun


class MLflowLogger(ExperimentRuns):
    """Logs the runs of one experiment; without an open run, logging starts one.

    Args:
        experiment_name: The experiment; it is made with its first run.
        tracking_uri: The store; as the settings say without one.
    """

    def start_run(self, run_name: str | None = None) -> ActiveRun:
        """Start a run.

        Args:
            run_name: The run's name; ``run_20240131_235959``, of this moment, without one.

        Returns:
            The run, which is also a context manager.

        Raises:
            ConflictError: A run is open already.
        """
        return self._start(run_name)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params to the current run.

        Args:
            params: Values by name; dicts and lists become JSON. The caller's dict stays as it is.

        Raises:
            ConflictError: A param has another value already.
        """
        self.run.log_params(params, flatten=False)

    def log_model(
        self,
        model: Any,
        artifact_path: str = "model",
        *,
        input_example: Any = None,
        pip_requirements: Sequence[str] | None = None,
    ) -> None:
        """Log a PyTorch module; see :meth:`~agentnn.tracking.attachments.FileRecorder.log_model`.

        Args:
            model: A ``torch.nn.Module``.
            artifact_path: The model's folder in the run.
            input_example: A small batch, from which the signature is inferred.
            pip_requirements: What the model needs; the installed versions without it.
        """
        self.run.log_model(model, artifact_path, input_example=input_example, pip_requirements=pip_requirements)

    def log_figure(self, figure: Any, artifact_path: str) -> None:
        """Log a figure of Matplotlib or Plotly; the file's name says the format.

        Args:
            figure: The figure.
            artifact_path: The file's path in the run, such as ``equity.png``.
        """
        self.run.log_figure(figure, artifact_path)

    def log_dict(self, dictionary: Any, artifact_path: str) -> None:
        """Log a dict as JSON, or as YAML where the file's name says so.

        Args:
            dictionary: The dict.
            artifact_path: The file's path in the run, such as ``config.json``.
        """
        self.run.log_dict(dictionary, artifact_path)

    def log_backtest_results(self, results: Mapping[str, Any], artifact_path: str = "backtest") -> dict[str, float]:
        """Log a backtest; see :func:`~agentnn.tracking.backtests.backtest_results.log_backtest_results`.

        Args:
            results: ``trades``, ``portfolio_values`` and ``metrics``, each in any of the usual shapes.
            artifact_path: The folder in the run.

        Returns:
            The metrics that were logged.
        """
        from agentnn.tracking.backtests.backtest_results import log_backtest_results

        return log_backtest_results(self.run, results, artifact_path)

    def get_best_run(self, metric_name: str, mode: Mode = "max") -> dict[str, Any] | None:
        """The best run of the experiment by a metric, open runs and children included.

        Args:
            metric_name: The metric.
            mode: ``max`` or ``min``.

        Returns:
            ``run_id``, ``metrics`` (floats) and ``params`` (text); ``None`` when no run has a finite value.
        """
        return self._best_run(metric_name, mode)
