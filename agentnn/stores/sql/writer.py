"""Writing runs of an MLflow SQLite database, straight in its tables.

The sender lives beside training: importing MLflow would cost it 2 s of a core and 150 MB, and each point 0.1 ms. Here a
request is one transaction, which does what ``SqlAlchemyStore.create_run``, ``log_batch``, ``update_run_info`` and
``delete_tag`` do; the tests carry out the same requests both ways and compare every table. Only columns that are known
are written: on any other schema MLflow's client writes. docs/adr/0011 says what guards it.
"""

from __future__ import annotations

import os
import time
import uuid as uuids
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, NotFoundError, UsageError
from agentnn.records import RUN_NAME_TAG, Metric
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.destination import check_sqlite_path
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.run_changes import deleted_run
from agentnn.stores.run_writer import UUID_TAG
from agentnn.stores.source_commit import with_commit
from agentnn.stores.sql.batch import Batch
from agentnn.stores.sql.mlflow_tables import SchemaMismatch
from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase, sqlite_path
from agentnn.stores.sql.sqlite_transaction import write_transaction
from agentnn.stores.sql.whole_runs import metric_value
from agentnn.stores.whole_files import put_whole

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from agentnn.settings import Settings

_TABLES = {
    "experiments": frozenset(
        {"experiment_id", "name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time"}
    ),
    "runs": frozenset(
        {
            "run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time",
            "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id", "deleted_time",
        }
    ),
    "metrics": frozenset({"key", "value", "timestamp", "run_uuid", "step", "is_nan"}),
    "latest_metrics": frozenset({"key", "value", "timestamp", "run_uuid", "step", "is_nan"}),
    "params": frozenset({"key", "value", "run_uuid"}),
    "tags": frozenset({"key", "value", "run_uuid"}),
}  # fmt: skip
"""All the columns of the tables that are written."""

_SINCE_WORKSPACES = {"experiments": frozenset({"workspace"})}
_DEFAULT_WORKSPACE = "default"
_USER_TAG = "mlflow.user"
_ROOT_VARIABLE, _ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT", "./mlruns"
"""Where MLflow keeps the files of an experiment that does not say, below the working directory."""

_LONGEST_NAME = 500


