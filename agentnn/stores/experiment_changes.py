"""Making and changing experiments, whichever the store: the contract, and the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agentnn.errors import UsageError
from agentnn.settings import toml_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.settings import Settings


class ExperimentChanges(Protocol):
    """Changes experiments, one at a time."""

    def stage_of(self, name: str) -> str | None:
        """The life-cycle stage of the experiment that holds a name; ``None`` when none does."""

    def create(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> str:
        """Make an experiment; its id.

        Raises:
            ConflictError: The name is taken.
            UsageError: The store refuses the name, the location or a tag.
        """

    def rename(self, experiment_id: str, name: str) -> None:
        """Give an experiment another name."""

    def set_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""

    def delete_tag(self, experiment_id: str, key: str) -> None:
        """Take a tag off an experiment, if it has it."""

    def delete(self, experiment_id: str) -> None:
        """Move an experiment and its runs to the deleted ones."""

    def restore(self, experiment_id: str) -> None:
        """Bring an experiment and all its runs back."""


def open_experiment_changes(settings: Settings, *, create: bool = False) -> ExperimentChanges:
    """Open what changes experiments of the store that the settings name.

    Args:
        settings: Name the store.
        create: Make the store when there is none yet.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
        StoreUnavailable: The store can't be reached, or there can be none.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """
    if toml_folder(settings.tracking_uri) is not None:
        from agentnn.stores.toml.writing.project_changes import TomlExperimentChanges

        return TomlExperimentChanges(settings)
    from agentnn.stores.mlruns.place import mlruns_folder

    if mlruns_folder(settings) is not None:
        from agentnn.stores.mlruns.experiment_changes import MlrunsExperimentChanges

        return MlrunsExperimentChanges(settings)
    from agentnn.stores.rest.address import is_server

    if is_server(settings.tracking_uri):
        from agentnn.stores.rest.opening import open_rest_experiment_changes

        served = open_rest_experiment_changes(settings)
        if served is not None:
            return served
    from agentnn.stores.mlflow.experiment_changes import MlflowExperimentChanges

    return MlflowExperimentChanges(settings, create=create)


def check_location(artifact_location: str | None) -> None:
    """Refuse a place that is no place for the files of an experiment's runs, as MLflow's client does.

    Raises:
        UsageError: It is the address of a run's files.
    """
    if artifact_location and artifact_location.startswith("runs:"):
        raise UsageError(f"{artifact_location} is the address of a run's files", hint="name a folder or an address")
