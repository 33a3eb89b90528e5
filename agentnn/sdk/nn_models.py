"""``ModelManager``: ask a store about experiments, runs and models, and record a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.sdk.experiment_lifecycle import ExperimentLifecycle
from agentnn.sdk.model_loading import ModelLoading
from agentnn.sdk.registry_lifecycle import RegistryLifecycle
from agentnn.sdk.run_files import RunFileAccess
from agentnn.sdk.run_judgements import RunJudgements
from agentnn.sdk.run_lifecycle import RunLifecycle
from agentnn.sdk.run_questions import RunQuestions
from agentnn.sdk.run_replay import RunReplay
from agentnn.sdk.run_search import RunSearch
from agentnn.sdk.run_transfer import RunTransfer
from agentnn.sdk.run_watching import RunWatching
from agentnn.sdk.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Mapping


class ModelManager(
    RunReplay,
    RunSearch,
    RunQuestions,
    RunFileAccess,
    RunTransfer,
    RunJudgements,
    RunWatching,
    RunLifecycle,
    ExperimentLifecycle,
    ModelLoading,
    RegistryLifecycle,
    Upkeep,
):
    """One door to experiments, runs and models.

    A run is named by a selector: its id or the first characters of it, its name, ``@last``, ``@best:METRIC``,
    ``@best:METRIC:min`` or ``models:/NAME@ALIAS``. An experiment is named by its name or id; without one, every active
    experiment is looked at, unless ``MLFLOW_EXPERIMENT_NAME`` or ``MLFLOW_EXPERIMENT_ID`` says which.

    Args:
        tracking_uri: Where runs are kept; ``MLFLOW_TRACKING_URI``, ``.env`` or ``sqlite:///mlflow.db`` otherwise.
        registry_uri: Where models are registered; the same store otherwise.
        env_file: Read this instead of the nearest ``.env``.

    Nothing is opened before the first question.
    """

    def track_run(
        self,
        name: str,
        config: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        experiment: str | None = None,
    ) -> str:
        """Record a finished run in one call.

        Args:
            name: The run's name.
            config: Params; nested mappings are flattened with dots, lists become JSON.
            metrics: Final values.
            tags: Tags.
            experiment: The experiment, made when there is none; that of the environment or ``Default`` otherwise.

        Returns:
            The run's id.

        Raises:
            UsageError: A metric is not a number.
            ConflictError: The experiment is deleted.
            StoreUnavailable: The store can't be used now; the run is kept on this machine: ``agentnn run sync``.
        """
        from agentnn.tracking.past_run import record_run

        return record_run(self.settings, name, params=config, metrics=metrics, tags=tags, experiment=experiment).run_id