class SqlWriter:
    """Writes to an MLflow SQLite database; see :class:`~agentnn.stores.run_writer.RunWriter`.

    Args:
        settings: Name the database.
        lock_timeout_s: How long to wait for another writer.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError: see
            :class:`~agentnn.stores.sql.sqlite_file.ReadOnlyDatabase`.
        SchemaMismatch: Its tables have other columns, or another workspace than the default is meant.
    """

    def __init__(self, settings: Settings, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._path = sqlite_path(settings.tracking_uri)
        self._lock_timeout_s = lock_timeout_s
        check_sqlite_path(self._path)
        self._database = ReadOnlyDatabase(self._path, _TABLES, lock_timeout_s=lock_timeout_s)
        self._has_workspaces = "workspace" in self._database.columns("experiments")
        self._settings = settings
        self._artifact_root = _artifact_root()
        self._check()

    def ensure_experiment(self, name: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._transaction() as connection:
            found = self._find_experiment(connection, name)
            if found is None:
                return self._make_experiment(connection, name)
        experiment_id, stage = found
        if stage != "active":
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it: agentnn experiment restore {experiment_id}",
            )
        return str(experiment_id)

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        run_id = uuids.uuid4().hex
        known = {**with_commit(tags, source), RUN_NAME_TAG: name}
        with self._transaction() as connection:
            location = self._location_of_active(connection, experiment_id)
            connection.execute(
                "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
                "start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) "
                "VALUES (?, ?, 'UNKNOWN', '', '', ?, 'RUNNING', ?, NULL, '', 'active', ?, ?, NULL)",
                (
                    run_id, name, known.get(_USER_TAG, "unknown"), start_time,
                    f"{location.rstrip('/')}/{run_id}/artifacts", int(experiment_id),
                ),
            )  # fmt: skip
            Batch(connection, run_id).set_tags(known)
        return run_id

    def find_runs_by_uuid(self, experiment_id: str, uuid: str) -> list[str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        rows = self._database.rows(
            "SELECT r.run_uuid FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid "
            "WHERE t.key = ? AND t.value = ? AND r.experiment_id = ? ORDER BY r.start_time DESC, r.run_uuid",
            (UUID_TAG, uuid, int(experiment_id)),
        )
        return [row[0] for row in rows]

    def find_run_without_tags(self, experiment_id: str, name: str, start_time: int) -> str | None:
        """None: a run is there with its tags, or not at all."""
        del experiment_id, name, start_time
        return None

    def experiment_of(self, run_id: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        rows = self._database.rows("SELECT experiment_id FROM runs WHERE run_uuid = ?", (run_id,))
        if not rows:
            raise _no_such_run(run_id)
        return str(rows[0][0])

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; all of it is logged, or nothing.

        Raises:
            ConflictError: A param has another value already, or the run is deleted.
            UsageError: A value is longer than MLflow keeps.
        """
        if not (points or params or tags):
            return
        with self._transaction() as connection:
            _check_is_active(connection, run_id)
            batch = Batch(connection, run_id)
            batch.set_params(params or {})
            batch.add_points(points)
            batch.set_tags(tags or {})

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        rows = self._database.rows(
            "SELECT value, is_nan, step, timestamp FROM metrics WHERE run_uuid = ? AND key = ?", (run_id, key)
        )
        return [Metric(key, metric_value(value, is_nan), step, timestamp) for value, is_nan, step, timestamp in rows]

    def params(self, run_id: str) -> dict[str, str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return dict(self._database.rows("SELECT key, value FROM params WHERE run_uuid = ?", (run_id,)))

    def put_file(self, run_id: str, source: Path, target: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; what lies elsewhere is reached by MLflow's means."""
        rows = self._database.rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (run_id,))
        if not rows:
            raise _no_such_run(run_id)
        root = local_folder(rows[0][0])
        if root is None:
            from agentnn.stores.mlflow.writer import MlflowWriter

            MlflowWriter(self._settings).put_file(run_id, source, target)
            return
        put_whole(source, root / target, root.parent)

    def terminate(self, run_id: str, status: str, end_time: int) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._update(run_id, "status = ?, end_time = ?", (status, end_time))

    def reopen(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._update(run_id, "status = 'RUNNING'", ())

    def delete_run(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        from agentnn.stores.sql.run_changes import SqlRunChanges
        from agentnn.stores.sql.store import SqlStore

        found = SqlStore(self._settings.tracking_uri).find_runs([run_id])
        if not found:
            raise _no_such_run(run_id)
        SqlRunChanges(self._settings, lock_timeout_s=self._lock_timeout_s).delete(found)

    def delete_tag(self, run_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._transaction() as connection, suppress(NotFoundError):
            _check_is_active(connection, run_id)
            connection.execute("DELETE FROM tags WHERE run_uuid = ? AND key = ?", (run_id, key))

    # -- how

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return write_transaction(self._path, lock_timeout_s=self._lock_timeout_s)

    def _update(self, run_id: str, change: str, values: tuple[object, ...]) -> None:
        with self._transaction() as connection:
            _check_is_active(connection, run_id)
            connection.execute(f"UPDATE runs SET {change} WHERE run_uuid = ?", (*values, run_id))

    def _check(self) -> None:
        """Whether every column of the tables is known, and the workspace the one that MLflow writes to unasked."""
        if self._settings.workspace != _DEFAULT_WORKSPACE:
            raise SchemaMismatch("only MLflow writes to a workspace")
        for table, known in _TABLES.items():
            unknown = self._database.columns(table) - known - _SINCE_WORKSPACES.get(table, frozenset())
            if unknown:
                raise SchemaMismatch(f"{self._path} has columns that are not known here: {table}.{min(unknown)}")

    def _find_experiment(self, connection: sqlite3.Connection, name: str) -> tuple[int, str] | None:
        """The id and stage of the experiment with this name, or else with this id."""
        inside = "AND workspace = 'default'" if self._has_workspaces else ""
        sql = f"SELECT experiment_id, lifecycle_stage FROM experiments WHERE {{}} = ? {inside}"
        found: tuple[int, str] | None = connection.execute(sql.format("name"), (name,)).fetchone()
        if found is None and is_experiment_id(name):
            found = connection.execute(sql.format("experiment_id"), (int(name),)).fetchone()
        return found

    def _make_experiment(self, connection: sqlite3.Connection, name: str) -> str:
        if not name or len(name) > _LONGEST_NAME:
            raise UsageError(f"an experiment's name has 1 to {_LONGEST_NAME} characters", hint="choose another name")
        now = time.time_ns() // 1_000_000
        made = connection.execute(
            "INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time) "
            "VALUES (?, 'active', ?, ?)",
            (name, now, now),
        )
        location = f"{self._artifact_root}/{made.lastrowid}"
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (location, made.lastrowid)
        )
        return str(made.lastrowid)

    def _location_of_active(self, connection: sqlite3.Connection, experiment_id: str) -> str:
        """Where an experiment keeps the files of its runs."""
        found = connection.execute(
            "SELECT artifact_location, lifecycle_stage, name FROM experiments WHERE experiment_id = ?",
            (int(experiment_id),),
        ).fetchone()
        if found is None:
            raise NotFoundError(f"there is no experiment {experiment_id}", hint="agentnn experiment list")
        if found[1] != "active":
            raise ConflictError(
                f"the experiment {found[2]!r} is deleted", hint=f"agentnn experiment restore {experiment_id}"
            )
        return str(found[0])


def _artifact_root() -> str:
    root = os.environ.get(_ROOT_VARIABLE, _ROOT)
    folder = local_folder(root)
    return root.rstrip("/") if folder is None or root.startswith("file:") else (Path.cwd() / folder).as_posix()


def _check_is_active(connection: sqlite3.Connection, run_id: str) -> None:
    """Whether a run is there and may be written to.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It is deleted.
    """
    found = connection.execute("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    if found is None:
        raise _no_such_run(run_id)
    if found[0] != "active":
        raise deleted_run(run_id)


def _no_such_run(run_id: str) -> NotFoundError:
    return NotFoundError(f"there is no run {run_id}", hint="agentnn run list --view all")
