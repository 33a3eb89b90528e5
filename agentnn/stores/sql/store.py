"""Runs and experiments in an MLflow database, read straight from its tables.

MLflow's own store needs 2 s of imports and an hour of patience; the tables answer in milliseconds. What guards this
shortcut is in docs/adr/0003: the columns are checked when the file is opened, and every answer is compared with
``MlflowClient`` on the same database in the tests.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError
from agentnn.query.selection import Best, Candidate
from agentnn.records import Artifact, Experiment, Metric, Run
from agentnn.settings import Settings
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.sql.best import best_candidates, reading_ahead_of_best
from agentnn.stores.sql.dialect import TRUE, Database, Sql
from agentnn.stores.sql.experiments import Experiments
from agentnn.stores.sql.odd_values import OddValues
from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase, sqlite_path
from agentnn.stores.sql.where import all_of, where
from agentnn.stores.sql.whole_runs import WholeRuns, metric_value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from agentnn.query.expressions import Expression
    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import BestQuery, Excluded
    from agentnn.stores.artifacts.files import RunFiles
    from agentnn.stores.base import History
    from agentnn.stores.explained.between import Between
    from agentnn.stores.measures import StoreMeasures


class SqlQuestions:
    """Questions about runs and experiments, answered from tables of MLflow's shape.

    Args:
        database: The tables.
        workspace: The MLflow workspace; tables without such a column have only one, unnamed.
    """

    def __init__(self, database: Database, *, workspace: str = "default") -> None:
        self.workspace = workspace
        self._read_from(database)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the database."""
        self._read_from(between.database(self._database))

    def _read_from(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect
        self._rows = database.rows
        self._experiments = Experiments(database, self.workspace)
        self._runs = WholeRuns(database)

    # -- experiments ------------------------------------------------------------------------------------

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return [one for one in self._experiments.by_id().values() if view in ("all", one.lifecycle_stage)]

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if experiment_id is not None:
            return self._experiments.by_id().get(experiment_id)
        return next((one for one in self._experiments.by_id().values() if one.name == name), None)

    # -- runs -------------------------------------------------------------------------------------------

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        for run_ids in self._ids_in_chunks(query):
            yield from self.find_runs(run_ids)

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = self._scope(query)
        return dict(
            self._rows(f"SELECT r.status, count(*) FROM runs r WHERE {scope.text} GROUP BY r.status", scope.values)
        )

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        names = {experiment_id: one.name for experiment_id, one in self._experiments.by_id().items()}
        return self._runs.find(run_ids, names)

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        table = {"metric": "latest_metrics", "param": "params", "tag": "tags"}[kind]
        # Jumps from key to key in the primary key's index, instead of reading every row of the table.
        keys = [
            row[0]
            for row in self._rows(
                f"WITH RECURSIVE k(key) AS (SELECT min(key) FROM {table} UNION ALL "
                f"SELECT (SELECT min(t.key) FROM {table} t WHERE t.key > k.key) FROM k WHERE k.key IS NOT NULL) "
                "SELECT key FROM k WHERE key IS NOT NULL"
            )
        ]
        scope = self._scope(query)
        inside = (
            f"SELECT 1 FROM {table} x JOIN runs r ON r.run_uuid = x.run_uuid WHERE x.key = ? AND {scope.text} LIMIT 1"
        )
        return sorted(key for key in keys if self._rows(inside, (key, *scope.values)))

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = all_of([TRUE, *self._experiments.condition("all")])
        own = f"m.run_uuid IN (SELECT r.run_uuid FROM runs r WHERE r.run_uuid = ? AND {scope.text})"
        named, integer = self._dialect.equal("m.key", key), self._dialect.integer
        rows = self._rows(
            f"SELECT m.value, m.is_nan, {integer('m.step')}, {integer('m.timestamp')} FROM metrics m "
            f"WHERE {own} AND {named.text} ORDER BY m.step, m.timestamp, m.value",
            (run_id, *scope.values, *named.values),
        )
        return [Metric(key, metric_value(value, is_nan), step, time) for value, is_nan, step, time in rows]

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.sql.histories import metric_histories  # most commands ask for none

        scope = all_of([TRUE, *self._experiments.condition("all")])
        return metric_histories(self._database, runs, keys, scope, metric_value)

    # -- best -------------------------------------------------------------------------------------------

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = self._scope(query.scope)
        odd = OddValues()
        with reading_ahead_of_best(self._database, query), self._tallying(query, scope) as tally:
            ranked = self._ranked(query, scope, odd if query.tally else None)
            runs = {run.run_id: run for run in self.find_runs([run_id for run_id, _ in ranked])}
            counted = () if tally is None else tally(odd)
        candidates = tuple(Candidate(runs[run_id], value) for run_id, value in ranked if run_id in runs)
        return Best(candidates, *counted)

    # -- how --------------------------------------------------------------------------------------------

    def _ids_in_chunks(self, query: RunQuery) -> Iterator[Sequence[str]]:
        from agentnn.stores.sql.search import ids_in_chunks  # the best run is found without

        return ids_in_chunks(self._database, query, self._scope(query))

    def _tallying(
        self, query: BestQuery, scope: Sql
    ) -> AbstractContextManager[Callable[[OddValues], tuple[int, Excluded]] | None]:
        if not query.tally:
            return nullcontext()
        from agentnn.stores.sql.tallying import tallying  # not all want to know

        return tallying(self._database, query, scope)

    def _ranked(self, query: BestQuery, scope: Sql, odd: OddValues | None) -> list[tuple[str, float]]:
        return best_candidates(self._database, query, scope, odd)

    def _condition(self, expression: Expression) -> Sql:
        return where(expression, self._dialect, datasets=self._runs.has_datasets)

    def _scope(self, query: RunQuery) -> Sql:
        """Which runs a query is about, as a condition on ``runs r``."""
        conditions = [] if query.view == "all" else [Sql("r.lifecycle_stage = ?", (query.view,))]
        if query.experiment_ids is not None:
            conditions.append(self._dialect.one_of("r.experiment_id", self._keys_of(query.experiment_ids)))
            conditions += self._experiments.condition("all")
        else:
            conditions += self._experiments.condition(query.view)
        if query.filter is not None:
            conditions.append(self._condition(query.filter))
        return all_of(conditions)

    def _keys_of(self, experiment_ids: Sequence[str]) -> Sequence[Any]:
        """Experiment ids as the tables keep them, without those that none can have."""
        return [int(one) for one in experiment_ids if is_experiment_id(one)]


class MlflowTables(SqlQuestions):
    """Questions that MLflow's own tables answer, where files lie among them.

    Args:
        database: The tables.
        uri: Names the database, without a password.
        workspace: The MLflow workspace.
        settings: Name the store; the files of runs are reached by what else they say.

    Raises:
        NotFoundError: There is no such workspace.
    """

    def __init__(self, database: Database, uri: str, *, workspace: str, settings: Settings) -> None:
        super().__init__(database, workspace=workspace)
        self.uri = uri
        self._settings = settings
        self._check_workspace()

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self.run_files(run).entries(path)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.sql.files import run_files  # most commands ask for no file, and start sooner without

        experiment = self._experiments.by_id().get(run.experiment_id)
        location = experiment.artifact_location if experiment is not None else None
        return run_files(self._database, run, location, self._settings)

    def _check_workspace(self) -> None:
        known = None if self.workspace == "default" else self._experiments.known_workspaces()
        if known is not None and self.workspace not in known:
            raise NotFoundError(
                f"there is no workspace {self.workspace!r} in {self.uri}",
                candidates=tuple(sorted(known)),
                hint=f"MLFLOW_WORKSPACE is one of {', '.join(sorted(known))}",
            )


class SqlStore(MlflowTables):
    """Reads an MLflow SQLite database.

    Args:
        uri: ``sqlite:///path/to/mlflow.db``.
        workspace: The MLflow workspace; databases from before MLflow 3.10 have only one, unnamed.
        settings: What else the user has set; the files of runs are reached by it.
        lock_timeout_s: How long to wait for a writer that holds the file.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql.sqlite_file.ReadOnlyDatabase`.
        NotFoundError: There is no such workspace.
    """

    _database: ReadOnlyDatabase

    def __init__(
        self,
        uri: str,
        *,
        workspace: str = "default",
        settings: Settings | None = None,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        database = ReadOnlyDatabase(sqlite_path(uri), lock_timeout_s=lock_timeout_s)
        super().__init__(database, uri, workspace=workspace, settings=settings or Settings(uri, workspace=workspace))

    def search_run_ids(self, query: RunQuery) -> Iterator[str]:
        """See :class:`~agentnn.stores.base.FindsIds`."""
        return chain.from_iterable(self._ids_in_chunks(query))

    def measure(self) -> StoreMeasures:
        """See :class:`~agentnn.stores.measures.MeasuresItself`."""
        from agentnn.stores.sql.measures import measure_sqlite

        return measure_sqlite(self._database)
