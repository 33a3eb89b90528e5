"""Runs, experiments and models on a database server, as a store and a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.settings import Settings
from agentnn.stores.sql.mlflow_tables import MODEL_TABLES, RUN_TABLES
from agentnn.stores.sql.registry import ModelTables
from agentnn.stores.sql.store import MlflowTables
from agentnn.stores.sql.where import where
from agentnn.stores.sql_server.address import parse_address
from agentnn.stores.sql_server.means import best_by_mean
from agentnn.stores.sql_server.newest import newest_filtered_ids, newest_ids
from agentnn.stores.sql_server.ordering import ids_sorted_here, is_sorted_here
from agentnn.stores.sql_server.resolving import resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.expressions import Expression
    from agentnn.query.runs import FieldKind, RunQuery
    from agentnn.query.selection import BestQuery
    from agentnn.records import Run
    from agentnn.stores.measures import StoreMeasures
    from agentnn.stores.sql.dialect import Sql
    from agentnn.stores.sql.mlflow_tables import Tables
    from agentnn.stores.sql.odd_values import OddValues
    from agentnn.stores.sql_server.database import ServerDatabase

_MOST_AT_ONCE = 1000
"""Runs that one statement reads; more of them are read from a snapshot."""


def open_database(uri: str, required: Tables) -> ServerDatabase:
    """Open the database that a URI names.

    Raises:
        UsageError, StoreUnavailable, MissingDependencyError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql_server.database.ServerDatabase`.
    """
    address = parse_address(uri)
    if address.kind == "postgresql":
        from agentnn.stores.sql_server.postgres import PostgresDatabase

        return PostgresDatabase(address, required)
    from agentnn.stores.sql_server.mysql import MySqlDatabase

    return MySqlDatabase(address, required)


class ServerTables(MlflowTables):
    """Questions that MLflow's tables on a database server answer."""

    _database: ServerDatabase

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if query.limit is not None and query.limit <= _MOST_AT_ONCE:
            yield from super().search_runs(query)
            return
        with self._database.snapshot() as database:
            view = ServerTables(database, self.uri, workspace=self.workspace, settings=self._settings)
            yield from super(ServerTables, view).search_runs(query)

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.sql_server.names import keys_in_scope

        return keys_in_scope(self._database, kind, self._scope(query))

    def _ids_in_chunks(self, query: RunQuery) -> Iterator[Sequence[str]]:
        if is_sorted_here(query.order_by):
            return ids_sorted_here(self._database, query.order_by, self._scope(query), query.limit)
        found = self._newest(query)
        return super()._ids_in_chunks(query) if found is None else iter([found])

    def _newest(self, query: RunQuery) -> list[str] | None:
        """The ids by a shorter way, where there is one."""
        if query.order_by or query.limit is None:
            return None
        scope = self._scope(query._replace(filter=None))
        if query.filter is not None:
            return newest_filtered_ids(self._database, scope, self._condition(query.filter), query.limit)
        return newest_ids(self._database, scope, query.limit) if query.limit <= _MOST_AT_ONCE else None

    def _ranked(self, query: BestQuery, scope: Sql, odd: OddValues | None) -> list[tuple[str, float]]:
        if query.aggregate == "mean":
            return best_by_mean(self._database, query, scope)
        return super()._ranked(query, scope, odd)

    def _condition(self, expression: Expression) -> Sql:
        has_datasets = self._runs.has_datasets
        asked = resolved(expression, self._database, datasets=has_datasets)
        return where(asked, self._dialect, datasets=has_datasets)


class ServerStore(ServerTables):
    """Reads an MLflow database on PostgreSQL, MySQL or MariaDB.

    Args:
        uri: As MLflow takes it, such as ``postgresql://user:password@host/database``.
        workspace: The MLflow workspace.
        settings: What else the user has set; the files of runs are reached by it.

    Raises:
        UsageError, StoreUnavailable, MissingDependencyError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql_server.database.ServerDatabase`.
        NotFoundError: There is no such workspace.
    """

    def __init__(self, uri: str, *, workspace: str = "default", settings: Settings | None = None) -> None:
        database = open_database(uri, RUN_TABLES)
        known = settings or Settings(uri, workspace=workspace)
        super().__init__(database, database.address.uri, workspace=workspace, settings=known)

    def measure(self) -> StoreMeasures:
        """See :class:`~agentnn.stores.measures.MeasuresItself`."""
        from agentnn.stores.sql_server.measures import measure_server

        return measure_server(self._database)


class ServerRegistry(ModelTables):
    """Reads the registry of an MLflow database on PostgreSQL, MySQL or MariaDB.

    Args:
        uri: As MLflow takes it.
        workspace: The MLflow workspace.

    Raises:
        UsageError, StoreUnavailable, MissingDependencyError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql_server.database.ServerDatabase`.
    """

    def __init__(self, uri: str, *, workspace: str = "default") -> None:
        super().__init__(open_database(uri, MODEL_TABLES), workspace=workspace)
