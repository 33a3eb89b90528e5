"""The model registry of any store that MLflow knows, read through MLflow's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, UsageError
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import RUNS_IN_A_FILTER, make_client, pages
from agentnn.stores.mlflow.entities import aliases_by_version, model_of, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow import MlflowClient

    from agentnn.records import ModelVersion, RegisteredModel
    from agentnn.settings import Settings
    from agentnn.stores.explained.between import Between


class MlflowClientRegistry:
    """Reads the model registry through ``MlflowClient``.

    Args:
        uri: A registry URI that MLflow can open.
        settings: Where credentials come from.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        self.uri = uri
        self._settings = settings
        self._client = make_client(uri, settings)

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the client."""
        self._client = between.client(self._client)

    def list_models(self) -> list[RegisteredModel]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        with mlflow_call(self._settings):
            models = list(pages(self._client.search_registered_models))
            # A search gives no aliases: https://github.com/mlflow/mlflow/issues/16734
            models = [self._client.get_registered_model(one.name) for one in models]
        return sorted((model_of(one, self._versions(one)) for one in models), key=lambda one: one.name)

    def find_model(self, name: str) -> RegisteredModel | None:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        found = self._find(name)
        return None if found is None else model_of(found, self._versions(found))

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        model = self._find(name)
        return [] if model is None else self._versions(model)

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        wanted = [run_id for run_id in run_ids if run_id.isalnum()]
        found: list[Any] = []
        with mlflow_call(self._settings):
            for start in range(0, len(wanted), RUNS_IN_A_FILTER):
                ids = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + RUNS_IN_A_FILTER])
                found += pages(self._client.search_model_versions, filter_string=f"run_id IN ({ids})")
            # As with a search of models, what it gives may lack the aliases.
            models = [self._client.get_registered_model(name) for name in sorted({one.name for one in found})]
        held = {model.name: aliases_by_version(model) for model in models}
        versions = [version_of(one, held[one.name].get(int(one.version), ())) for one in found]
        return sorted(versions, key=lambda one: (one.name, -one.version))

    def _find(self, name: str) -> Any:
        if not name:
            return None
        try:
            with mlflow_call(self._settings):
                return self._client.get_registered_model(name)
        except (NotFoundError, UsageError):  # a name that no model can have is simply not there
            return None

    def _versions(self, model: Any) -> list[ModelVersion]:
        with mlflow_call(self._settings):
            found = search_versions(self._client, model.name)
        aliases = aliases_by_version(model)
        versions = [version_of(one, aliases.get(int(one.version), ())) for one in found]
        return sorted(versions, key=lambda one: -one.version)


def search_versions(client: MlflowClient, name: str) -> list[Any]:
    """The versions of a model, as MLflow's client finds them."""
    quote = next((one for one in "'\"" if one not in name), None)
    # A name with both kinds of quotes can't be written in MLflow's filter.
    only = f"name={quote}{name}{quote}" if quote else None
    return [one for one in pages(client.search_model_versions, filter_string=only) if one.name == name]
