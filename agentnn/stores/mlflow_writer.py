"""Writing whole runs and model versions, through MLflow's own client and by explicit run id."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, NotFoundError, UsageError
from agentnn.stores.mlflow_calls import mlflow_call
from agentnn.stores.mlflow_client import check_before_writing, find_logged_model, make_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from agentnn.settings import Settings
    from agentnn.stores.new_run import NewRun

_METRIC_BATCH = 1000
_TEXT_BATCH = 100


class MlflowWriter:
    """Writes to the store and the registry that the settings name.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        check_before_writing(settings.tracking_uri)
        self._client: MlflowClient = make_client(settings.tracking_uri, settings, read=False)

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment with this name, or else with this id; it is made when there is neither.

        Raises:
            ConflictError: A deleted experiment holds the name.
        """
        found = self._find_experiment(name)
        if found is None:
            with mlflow_call(self._settings, read=False):
                return str(self._client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it: mlflow experiments restore -x {found.experiment_id}",
            )
        return str(found.experiment_id)

    def _find_experiment(self, name: str) -> Any:
        with mlflow_call(self._settings, read=False):
            found = self._client.get_experiment_by_name(name)
        if found is None and name.isdecimal():
            with suppress(NotFoundError), mlflow_call(self._settings, read=False):
                return self._client.get_experiment(name)
        return found

    def write_run(self, experiment_id: str, run: NewRun) -> str:
        """Write a run; it is marked FAILED when something of it can't be written.

        Returns:
            The run's id.

        Raises:
            UsageError: An artifact folder is not there; nothing was written.
        """
        for path, folder in run.artifacts.items():
            if not folder.is_dir():
                raise UsageError(f"there is no folder {folder} to store as {path!r}")
        with mlflow_call(self._settings, read=False):
            from mlflow.tracking.context.registry import resolve_tags

            created = self._client.create_run(
                experiment_id, start_time=run.start_time, tags=resolve_tags(dict(run.tags)), run_name=run.name
            )
            run_id: str = created.info.run_id
        try:
            self._log(run_id, run)
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with suppress(AgentNNError), mlflow_call(self._settings, read=False):
                self._client.set_terminated(run_id, status)
            raise
        with mlflow_call(self._settings, read=False):
            self._client.set_terminated(run_id, run.status, run.end_time)
        return run_id

    def register_model(self, name: str, run_id: str, artifact_path: str, alias: str | None = None) -> int:
        """Make a version of a registered model, which is made too when there is none.

        Args:
            name: The registered model.
            run_id: The run that holds the model.
            artifact_path: The model's folder in the run.
            alias: An alias to set on the new version, taken from the version that had it.

        Returns:
            The version number.
        """
        with suppress(ConflictError), mlflow_call(self._settings, read=False):  # it may be there already
            self._client.create_registered_model(name)
        with mlflow_call(self._settings, read=False):
            logged = find_logged_model(self._client, self._settings, run_id, artifact_path)
            root = self._client.get_run(run_id).info.artifact_uri
            source = f"models:/{logged.model_id}" if logged else f"{root}/{artifact_path}"
            extra = {"model_id": logged.model_id} if logged else {}
            version = self._client.create_model_version(name, source, run_id, **extra)
            if alias is not None:
                self._client.set_registered_model_alias(name, alias, version.version)
            return int(version.version)

    def _log(self, run_id: str, run: NewRun) -> None:
        with mlflow_call(self._settings, read=False):
            from mlflow.entities import Metric as MlflowMetric
            from mlflow.entities import Param

            params = [Param(key, value) for key, value in run.params.items()]
            points = [MlflowMetric(one.key, one.value, one.timestamp, one.step) for one in run.points]
            for batch in _batches(params, _TEXT_BATCH):
                self._client.log_batch(run_id, params=batch)
            for batch in _batches(points, _METRIC_BATCH):
                self._client.log_batch(run_id, metrics=batch)
            for path, folder in run.artifacts.items():
                self._client.log_artifacts(run_id, str(folder), path)


def _batches(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
