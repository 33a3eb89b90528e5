"""The view of an index that questions about runs are answered from: MLflow's tables."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError
from agentnn.records import Experiment
from agentnn.stores.toml.index.reading import Problem, RunDocuments, read_runs
from agentnn.stores.toml.index.schema import INDEXES
from agentnn.stores.toml.index.seen import RunKey, run_uuid
from agentnn.stores.toml.layout import CONFIG, METRICS, PROJECT
from agentnn.stores.toml.projects import read_project

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agentnn.stores.toml.index.seen import Change

_AT_ONCE = 500
_RUN_TABLES = ("runs", "latest_metrics", "params", "tags")


class RunsView:
    """The tables ``experiments``, ``runs``, ``latest_metrics``, ``params``, ``tags`` and those of data sets."""

    name = "runs"
    files: Sequence[str] = (CONFIG, METRICS)
    shared_matter = True

    def apply(self, connection: sqlite3.Connection, base_dir: Path, change: Change) -> Iterator[Problem]:
        """Bring the tables up to date; what can't be read comes back."""
        from agentnn.stores.toml.index.rows import RunRows  # not where nothing has changed

        _drop(connection, change)
        yield from _add_projects(connection, base_dir, change.projects)
        if change.whole:
            for name in INDEXES:
                connection.execute(f"DROP INDEX {name}")
        runs = read_runs(base_dir, change.read)
        while some := list(islice(runs, _AT_ONCE)):
            rows = RunRows(base_dir, change.shared)
            for one in some:
                problem = rows.add(one) if isinstance(one, RunDocuments) else one
                if problem:
                    yield problem
            rows.insert(connection)
        if change.whole:
            for definition in INDEXES.values():
                connection.execute(f"CREATE {definition}")


def _drop(connection: sqlite3.Connection, change: Change) -> None:
    """Take out all rows of what has changed or is gone."""
    if change.whole:
        for table in (*_RUN_TABLES, "inputs", "datasets", "input_tags", "experiments", "experiment_tags"):
            connection.execute(f"DELETE FROM {table}")
        return
    ids = [(run_uuid(key, change.shared),) for key in (*change.read, *change.gone)]
    connection.executemany(
        "DELETE FROM input_tags WHERE input_uuid IN (SELECT input_uuid FROM inputs WHERE destination_id = ?)", ids
    )
    connection.executemany("DELETE FROM inputs WHERE destination_id = ?", ids)
    for table in _RUN_TABLES:
        connection.executemany(f"DELETE FROM {table} WHERE run_uuid = ?", ids)
    connection.execute("DELETE FROM datasets WHERE dataset_uuid NOT IN (SELECT source_id FROM inputs)")
    projects = [(name,) for name in (*change.projects, *change.projects_gone)]
    for table in ("experiments", "experiment_tags"):
        connection.executemany(f"DELETE FROM {table} WHERE experiment_id = ?", projects)


def _add_projects(connection: sqlite3.Connection, base_dir: Path, names: list[str]) -> Iterator[Problem]:
    for name in names:
        folder = base_dir / name
        try:
            project = read_project(folder)
        except CorruptDataError as error:
            yield Problem(RunKey(name, ""), f"{name}/{PROJECT}", error.message)
            project = Experiment(name, name, artifact_location=str(folder))
        connection.execute(
            "INSERT INTO experiments VALUES (?, ?, ?, ?, ?, ?)",
            (
                name, project.name, str(folder), project.lifecycle_stage, project.creation_time,
                project.last_update_time,
            ),
        )  # fmt: skip
        rows = [(name, key, value) for key, value in project.tags.items()]
        connection.executemany("INSERT INTO experiment_tags VALUES (?, ?, ?)", rows)
