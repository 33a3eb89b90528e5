"""What every façade stands on: the settings, and the store and the registry that they name, opened when first asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import find_experiment
from agentnn.settings import Settings
from agentnn.stores.base import open_registry, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentnn.query.expressions import Expression
    from agentnn.query.runs import View
    from agentnn.stores.base import ModelRegistry, TrackingStore
    from agentnn.stores.mlflow_writer import MlflowWriter


class StoreAccess:
    """Opens what the settings name; see :class:`~agentnn.sdk.nn_models.ModelManager` for the arguments."""

    def __init__(
        self,
        tracking_uri: str | Path | None = None,
        *,
        registry_uri: str | None = None,
        env_file: str | Path | None = None,
    ) -> None:
        self.settings = Settings.load(tracking_uri, registry_uri=registry_uri, env_file=env_file)

    @cached_property
    def _store(self) -> TrackingStore:
        return open_store(self.settings)

    @cached_property
    def _registry(self) -> ModelRegistry:
        return open_registry(self.settings)

    def writer(self) -> MlflowWriter:
        """What writes whole runs and model versions to the store.

        Raises:
            UsageError: The store is a database whose schema MLflow would have to migrate first.
        """
        from agentnn.stores.mlflow_writer import MlflowWriter  # loads MLflow, which no read does

        return MlflowWriter(self.settings)

    def _scope(self, experiment: str | Sequence[str] | None, filter_text: str | None, view: View) -> RunQuery:
        """The runs that a question is about: those of the experiments named here, or else by the environment."""
        names = [experiment] if isinstance(experiment, str) else list(experiment or ())
        names = names or [name for name in (self._environment_experiment(),) if name is not None]
        ids = tuple(dict.fromkeys(find_experiment(name, self._store).experiment_id for name in names))
        return RunQuery(ids or None, _parsed(filter_text), view=view)

    def _environment_experiment(self) -> str | None:
        """The experiment that ``MLFLOW_EXPERIMENT_NAME`` or ``MLFLOW_EXPERIMENT_ID`` names; both must name the same."""
        name, identifier = self.settings.experiment_name, self.settings.experiment_id
        if name and identifier and find_experiment(name, self._store).experiment_id != identifier:
            raise UsageError(
                f"MLFLOW_EXPERIMENT_NAME={name} and MLFLOW_EXPERIMENT_ID={identifier} name two experiments",
                hint="unset one of them",
            )
        return name or identifier


def _parsed(text: str | None) -> Expression | None:
    if not text:
        return None
    from agentnn.query.filters import (
        parse_filter,
    )  # most questions have no filter, and its patterns take time to compile

    return parse_filter(text)
