"""The door to a server: over its REST API, unless only MLflow's own client knows the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, UsageError
from agentnn.stores.rest.access import find_access
from agentnn.stores.rest.replies import NoSuchEndpoint
from agentnn.stores.rest.transport import Transport

if TYPE_CHECKING:
    from agentnn.settings import Settings
    from agentnn.stores.rest.experiment_changes import RestExperimentChanges
    from agentnn.stores.rest.importer import RestImporter
    from agentnn.stores.rest.registry import RestRegistry
    from agentnn.stores.rest.registry_changes import RestRegistryChanges
    from agentnn.stores.rest.run_changes import RestRunChanges
    from agentnn.stores.rest.store import RestStore
    from agentnn.stores.rest.writer import RestWriter


def open_transport(uri: str, settings: Settings) -> Transport | None:
    """What asks a server; ``None`` where only MLflow's own client knows the way to it.

    Raises:
        UsageError: The URI or a variable is wrong, or the server has no workspaces.
        StoreUnavailable: It does not say whether it has the workspace that is wanted.
    """
    access = find_access(uri, settings)
    if access is None:
        return None
    secrets = (*settings.secrets.values(), access.address.password)
    transport = Transport(access, [secret for secret in secrets if secret])
    if access.workspace != "default":
        _check_workspaces(transport, access.workspace)
    return transport


def open_rest_store(settings: Settings) -> RestStore | None:
    """The store of runs; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.store import RestStore

    transport = open_transport(settings.tracking_uri, settings)
    return None if transport is None else RestStore(transport, settings)


def open_rest_writer(settings: Settings) -> RestWriter | None:
    """What delivers runs; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.writer import RestWriter

    transport = open_transport(settings.tracking_uri, settings)
    return None if transport is None else RestWriter(transport, settings)


def open_rest_importer(settings: Settings) -> RestImporter | None:
    """What makes whole past runs; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.importer import RestImporter

    transport = open_transport(settings.tracking_uri, settings)
    return None if transport is None else RestImporter(transport, settings)


def open_rest_registry(settings: Settings) -> RestRegistry | None:
    """The registry; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.registry import RestRegistry

    transport = open_transport(settings.registry_uri, settings)
    return None if transport is None else RestRegistry(transport, settings.registry_uri)


def open_rest_run_changes(settings: Settings) -> RestRunChanges | None:
    """What changes runs; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.run_changes import RestRunChanges

    transport = open_transport(settings.tracking_uri, settings)
    return None if transport is None else RestRunChanges(transport)


def open_rest_experiment_changes(settings: Settings) -> RestExperimentChanges | None:
    """What changes experiments; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.experiment_changes import RestExperimentChanges

    transport = open_transport(settings.tracking_uri, settings)
    return None if transport is None else RestExperimentChanges(transport)


def open_rest_registry_changes(settings: Settings) -> RestRegistryChanges | None:
    """What writes to the registry; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.registry_changes import RestRegistryChanges

    transport = open_transport(settings.registry_uri, settings)
    runs = transport
    if settings.tracking_uri != settings.registry_uri:
        runs = open_transport(settings.tracking_uri, settings)
    return None if transport is None or runs is None else RestRegistryChanges(transport, runs)


def _check_workspaces(transport: Transport, workspace: str) -> None:
    """A server without workspaces would answer with the runs of all."""
    try:
        has_some = transport.get("/api/3.0/mlflow/server-info").get("workspaces_enabled") is True
    except (NoSuchEndpoint, NotFoundError):
        has_some = False
    if not has_some:
        raise UsageError(
            f"the server has no workspaces, and MLFLOW_WORKSPACE is {workspace!r}",
            hint="unset it, or start the server with --enable-workspaces",
        )
