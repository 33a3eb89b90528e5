"""Who stands between a store and its source, of whatever kind, for as long as somebody looks on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agentnn.query.explanation import Plan
from agentnn.stores.explained import plans
from agentnn.stores.measures import CLIENT, FOLDER, SERVER, TOML, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentnn.query.explanation import Explanation, Step
    from agentnn.query.runs import RunQuery
    from agentnn.query.selection import BestQuery
    from agentnn.stores.history_cache import HistoryCache
    from agentnn.stores.mlruns.scanning import FolderScan
    from agentnn.stores.rest.transport import Transport
    from agentnn.stores.sql.dialect import Database
    from agentnn.stores.toml.index.index import Index

    Source = TypeVar("Source")
    Planner = Callable[[RunQuery | BestQuery, Sequence[Step]], Plan]


class Between:
    """Puts an onlooker before whatever a store reads from.

    Args:
        explanation: Is told what goes by.

    Attributes:
        reader: What kind of reader the store turned out to be; empty until it has shown its source.
    """

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        self._planner: Planner | None = None
        self.reader = ""
        self._software: Callable[[], str] = str

    def software(self) -> str:
        """What the store runs on, which a server is asked for; empty where it can't be told at once."""
        return "" if any(step.problem for step in self._explanation.steps) else self._software()

    def plan(self, query: RunQuery | BestQuery, steps: Sequence[Step]) -> Plan:
        """Who did what of a question."""
        return Plan() if self._planner is None else self._planner(query, steps)

    def database(self, database: Database) -> Database:
        """Tables that are read with SQL."""
        from agentnn.stores.explained.database import SeenDatabase

        product = getattr(database, "product", "")
        self.reader = self.reader or tables_of(product or "SQLite")
        self._planner = partial(plans.of_database_server, database) if product else plans.of_sqlite
        self._software = str if product else _sqlite
        return SeenDatabase(database, self._explanation)

    def transport(self, transport: Transport) -> Transport:
        """What asks a server."""
        from agentnn.stores.explained.transport import SeenTransport

        self.reader = SERVER
        self._software = partial(_mlflow_behind, transport)
        self._planner = plans.of_server
        return cast("Transport", SeenTransport(transport, self._explanation))

    def folder(self, scan: FolderScan) -> FolderScan:
        """What looks through a folder of runs."""
        from agentnn.stores.explained.folder import SeenFolder

        self.reader = FOLDER
        self._planner = plans.of_folder
        return cast("FolderScan", SeenFolder(scan, self._explanation))

    def index(self, index: Index) -> Index:
        """What keeps the tables of TOML files up to date, which :meth:`database` is given too."""
        from agentnn.stores.explained.index import SeenIndex

        self.reader = TOML
        return cast("Index", SeenIndex(index, self._explanation))

    def cache(self, cache: HistoryCache) -> HistoryCache:
        """What a store has kept of histories."""
        from agentnn.stores.explained.cache import SeenCache

        return cast("HistoryCache", SeenCache(cache, self._explanation))

    def client(self, client: Any) -> Any:
        """MLflow's own client."""
        from agentnn.stores.explained.client import SeenClient

        self.reader = CLIENT
        self._planner = plans.of_client
        return SeenClient(client, self._explanation)


def _sqlite() -> str:
    from sqlite3 import sqlite_version

    return f"SQLite {sqlite_version}"


def _mlflow_behind(transport: Transport) -> str:
    from agentnn.stores.rest.measures import server_version

    version = server_version(transport)
    return f"MLflow {version}" if version else ""


class Withdrawing(Between):
    """Takes the onlooker away again: what a store reads from is what it was."""

    def database(self, database: Database) -> Database:
        """The tables themselves."""
        return _itself(database)

    def transport(self, transport: Transport) -> Transport:
        """What asks the server itself."""
        return _itself(transport)

    def folder(self, scan: FolderScan) -> FolderScan:
        """The scan itself."""
        return _itself(scan)

    def index(self, index: Index) -> Index:
        """The index itself."""
        return _itself(index)

    def cache(self, cache: HistoryCache) -> HistoryCache:
        """The cache itself."""
        return _itself(cache)

    def client(self, client: Any) -> Any:
        """The client itself."""
        return _itself(client)


def _itself(source: Source) -> Source:
    return cast("Source", source.inner) if isinstance(source, Seen) else source


class Seen:
    """A source that somebody looks at; what is not looked at goes straight to it.

    Args:
        inner: The source itself.
        explanation: Is told what goes by.
    """

    def __init__(self, inner: Any, explanation: Explanation) -> None:
        self.inner = inner
        self._explanation = explanation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
