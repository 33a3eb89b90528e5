"""Writing to the model registry, whichever the store: the contract, and the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agentnn.settings import toml_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.records import RegisteredModel
    from agentnn.settings import Settings


class RegistryChanges(Protocol):
    """Writes to a registry, one method a request.

    A name that MLflow keeps for a prompt is one that no model has.
    """

    def read(self, name: str) -> RegisteredModel:
        """The tags and aliases of a model, and nothing else of it.

        Raises:
            NotFoundError: There is no such model.
        """

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a model."""

    def delete_tag(self, name: str, key: str) -> None:
        """Take a tag off a model, if it has it."""

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias point to a version, whatever it pointed to before."""

    def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away, if there is one."""

    def set_stage(self, name: str, version: int, stage: str) -> None:
        """Put a version into a stage, beside the versions that are in it."""

    def create_version(
        self,
        name: str,
        run_id: str,
        artifact_path: str,
        *,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> int:
        """Make a version of a registered model, which is made too when there is none.

        Args:
            name: The registered model.
            run_id: The run that holds the model.
            artifact_path: The model's folder in the run.
            tags: Tags of the version.
            description: What the version is, in words.

        Returns:
            The version number.

        Raises:
            UsageError: MLflow refuses the name or a tag.
        """

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version for good; its aliases go with it, its files stay.

        Raises:
            NotFoundError: There is no such version.
        """

    def delete_model(self, name: str) -> None:
        """Delete a model for good, with all versions, aliases and tags; files stay.

        Raises:
            NotFoundError: There is no such model.
        """


def open_registry_changes(settings: Settings) -> RegistryChanges:
    """Open what writes to the registry that the settings name.

    Raises:
        UsageError: The registry is a database whose schema MLflow would have to migrate first, or a store of TOML runs.
        StoreUnavailable: The registry can't be reached, or there can be none.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """
    if toml_folder(settings.registry_uri) is not None:
        from agentnn.stores.toml.asking.registry import no_registry

        raise no_registry()
    from agentnn.stores.rest.address import is_server

    if is_server(settings.registry_uri) and is_server(settings.tracking_uri):
        from agentnn.stores.rest.opening import open_rest_registry_changes

        served = open_rest_registry_changes(settings)
        if served is not None:
            return served
    from agentnn.stores.mlflow.registry_changes import MlflowRegistryChanges

    return MlflowRegistryChanges(settings)
