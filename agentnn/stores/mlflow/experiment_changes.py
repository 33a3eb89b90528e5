"""Making and changing experiments through MLflow's own client, one method a request."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import check_before_writing, make_client
from agentnn.stores.mlflow.schema import ensure_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from mlflow import MlflowClient

    from agentnn.settings import Settings


class MlflowExperimentChanges:
    """Changes experiments of any store that MLflow knows; see
    :class:`~agentnn.stores.experiment_changes.ExperimentChanges`.

    Args:
        settings: Name the store.
        create: Make the store when there is none yet.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
        StoreUnavailable: The store can't be reached, or there can be none.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """

    def __init__(self, settings: Settings, *, create: bool = False) -> None:
        self._settings = settings
        if create:
            ensure_schema(settings)
        check_before_writing(settings.tracking_uri)
        self._client: MlflowClient = make_client(settings.tracking_uri, settings, read=False)

    def stage_of(self, name: str) -> str | None:
        """The life-cycle stage of the experiment that holds a name; ``None`` when none does."""
        with self._call(read=True):
            found = self._client.get_experiment_by_name(name)
        return None if found is None else str(found.lifecycle_stage)

    def create(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> str:
        """Make an experiment; its id.

        Raises:
            ConflictError: The name is taken.
            UsageError: MLflow refuses the name, the location or a tag.
        """
        with self._call():
            return str(self._client.create_experiment(name, artifact_location, dict(tags)))

    def rename(self, experiment_id: str, name: str) -> None:
        """Give an experiment another name."""
        with self._call():
            self._client.rename_experiment(experiment_id, name)

    def set_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        with self._call():
            self._client.set_experiment_tag(experiment_id, key, value)

    def delete_tag(self, experiment_id: str, key: str) -> None:
        """Take a tag off an experiment, if it has it."""
        with suppress(NotFoundError), self._call():
            self._client.delete_experiment_tag(experiment_id, key)

    def delete(self, experiment_id: str) -> None:
        """Move an experiment and its runs to the deleted ones."""
        with self._call():
            self._client.delete_experiment(experiment_id)

    def restore(self, experiment_id: str) -> None:
        """Bring an experiment and all its runs back."""
        with self._call():
            self._client.restore_experiment(experiment_id)

    def _call(self, *, read: bool = False) -> AbstractContextManager[None]:
        return mlflow_call(self._settings, read=read)
