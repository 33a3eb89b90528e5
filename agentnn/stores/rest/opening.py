"""The door to a server: over its REST API, unless only MLflow's own client knows the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError, UsageError
from agentnn.stores.rest.access import find_access
from agentnn.stores.rest.replies import NoSuchEndpoint
from agentnn.stores.rest.transport import Transport

if TYPE_CHECKING:
    from agentnn.settings import Settings
    from agentnn.stores.rest.registry import RestRegistry
    from agentnn.stores.rest.store import RestStore


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


def open_rest_registry(settings: Settings) -> RestRegistry | None:
    """The registry; ``None`` and errors as with :func:`open_transport`."""
    from agentnn.stores.rest.registry import RestRegistry

    transport = open_transport(settings.registry_uri, settings)
    return None if transport is None else RestRegistry(transport, settings.registry_uri)


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
