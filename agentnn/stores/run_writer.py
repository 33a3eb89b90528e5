"""What writes runs to a store, whichever it is: the contract, and the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.settings import toml_folder

if TYPE_CHECKING:
    from agentnn.settings import Settings
    from agentnn.stores.mlflow_import import MlflowImporter
    from agentnn.stores.mlflow_writer import MlflowWriter


def open_writer(settings: Settings) -> MlflowWriter:
    """Open what delivers runs to the store that the settings name."""
    from agentnn.stores.mlflow_writer import MlflowWriter

    if toml_folder(settings.tracking_uri) is not None:
        raise NotImplementedError
    return MlflowWriter(settings)


def open_importer(settings: Settings) -> MlflowImporter:
    """Open what makes whole past runs in the store that the settings name."""
    from agentnn.stores.mlflow_import import MlflowImporter

    if toml_folder(settings.tracking_uri) is not None:
        raise NotImplementedError
    return MlflowImporter(settings)
