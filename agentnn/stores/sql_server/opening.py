"""The door to database servers: which URIs are answered by SQL, and which are left to MLflow."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from agentnn.stores.sql_server.address import server_kind

if TYPE_CHECKING:
    from agentnn.settings import Settings
    from agentnn.stores.sql_server.store import ServerRegistry, ServerStore


def open_server_store(settings: Settings) -> ServerStore | None:
    """The runs of a database server; ``None`` where only MLflow's client can read them.

    Raises:
        UsageError, StoreUnavailable, MissingDependencyError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql_server.database.ServerDatabase`.
        NotFoundError: There is no such workspace.
    """
    if not _is_read_here(settings.tracking_uri):
        return None
    from agentnn.stores.sql_server.store import ServerStore

    return ServerStore(settings.tracking_uri, workspace=settings.workspace, settings=settings)


def open_server_registry(settings: Settings) -> ServerRegistry | None:
    """The models of a database server; ``None`` where only MLflow's client can read them.

    Raises:
        UsageError, StoreUnavailable, MissingDependencyError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql_server.database.ServerDatabase`.
    """
    if not _is_read_here(settings.registry_uri):
        return None
    from agentnn.stores.sql_server.store import ServerRegistry

    return ServerRegistry(settings.registry_uri, workspace=settings.workspace)


def _is_read_here(uri: str) -> bool:
    """Whether it names a server by a driver that MLflow documents, and no other driver is meant."""
    if server_kind(uri) is None:
        return False
    means_mysqlclient = "+" not in uri.partition(":")[0] and server_kind(uri) == "mysql"
    return not means_mysqlclient or find_spec("pymysql") is not None
