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
from agentnn.query.selection import Best, Candidate, Excluded
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, Artifact, DatasetInput, Experiment, Metric, Run
from agentnn.stores.artifacts import list_artifact_folder, local_folder
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.sql_where import LARGEST, Sql, all_of, one_of, order_terms, where
from agentnn.stores.sqlite_file import ReadOnlyDatabase, integer, sqlite_path, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import BestQuery
    from agentnn.stores.base import TrackingStore

_CHUNK = 1000
_FINITE = f"m.is_nan = 0 AND m.value > {-LARGEST!r} AND m.value < {LARGEST!r}"
_RUN_COLUMNS = ", ".join(
    [
        "run_uuid", text("name"), "experiment_id", text("status"), text("lifecycle_stage"), integer("start_time"),
        integer("end_time"), text("user_id"), text("artifact_uri"),
    ]
)  # fmt: skip
_TOP_STEPS = (64, 1024)
_SCAN_BELOW_KEYS_PER_RUN = 8
_NATURAL_ORDER = "r.start_time DESC, r.run_uuid"


class SqlStore:
    """Reads an MLflow SQLite database.

    Args:
        uri: ``sqlite:///path/to/mlflow.db``.
        workspace: The MLflow workspace; databases from before MLflow 3.10 have only one, unnamed.
        elsewhere: Opens the same store through MLflow, which can list artifacts that are not on this machine.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sqlite_file.ReadOnlyDatabase`.
        NotFoundError: There is no such workspace.
    """

    def __init__(
        self, uri: str, *, workspace: str = "default", elsewhere: Callable[[], TrackingStore] | None = None
    ) -> None:
        self.uri = uri
        self.workspace = workspace
        self._elsewhere = elsewhere
        self._database = ReadOnlyDatabase(sqlite_path(uri))
        self._rows = self._database.rows
        self._check_workspace()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

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
        timed = "creation_time" in has
        creation, update = (integer("creation_time"), integer("last_update_time")) if timed else ("NULL", "NULL")
        condition, values = ("WHERE workspace = ?", (self.workspace,)) if "workspace" in has else ("", ())
        rows = self._rows(
            f"SELECT experiment_id, {text('name')}, {text('lifecycle_stage')}, {text('artifact_location')}, "
            f"{creation} AS born, {update} "
            f"FROM experiments {condition} ORDER BY born DESC, experiment_id",
            values,
        )
        tags: dict[int, dict[str, str]] = {}
        for experiment_id, key, value in self._rows(
            f"SELECT experiment_id, {text('key')}, {text('value')} FROM experiment_tags"
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
        run_ids = self._run_ids(query)
        for start in range(0, len(run_ids), _CHUNK):
            yield from self.find_runs(run_ids[start : start + _CHUNK])

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
        return [key for key in keys if self._rows(inside, (key, *scope.values))]

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = all_of([Sql("1"), *self._active_experiments("all")])
        own = f"run_uuid IN (SELECT r.run_uuid FROM runs r WHERE r.run_uuid = ? AND {scope.text})"
        rows = self._rows(
            f"SELECT value, is_nan, {integer('step')}, {integer('timestamp')} FROM metrics WHERE {own} AND key = ? "
            "ORDER BY step, timestamp, value",
            (run_id, *scope.values, key),
        )
        return [Metric(key, _metric_value(value, is_nan), step, time) for value, is_nan, step, time in rows]

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        models = self._logged_models(run.run_id)
        if self._elsewhere is not None and local_folder(models.get(path.partition("/")[0], run.artifact_uri)) is None:
            return self._elsewhere().list_artifacts(run, path)
        return list_artifact_folder(run.artifact_uri, models, path)

    # -- best -------------------------------------------------------------------------------------------

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = self._best_scope(query)
        ranked = self._top_of_metric_table(query, scope) if query.aggregate == "last" else None
        if ranked is None:
            ranked = self._ranked_by_join(query, scope)
        runs = {run.run_id: run for run in self.find_runs([run_id for run_id, _ in ranked])}
        candidates = tuple(Candidate(runs[run_id], value) for run_id, value in ranked if run_id in runs)
        return Best(candidates, *(self._tally(query) if query.tally else ()))

    def _best_scope(self, query: BestQuery) -> Sql:
        scope = self._scope(query.scope)
        conditions = [scope]
        if not query.include_children:
            conditions.append(_not_a_child())
        if not query.include_unfinished:
            conditions.append(Sql("r.status = 'FINISHED'"))
        return all_of(conditions)

    def _top_of_metric_table(self, query: BestQuery, scope: Sql) -> list[tuple[str, float]] | None:
        """The best by a scan of the metric table alone, then a look at those few runs.

        It is exact when enough of the first K rows qualify and no tie reaches over the edge; then the answer stands,
        else K grows, and ``None`` says that only the join can tell.
        """
        direction = "DESC" if query.mode == "max" else "ASC"
        wanted = query.top + 1
        for size in _TOP_STEPS:
            rows = self._rows(
                f"SELECT m.run_uuid, m.value FROM latest_metrics m {self._scan_hint} "
                f"WHERE m.key = ? AND {_FINITE} ORDER BY m.value {direction} LIMIT ?",
                (query.metric, size),
            )
            ranked = self._qualified(rows, scope, query.mode == "max")[:wanted]
            exhausted = len(rows) < size
            if exhausted or (len(ranked) == wanted and ranked[-1][1] != rows[-1][1]):
                return ranked
        return None

    def _qualified(self, rows: list[Any], scope: Sql, descending: bool) -> list[tuple[str, float]]:
        """Those rows of (run id, value) whose runs are in scope, ranked."""
        values = dict(rows)
        starts: dict[str, float] = {}
        run_ids = list(values)
        for index in range(0, len(run_ids), _CHUNK):
            among = one_of("r.run_uuid", run_ids[index : index + _CHUNK])
            sql = f"SELECT r.run_uuid, {integer('r.start_time')} FROM runs r WHERE {among.text} AND {scope.text}"
            for run_id, start in self._rows(sql, among.values + scope.values):
                starts[run_id] = math.inf if start is None else -start
        sign = -1 if descending else 1
        ordered = sorted(starts, key=lambda run_id: (sign * values[run_id], starts[run_id], run_id))
        return [(run_id, values[run_id]) for run_id in ordered]

    def _ranked_by_join(self, query: BestQuery, scope: Sql) -> list[tuple[str, float]]:
        judged, key = _judged_values(query)
        direction = "DESC" if query.mode == "max" else "ASC"
        return self._rows(
            f"SELECT r.run_uuid, j.value FROM {judged} JOIN runs r ON r.run_uuid = j.run_uuid "
            f"WHERE j.value IS NOT NULL AND {scope.text} ORDER BY j.value {direction}, {_NATURAL_ORDER} LIMIT ?",
            (key, *scope.values, query.top + 1),
        )

    def _tally(self, query: BestQuery) -> tuple[int, Excluded]:
        judged, key = _judged_values(query)
        conditions = [self._scope(query.scope)]
        if not query.include_children:
            conditions.append(_not_a_child())
        scope = all_of(conditions)
        unfinished = "0" if query.include_unfinished else "r.status IS NOT 'FINISHED'"
        rows = self._rows(
            f"SELECT reason, count(*) FROM (SELECT CASE WHEN {unfinished} THEN 'unfinished' "
            "WHEN j.run_uuid IS NULL THEN 'missing' WHEN j.value IS NOT NULL THEN 'considered' "
            "WHEN j.infinite THEN 'infinite' ELSE 'nan' END AS reason "
            f"FROM runs r LEFT JOIN {judged} ON j.run_uuid = r.run_uuid WHERE {scope.text}) GROUP BY reason",
            (key, *scope.values),
        )
        counts = dict(rows)
        return counts.pop("considered", 0), Excluded(**counts)

    # -- how --------------------------------------------------------------------------------------------

    def _scope(self, query: RunQuery) -> Sql:
        """Which runs a query is about, as a condition on ``runs r``."""
        conditions = [] if query.view == "all" else [Sql("r.lifecycle_stage = ?", (query.view,))]
        if query.experiment_ids is not None:
            conditions.append(
                one_of("r.experiment_id", [int(one) for one in query.experiment_ids if is_experiment_id(one)])
            )
            conditions += self._active_experiments("all")
        else:
            conditions += self._active_experiments(query.view)
        if query.filter is not None:
            conditions.append(where(query.filter, datasets=self._has_dataset_tables))
        return all_of(conditions)

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

    def _run_ids(self, query: RunQuery) -> list[str]:
        scope = self._scope(query)
        if query.limit is not None and not query.order_by:
            threshold = self._newest_threshold(scope, query.limit)
            if threshold is not None:
                scope = all_of([scope, Sql("r.start_time >= ?", (threshold,))])
        joins, join_values, terms = order_terms(query.order_by)
        limit = -1 if query.limit is None else query.limit
        rows = self._rows(
            f"SELECT r.run_uuid FROM runs r {joins} WHERE {scope.text} "
            f"ORDER BY {', '.join([*terms, _NATURAL_ORDER])} LIMIT ?",
            (*join_values, *scope.values, limit),
        )
        return [row[0] for row in rows]

    def _newest_threshold(self, scope: Sql, limit: int) -> int | None:
        """A start time that the newest ``limit`` runs have all reached, from the rows that were written last.

        Rows are mostly written in the order of their start: when enough of the last ones qualify, no older start time
        can be among the newest, and the sort has few rows to look at.
        """
        rows = self._rows(
            "SELECT r.start_time FROM (SELECT * FROM runs ORDER BY rowid DESC LIMIT ?) r "
            f"WHERE r.start_time IS NOT NULL AND {scope.text} ORDER BY r.start_time DESC LIMIT ?",
            (4 * limit + 100, *scope.values, limit),
        )
        return rows[-1][0] if rows and len(rows) == limit else None

    def _load(self, run_ids: Sequence[str]) -> list[Run]:
        """Up to a chunk of runs by id, in the order of the ids."""
        names = {run_id: one.name for run_id, one in self._experiments.items()}
        among = one_of("run_uuid", run_ids)
        metrics: dict[str, dict[str, float]] = defaultdict(dict)
        for run_id, key, value, is_nan in self._rows(
            f"SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE {among.text}", among.values
        ):
            # The common case is spelled out: this line runs for every metric of every run.
            ordinary = not is_nan and value.__class__ is float and -LARGEST < value < LARGEST
            metrics[run_id][key] = value if ordinary else _metric_value(value, is_nan)
        params, tags = self._texts("params", among), self._texts("tags", among)
        datasets = self._datasets(run_ids)
        runs: dict[str, Run] = {}
        for run_id, name, experiment_id, status, stage, start, end, user, artifact_uri in self._rows(
            f"SELECT {_RUN_COLUMNS} FROM runs WHERE {among.text}",
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
        sql = f"SELECT run_uuid, key, value FROM {table} WHERE {among.text} AND value IS NOT NULL"
        for run_id, key, value in self._rows(sql, among.values):
            if value.__class__ is not str:
                raise CorruptDataError(f"the value of {key!r} in {table} is no text", hint="restore a backup")
            texts[run_id][key] = value
        return texts

    def _datasets(self, run_ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
        if not self._has_dataset_tables or not self._rows("SELECT 1 FROM inputs LIMIT 1"):
            return {}
        among = one_of("i.destination_id", run_ids)
        datasets: dict[str, list[DatasetInput]] = {}
        for run_id, *values in self._rows(
            "SELECT i.destination_id, d.name, d.digest, t.value FROM inputs i "
            "JOIN datasets d ON d.dataset_uuid = i.source_id "
            "LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' "
            f"WHERE i.destination_type = 'RUN' AND {among.text} ORDER BY d.name, d.digest",
            among.values,
        ):
            datasets.setdefault(run_id, []).append(DatasetInput(*values))
        return datasets

    def _logged_models(self, run_id: str) -> dict[str, str]:
        """The models that a run logged, name to location; MLflow 3 keeps them beside the run's artifacts."""
        if not self._database.has(
            "logged_models", "name", "artifact_location", "source_run_id", "lifecycle_stage", "creation_timestamp_ms"
        ):
            return {}
        rows = self._rows(
            "SELECT name, artifact_location FROM logged_models WHERE source_run_id = ? AND lifecycle_stage = 'active' "
            "ORDER BY creation_timestamp_ms",
            (run_id,),
        )
        return dict(rows)

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

    @cached_property
    def _scan_hint(self) -> str:
        """Reading the metric table in one sweep beats the index unless runs have very many metrics."""
        metrics, runs = self._rows("SELECT (SELECT max(rowid) FROM latest_metrics), (SELECT max(rowid) FROM runs)")[0]
        return "NOT INDEXED" if (metrics or 0) <= _SCAN_BELOW_KEYS_PER_RUN * (runs or 0) else ""


def _not_a_child() -> Sql:
    return Sql(f"NOT EXISTS (SELECT 1 FROM tags c WHERE c.key = '{PARENT_TAG}' AND c.run_uuid = r.run_uuid)")


def _judged_values(query: BestQuery) -> tuple[str, str]:
    """The values that runs are judged by, as a table ``j (run_uuid, value, infinite)``, and its placeholder's value.

    ``value`` is NULL where a run has the metric, but no finite value of it.
    """
    infinite = f"m.is_nan = 0 AND NOT ({_FINITE})"
    finite = f"CASE WHEN {_FINITE} THEN m.value END"
    if query.aggregate == "last":
        table = f"SELECT m.run_uuid, {finite} AS value, {infinite} AS infinite FROM latest_metrics m WHERE m.key = ?"
    elif query.aggregate == "first":
        table = (
            f"SELECT m.run_uuid, {finite} AS value, {infinite} AS infinite, row_number() OVER (PARTITION BY m.run_uuid "
            f"ORDER BY {finite} IS NULL, {infinite} DESC, m.step, m.timestamp, m.value) AS place "
            "FROM metrics m WHERE m.key = ?"
        )
        table = f"SELECT run_uuid, value, infinite FROM ({table}) WHERE place = 1"
    else:
        function = {"mean": "exact_mean", "min": "min", "max": "max"}[query.aggregate]
        table = (
            f"SELECT m.run_uuid, {function}({finite}) AS value, max({infinite}) AS infinite "
            "FROM metrics m WHERE m.key = ? GROUP BY m.run_uuid"
        )
    return f"({table}) j", query.metric


def _metric_value(value: object, is_nan: int) -> float:
    """A metric's value as it was logged; SQL has NaN beside a flag, and an infinity as the largest double."""
    if not isinstance(value, (float, int)):
        raise CorruptDataError(f"a metric's value is {value!r}, which is no number", hint="restore a backup")
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)
