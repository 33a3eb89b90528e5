"""Runs and experiments in an MLflow database, read straight from its tables.

MLflow's own store needs 2 s of imports and an hour of patience; the tables answer in milliseconds. What guards this
shortcut is in docs/adr/0003: the columns are checked when the file is opened, and every answer is compared with
``MlflowClient`` on the same database in the tests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError, NotFoundError
from agentnn.query.selection import Best, Candidate
from agentnn.records import RUN_NAME_TAG, Artifact, DatasetInput, Experiment, Metric, Run
from agentnn.settings import Settings
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.sql.best import best_candidates, tally
from agentnn.stores.sql.dialect import TRUE, Database, Sql
from agentnn.stores.sql.sqlite_file import LOCK_TIMEOUT_S, ReadOnlyDatabase, sqlite_path
from agentnn.stores.sql.where import LARGEST, all_of, where

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.query.expressions import Expression
    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import BestQuery
    from agentnn.stores.artifacts.files import RunFiles
    from agentnn.stores.base import History
    from agentnn.stores.explained.between import Between
    from agentnn.stores.measures import StoreMeasures

_CHUNK = 1000


class SqlQuestions:
    """Questions about runs and experiments, answered from tables of MLflow's shape.

    Args:
        database: The tables.
        workspace: The MLflow workspace; tables without such a column have only one, unnamed.
    """

    def __init__(self, database: Database, *, workspace: str = "default") -> None:
        self._database = database
        self._dialect = database.dialect
        self._rows = database.rows
        self.workspace = workspace

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the database."""
        self._database = between.database(self._database)
        self._rows = self._database.rows

    # -- experiments ------------------------------------------------------------------------------------

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return [one for one in self._experiments.values() if view in ("all", one.lifecycle_stage)]

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if experiment_id is not None:
            return self._experiments.get(experiment_id)
        return next((one for one in self._experiments.values() if one.name == name), None)

    @property
    def _experiments(self) -> dict[str, Experiment]:
        has = self._experiment_columns
        integer, text = self._dialect.integer, self._dialect.text
        timed = "creation_time" in has
        creation, update = (integer("creation_time"), integer("last_update_time")) if timed else ("NULL", "NULL")
        condition, values = ("WHERE workspace = ?", (self.workspace,)) if "workspace" in has else ("", ())
        rows = self._rows(
            f"SELECT experiment_id, {text('name')}, {text('lifecycle_stage')}, {text('artifact_location')}, "
            f"{creation} AS born, {update} "
            f"FROM experiments {condition} ORDER BY {self._dialect.descending('born')}, experiment_id",
            values,
        )
        tags: dict[int, dict[str, str]] = {}
        for experiment_id, key, value in self._rows(
            f"SELECT t.experiment_id, {text('t.key')}, {text('t.value')} FROM experiment_tags t"
        ):
            if value is not None:
                tags.setdefault(experiment_id, {})[key] = value
        return {
            str(row[0]): Experiment(*[str(row[0]), row[1], row[2] or "active", *row[3:], tags.get(row[0], {})])
            for row in rows
        }

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
        found: list[Run] = []
        for start in range(0, len(run_ids), _CHUNK):
            found += self._load(run_ids[start : start + _CHUNK])
        return found

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
        scope = all_of([TRUE, *self._active_experiments("all")])
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

        scope = all_of([TRUE, *self._active_experiments("all")])
        return metric_histories(self._database, runs, keys, scope, metric_value)

    # -- best -------------------------------------------------------------------------------------------

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = self._scope(query.scope)
        ranked = self._ranked(query, scope)
        runs = {run.run_id: run for run in self.find_runs([run_id for run_id, _ in ranked])}
        candidates = tuple(Candidate(runs[run_id], value) for run_id, value in ranked if run_id in runs)
        return Best(candidates, *(tally(self._database, query, scope) if query.tally else ()))

    # -- how --------------------------------------------------------------------------------------------

    def _ids_in_chunks(self, query: RunQuery) -> Iterator[Sequence[str]]:
        from agentnn.stores.sql.search import ids_in_chunks  # the best run is found without

        return ids_in_chunks(self._database, query, self._scope(query))

    def _ranked(self, query: BestQuery, scope: Sql) -> list[tuple[str, float]]:
        return best_candidates(self._database, query, scope)

    def _condition(self, expression: Expression) -> Sql:
        return where(expression, self._dialect, datasets=self._has_dataset_tables)

    def _scope(self, query: RunQuery) -> Sql:
        """Which runs a query is about, as a condition on ``runs r``."""
        conditions = [] if query.view == "all" else [Sql("r.lifecycle_stage = ?", (query.view,))]
        if query.experiment_ids is not None:
            conditions.append(self._dialect.one_of("r.experiment_id", self._keys_of(query.experiment_ids)))
            conditions += self._active_experiments("all")
        else:
            conditions += self._active_experiments(query.view)
        if query.filter is not None:
            conditions.append(self._condition(query.filter))
        return all_of(conditions)

    def _keys_of(self, experiment_ids: Sequence[str]) -> Sequence[Any]:
        """Experiment ids as the tables keep them, without those that none can have."""
        return [int(one) for one in experiment_ids if is_experiment_id(one)]

    def _active_experiments(self, view: View) -> list[Sql]:
        """A condition on the experiment, where one is needed at all."""
        inside = [Sql("e.lifecycle_stage = 'active'")] if view == "active" else []
        if "workspace" in self._experiment_columns:
            inside.append(Sql("e.workspace = ?", (self.workspace,)))
        wanted = all_of(inside)
        outside = self._rows(f"SELECT 1 FROM experiments e WHERE NOT ({wanted.text}) LIMIT 1", wanted.values)
        if not outside:
            return []
        among = f"r.experiment_id IN (SELECT e.experiment_id FROM experiments e WHERE {wanted.text})"
        return [Sql(among, wanted.values)]

    def _load(self, run_ids: Sequence[str]) -> list[Run]:
        """Up to a chunk of runs by id, in the order of the ids."""
        names = {run_id: one.name for run_id, one in self._experiments.items()}
        among = self._dialect.one_of("t.run_uuid", run_ids)
        metrics: dict[str, dict[str, float]] = defaultdict(dict)
        for run_id, key, value, is_nan in self._rows(
            f"SELECT t.run_uuid, t.key, t.value, t.is_nan FROM latest_metrics t WHERE {among.text}", among.values
        ):
            # The common case is spelled out: this line runs for every metric of every run.
            ordinary = not is_nan and value.__class__ is float and -LARGEST < value < LARGEST
            metrics[run_id][key] = value if ordinary else metric_value(value, is_nan)
        params, tags = self._texts("params", among), self._texts("tags", among)
        datasets = self._datasets(run_ids)
        runs: dict[str, Run] = {}
        for run_id, name, experiment_id, status, stage, start, end, user, artifact_uri in self._rows(
            f"SELECT {self._run_columns} FROM runs t WHERE {among.text}",
            among.values,
        ):
            own_tags = tags.get(run_id, {})
            experiment = str(experiment_id)
            if experiment not in names:
                continue  # of another workspace
            runs[run_id] = Run(
                run_id,
                name or own_tags.get(RUN_NAME_TAG, ""),
                experiment,
                names[experiment],
                status or "",
                stage or "active",
                start,
                end,
                user or None,
                artifact_uri,
                metrics.get(run_id, {}),
                params.get(run_id, {}),
                own_tags,
                tuple(datasets.get(run_id, ())),
            )
        return [runs[run_id] for run_id in run_ids if run_id in runs]

    def _texts(self, table: str, among: Sql) -> dict[str, dict[str, str]]:
        texts: dict[str, dict[str, str]] = defaultdict(dict)
        sql = f"SELECT t.run_uuid, t.key, t.value FROM {table} t WHERE {among.text} AND t.value IS NOT NULL"
        for run_id, key, value in self._rows(sql, among.values):
            if value.__class__ is not str:
                raise CorruptDataError(f"the value of {key!r} in {table} is no text", hint="restore a backup")
            texts[run_id][key] = value
        return texts

    def _datasets(self, run_ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
        if not self._has_dataset_tables or not self._rows("SELECT 1 FROM inputs LIMIT 1"):
            return {}
        among = self._dialect.one_of("i.destination_id", run_ids)
        exact = self._dialect.exact
        datasets: dict[str, list[DatasetInput]] = {}
        for run_id, *values in self._rows(
            "SELECT i.destination_id, d.name, d.digest, t.value FROM inputs i "
            "JOIN datasets d ON d.dataset_uuid = i.source_id "
            "LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' "
            f"WHERE i.destination_type = 'RUN' AND {among.text} ORDER BY {exact('d.name')}, {exact('d.digest')}",
            among.values,
        ):
            datasets.setdefault(run_id, []).append(DatasetInput(*values))
        return datasets

    @cached_property
    def _run_columns(self) -> str:
        integer, text = self._dialect.integer, self._dialect.text
        return ", ".join(
            [
                "t.run_uuid", text("t.name"), "t.experiment_id", text("t.status"), text("t.lifecycle_stage"),
                integer("t.start_time"), integer("t.end_time"), text("t.user_id"), text("t.artifact_uri"),
            ]
        )  # fmt: skip

    @cached_property
    def _experiment_columns(self) -> set[str]:
        return self._database.columns("experiments")

    @cached_property
    def _has_dataset_tables(self) -> bool:
        has = self._database.has
        return (
            has("inputs", "input_uuid", "source_id", "destination_type", "destination_id")
            and has("datasets", "dataset_uuid", "name", "digest")
            and has("input_tags", "input_uuid", "name", "value")
        )


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

        experiment = self._experiments.get(run.experiment_id)
        location = experiment.artifact_location if experiment is not None else None
        return run_files(self._database, run, location, self._settings)

    def _check_workspace(self) -> None:
        if self.workspace == "default" or "workspace" not in self._experiment_columns:
            return
        known = {row[0] for row in self._rows("SELECT DISTINCT workspace FROM experiments")}
        if self._database.has("workspaces", "name"):
            known |= {row[0] for row in self._rows("SELECT name FROM workspaces")}
        if self.workspace not in known:
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

    def measure(self) -> StoreMeasures:
        """See :class:`~agentnn.stores.measures.MeasuresItself`."""
        from agentnn.stores.sql.measures import measure_sqlite

        return measure_sqlite(self._database)


def metric_value(value: object, is_nan: int) -> float:
    """A metric's value as it was logged; SQL has NaN beside a flag, and an infinity as the largest double."""
    if not isinstance(value, (float, int)):
        raise CorruptDataError(f"a metric's value is {value!r}, which is no number", hint="restore a backup")
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)
