"""``EnhancedMLflowLogger``: everything that a training can tell about itself, logged to the run that is open."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from agentnn.tracking.capture.guard import optional
from agentnn.tracking.run_context import current_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from agentnn.tracking.active_run import ActiveRun


class EnhancedMLflowLogger:
    """Logs to the current run; without one it warns and logs nothing.

    What is computed here (a summary, a figure, the state of the machine) never ends a training: what fails is an
    :class:`~agentnn.AgentNNWarning` that says what and why. What is only handed on to the run, such as a metric, raises
    what the run raises: ``UsageError`` for a value that can't be kept, ``ConflictError`` for a param that has another
    value already. No model, data or state of random numbers is changed.

    >>> from agentnn import EnhancedMLflowLogger, start_run
    >>> logger = EnhancedMLflowLogger()
    >>> with start_run("training"):  # doctest: +SKIP
    ...     logger.log_environment_details()
    ...     logger.log_metrics({"val_loss": 0.1}, step=1)
    """

    def __init__(self) -> None:
        self.logger = logging.getLogger(f"agentnn.{type(self).__name__}")

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log values of metrics; see :class:`~agentnn.tracking.recorder.Recorder`.

        Args:
            metrics: Numbers by name.
            step: Whole number; 0 without one.
        """
        run = self._run("the metrics", metrics)
        if run is not None:
            run.log_metrics(metrics, step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; nested ones are joined with dots."""
        run = self._run("the params", params)
        if run is not None:
            run.log_params(params)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; one that is set again changes."""
        run = self._run("the tags", tags)
        if run is not None:
            run.set_tags(tags)

    def log_figure(self, figure: Any, artifact_file: str) -> None:
        """Log a figure of Matplotlib or Plotly, or an image; the file's name says the format."""
        run = self._run("the figure", [artifact_file])
        if run is not None:
            run.log_figure(figure, artifact_file)

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Log a file or a folder, into a folder of the run."""
        run = self._run("the file", [local_path])
        if run is not None:
            run.log_artifact(local_path, artifact_path)

    def log_config(self, config: Any) -> None:
        """Log a configuration: every value as a param with a dotted name, ``config.yaml``, and tags to find it by.

        Args:
            config: What ``ConfigurationManager.get_config()`` gives, the manager itself, or any mapping. Passwords and
                values named like a secret are struck out.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.recording import record_config

            record_config(run, config)

        self._capture("the configuration", record)

    def log_environment_details(self, *, diff: bool = True) -> None:
        """Log commit, branch and changes of the code, Python, packages, processors and memory, in ``environment/``.

        The command line, the changes and the address of the repository are recorded without what looks like a secret;
        of the environment only variables on a list are recorded, which concern threads and devices. git and
        ``nvidia-smi`` are asked within half a minute at the worst, and usually within a tenth.

        Args:
            diff: Whether the changes since the commit are recorded too.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.recording import record_environment
            from agentnn.tracking.capture.redaction import Redactor

            record_environment(run, Redactor(secrets=tuple(run.settings.secrets.values())), diff=diff)

        self._capture("the environment", record)

    def log_model_summary(
        self, model: Any, artifact_file: str = "model_summary.txt", *, input_example: Any = None
    ) -> None:
        """Log the layers of a PyTorch module and their parameters: as text, as JSON, and the totals as metrics.

        Args:
            model: The module.
            artifact_file: The text's path in the run; the JSON lies beside it.
            input_example: A small batch, or a tuple of arguments. With it, and with torchinfo, the text has the shapes
                too; the model is asked once, in evaluation mode.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.model_summary import summarise, torchinfo_text
            from agentnn.tracking.capture.recording import record_model_summary

            summary = summarise(model)
            text = None
            if input_example is not None:
                with optional("the shapes of the layers"):
                    text = torchinfo_text(model, input_example)
            record_model_summary(run, summary, text or summary.to_text(), artifact_file)

        self._capture("the model's summary", record)

    def log_data_characteristics(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        name: str = "data",
        feature_names: Sequence[str] | None = None,
        scaler: Any = None,
        reference: Any = None,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        """Log shapes, types, missing values and the distribution of each feature, into the folder ``name``.

        Args:
            inputs: Features in the last axis: an array, a tensor, a frame, or a dict of columns. Of more than two
                million cells a sample is looked at.
            targets: What is to be predicted.
            name: What the data are called, such as ``data/train``.
            feature_names: A frame's own without them.
            scaler: A fitted scaler, whose parameters are logged as JSON.
            reference: Data to measure drift against, such as those of the training part: by the Kolmogorov-Smirnov
                statistic and the Wasserstein distance.
            seed: Of the sample.
            prefix: Begins the names of the metric and the tag of the drift, such as ``test_``.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.data_characteristics import describe_data
            from agentnn.tracking.capture.recording import record_data

            described = describe_data(
                inputs, targets, feature_names=feature_names, scaler=scaler, reference=reference, seed=seed
            )
            record_data(run, described, name, prefix)

        self._capture("the data", record)

    def log_training_history(self, history: Any, *, name: str = "training") -> None:
        """Log a training history as a figure and a table, into the folder ``name``.

        Args:
            history: Lists of numbers by name of the metric, as ``train_model`` gives them, a list of mappings, a frame,
                or what Keras gives.
            name: The folder.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.recording import record_history
            from agentnn.tracking.capture.training_history import read_history

            record_history(run, read_history(history), name)

        self._capture("the training history", record)

    def log_predictions(
        self,
        actual: Any,
        predicted: Any,
        *,
        name: str = "predictions",
        prefix: str = "",
        output_names: Sequence[str] | None = None,
    ) -> None:
        """Log predictions beside what came true: ``mae``, ``rmse``, ``r2`` and ``bias``, a table and a figure.

        Args:
            actual: Shape (n_samples,) or (n_samples, n_outputs).
            predicted: The same shape.
            name: The folder in the run.
            prefix: Begins the names of the metrics, such as ``test_``.
            output_names: Names of several outputs.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.predictions import compare_predictions
            from agentnn.tracking.capture.recording import record_predictions

            record_predictions(run, compare_predictions(actual, predicted, output_names), name, prefix)

        self._capture("the predictions", record)

    def log_feature_importance(
        self,
        model: Any,
        inputs: Any,
        targets: Any,
        *,
        name: str = "importance",
        method: Literal["permutation", "model"] = "permutation",
        feature_names: Sequence[str] | None = None,
        score: Callable[[Any, Any], float] | None = None,
        repeats: int = 5,
        seed: int = 0,
        timeout_s: float = 60.0,
    ) -> None:
        """Log how much a model relies on each feature: by default how much worse it is once that is shuffled.

        Args:
            model: A module, an estimator, or a function of an array.
            inputs: Samples with the features in the last axis; of more than 5000 a sample is taken.
            targets: What is to be predicted.
            name: The folder in the run.
            method: ``model`` takes what the model says of itself: ``feature_importances_`` or ``coef_``.
            feature_names: A frame's own without them.
            score: Of targets and predictions, greater is better; the negative mean squared error, or for classes the
                accuracy, without one.
            repeats: How often each feature is shuffled.
            seed: Of the sample and the shuffling.
            timeout_s: No further feature is begun after so long; what is left out is said.
        """

        def record(run: ActiveRun) -> None:
            from agentnn.tracking.capture.importance import feature_importance
            from agentnn.tracking.capture.recording import record_importance

            found = feature_importance(
                model,
                inputs,
                targets,
                method=method,
                feature_names=feature_names,
                score=score,
                repeats=repeats,
                seed=seed,
                timeout_s=timeout_s,
            )
            record_importance(run, found, name)

        self._capture("the importance of the features", record)

    def _capture(self, what: str, record: Callable[[ActiveRun], None]) -> None:
        run = self._run(what)
        if run is not None:
            with optional(what):
                record(run)

    def _run(self, what: str, names: Any = ()) -> ActiveRun | None:
        run = current_run()
        if run is None:
            listed = f" {', '.join(map(str, names))}" if names else ""
            self.logger.warning("no run is open: %s%s is not logged", what, listed)
        return run
