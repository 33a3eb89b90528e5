"""What training needs of whoever keeps its records; the objects themselves come from above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.engines.engine import TrialState


class RunLogger(Protocol):
    """Takes the values of an epoch: an ``EnhancedMLflowLogger``, a run, or anything else with this method."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int, /) -> object:
        """Keep values of metrics at a step."""


class StudyLogger(RunLogger, Protocol):
    """Logs to the current run what a study tells of itself: an ``EnhancedMLflowLogger``."""

    def log_config(self, config: Any) -> None:
        """Keep a configuration."""

    def log_environment_details(self) -> None:
        """Keep commit, packages and hardware."""


class StudyOrganizer(Protocol):
    """Starts and ends the runs of a study: an ``ExperimentOrganizer``."""

    @property
    def settings(self) -> Settings:
        """What names the store."""

    @property
    def experiment_name(self) -> str | None:
        """The experiment that the runs belong to."""

    def start_study(
        self, name: str | None = None, *, tags: Mapping[str, Any] | None = None, run_id: str | None = None
    ) -> ActiveRun:
        """Start the study's run, or go on with one."""

    def start_trial(
        self,
        number: int,
        params: Mapping[str, Any],
        *,
        parent_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        uuid: str | None = None,
    ) -> ActiveRun:
        """Start a trial's run as a child of the study's."""

    def resume_trial(self, run_id: str) -> ActiveRun:
        """Open a trial's run again, to end it."""

    def finish_trial(
        self,
        run: ActiveRun,
        number: int,
        params: Mapping[str, Any],
        value: float | None = None,
        *,
        state: TrialState = "complete",
        reason: str = "",
        step: int | None = None,
        wait: bool = True,
    ) -> Any:
        """End a trial's run."""

    def finish_study(self, study: ActiveRun, results: Any = None, *, best: Any = None) -> Any:
        """Note the best trial in the study's run."""


class TrainingLogger(RunLogger, Protocol):
    """Logs all that a training can tell about itself to the run that is open: an ``EnhancedMLflowLogger``."""

    def log_config(self, config: Any) -> None:
        """Keep a configuration."""

    def log_environment_details(self) -> None:
        """Keep commit, packages and hardware."""

    def log_model_summary(self, model: Any, artifact_file: str = ..., *, input_example: Any = ...) -> None:
        """Keep the layers of a model."""

    def log_data_characteristics(
        self,
        inputs: Any,
        targets: Any = ...,
        *,
        name: str = ...,
        feature_names: Sequence[str] | None = ...,
        scaler: Any = ...,
        reference: Any = ...,
        prefix: str = ...,
    ) -> None:
        """Keep the distributions of data, and their distance from others."""

    def log_training_history(self, history: Any) -> None:
        """Keep the values of all epochs as a table and a figure."""

    def log_predictions(self, actual: Any, predicted: Any, *, prefix: str = ...) -> None:
        """Keep predictions beside what came true."""

    def log_feature_importance(
        self,
        model: Any,
        inputs: Any,
        targets: Any,
        *,
        feature_names: Sequence[str] | None = ...,
        score: Callable[[Any, Any], float] | None = ...,
        repeats: int = ...,
        seed: int = ...,
        timeout_s: float = ...,
    ) -> None:
        """Keep how much a model relies on each feature."""


class Organizer(Protocol):
    """Starts the runs of one configuration: an ``ExperimentOrganizer``."""

    @property
    def tags(self) -> Mapping[str, Any]:
        """What every run starts with."""

    def start_run(self, run_name: str | None = None, *, tags: Mapping[str, Any] | None = None) -> ActiveRun:
        """Start a run, a context manager."""
