"""Deleting, restoring and tagging runs of an MLflow SQLite database, straight in its tables.

MLflow's client takes 2 s to load, and a transaction a run. Here all runs change in one transaction, as
``SqlAlchemyStore._mark_run_deleted``, ``restore_run`` and ``set_tag`` change one; the tests compare both. Only columns
that are known are touched: on any other schema MLflow's client does it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import NotFoundError
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.destination import check_sqlite_path
from agentnn.stores.run_changes import DELETION_TAG, deleted_experiment, deleted_run
from agentnn.stores.sql.dialect import SQLITE
from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase, sqlite_path
from agentnn.stores.sql.sqlite_transaction import write_transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from agentnn.records import Run
    from agentnn.settings import Settings

_TABLES = {
    "experiments": frozenset({"experiment_id", "name", "lifecycle_stage"}),
    "runs": frozenset({"run_uuid", "name", "experiment_id", "lifecycle_stage", "deleted_time"}),
    "tags": frozenset({"key", "value", "run_uuid"}),
}
_CHUNK = 1000
_SET_TAG = "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)"
_DROP_TAG = "DELETE FROM tags WHERE key = ? AND run_uuid = ?"
_JUDGED_BY_A_RUN = "mlflow.assessment.sourceRunId"


class _Stage(NamedTuple):
    """Where a run and its experiment are in their life."""

    is_deleted: bool
    experiment: str
    experiment_is_deleted: bool


class SqlRunChanges:
    """Changes runs of an MLflow SQLite database; see :class:`~agentnn.stores.run_changes.RunChanges`.

    Args:
        settings: Name the database and the workspace; a run of another workspace is not there.
        lock_timeout_s: How long to wait for another writer.

    Raises:
        StoreUnavailable, CorruptDataError, NotAStoreError, SchemaMismatch: see
            :class:`~agentnn.stores.sql.sqlite_file.ReadOnlyDatabase`.
    """

    def __init__(self, settings: Settings, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._settings = settings
        self._path = sqlite_path(settings.tracking_uri)
        self._lock_timeout_s = lock_timeout_s
        check_sqlite_path(self._path)
        database = ReadOnlyDatabase(self._path, _TABLES)
        try:
            self._has_workspaces = "workspace" in database.columns("experiments")
            self._has_assessments = "assessment_metadata" in database.columns("assessments")
        finally:
            database.close()

    def delete(self, runs: Sequence[Run], mark: str | None = None) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        with write_transaction(self._path, lock_timeout_s=self._lock_timeout_s) as connection:
            judging = self._have_judged(connection)
            if not judging:
                active = [run_id for run_id, stage in self._stages(connection, runs).items() if not stage.is_deleted]
                if mark is not None:
                    connection.executemany(_SET_TAG, ((DELETION_TAG, mark, run_id) for run_id in active))
                now = time.time_ns() // 1_000_000
                connection.executemany(
                    "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?",
                    ((now, run_id) for run_id in active),
                )
        if judging:
            self._through_mlflow(runs, mark)

    def restore(self, runs: Sequence[Run]) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        with write_transaction(self._path, lock_timeout_s=self._lock_timeout_s) as connection:
            stages = self._stages(connection, runs)
            gone = next((one.experiment for one in stages.values() if one.experiment_is_deleted), None)
            if gone is not None:
                raise deleted_experiment(gone)
            ids = [(run_id,) for run_id in stages]
            connection.executemany(
                "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = ?", ids
            )
            connection.executemany(_DROP_TAG, ((DELETION_TAG, run_id) for (run_id,) in ids))

    def tag(self, runs: Sequence[Run], tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        with write_transaction(self._path, lock_timeout_s=self._lock_timeout_s) as connection:
            stages = self._stages(connection, runs)
            gone = next((run_id for run_id, stage in stages.items() if stage.is_deleted), None)
            if gone is not None:
                raise deleted_run(gone)
            for key, value in tags.items():
                connection.executemany(_SET_TAG, ((key, value, run_id) for run_id in stages))
            if RUN_NAME_TAG in tags:  # MLflow keeps the name twice
                name = tags[RUN_NAME_TAG]
                connection.executemany("UPDATE runs SET name = ? WHERE run_uuid = ?", ((name, one) for one in stages))
            for key in remove:
                connection.executemany(_DROP_TAG, ((key, run_id) for run_id in stages))

    def _stages(self, connection: sqlite3.Connection, runs: Sequence[Run]) -> dict[str, _Stage]:
        """The stage of each run.

        Raises:
            NotFoundError: One of them is not in this workspace, or not any more.
        """
        inside, values = ("AND e.workspace = ?", (self._settings.workspace,)) if self._has_workspaces else ("", ())
        stages: dict[str, _Stage] = {}
        for ids in _chunks([run.run_id for run in runs]):
            among = SQLITE.one_of("r.run_uuid", ids)
            rows = connection.execute(
                "SELECT r.run_uuid, r.lifecycle_stage IS 'deleted', e.name, e.lifecycle_stage IS 'deleted' "
                f"FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id WHERE {among.text} {inside}",
                (*among.values, *values),
            )
            stages.update((row[0], _Stage(bool(row[1]), row[2], bool(row[3]))) for row in rows)
        lost = next((run.run_id for run in runs if run.run_id not in stages), None)
        if lost is not None:
            raise NotFoundError(f"the run {lost} is not in the store any more", hint="agentnn run list --view all")
        return stages

    def _have_judged(self, connection: sqlite3.Connection) -> bool:
        """Whether MLflow's evaluation keeps judgements of a run, which it deletes with the run in ways of its own."""
        if not self._has_assessments:
            return False
        found = "SELECT 1 FROM assessments WHERE instr(assessment_metadata, ?) LIMIT 1"
        return connection.execute(found, (_JUDGED_BY_A_RUN,)).fetchone() is not None

    def _through_mlflow(self, runs: Sequence[Run], mark: str | None) -> None:
        from agentnn.stores.mlflow.run_changes import MlflowRunChanges

        MlflowRunChanges(self._settings).delete(runs, mark)


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
