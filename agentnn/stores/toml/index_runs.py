"""The view of an index that questions about runs are answered from: MLflow's tables."""

from __future__ import annotations

import hashlib
import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, CorruptDataError
from agentnn.records import PARENT_TAG, Experiment
from agentnn.stores.toml.index_reading import Problem, RunDocuments, read_runs
from agentnn.stores.toml.index_schema import INDEXES
from agentnn.stores.toml.index_seen import RunKey
from agentnn.stores.toml.layout import CONFIG, METRICS, PROJECT
from agentnn.stores.toml.origin import origin_tags
from agentnn.stores.toml.projects import read_project
from agentnn.stores.toml.run_documents import facts_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from agentnn.stores.toml.index_seen import Change

LARGEST = 1.7976931348623157e308
"""Stands for an infinity, as in MLflow's tables."""

_AT_ONCE = 500
_RUN_TABLES = ("latest_metrics", "params", "tags")
_CONTEXT = "mlflow.data.context"


class RunsView:
    """The tables ``experiments``, ``runs``, ``latest_metrics``, ``params``, ``tags`` and those of data sets."""

    name = "runs"
    files: Sequence[str] = (CONFIG, METRICS)
    shared_matter = True

    def apply(self, connection: sqlite3.Connection, base_dir: Path, change: Change) -> Iterator[Problem]:
        """Bring the tables up to date; what can't be read comes back."""
        _drop(connection, change)
        yield from _add_projects(connection, base_dir, change.projects)
        if change.whole:
            for name in INDEXES:
                connection.execute(f"DROP INDEX {name}")
        runs = read_runs(base_dir, change.read)
        while some := list(islice(runs, _AT_ONCE)):
            rows = _Rows(base_dir, change.shared)
            for one in some:
                problem = rows.add(one) if isinstance(one, RunDocuments) else one
                if problem:
                    yield problem
            rows.insert(connection)
        if change.whole:
            for definition in INDEXES.values():
                connection.execute(f"CREATE {definition}")


def run_uuid(key: RunKey, shared: frozenset[str]) -> str:
    """A run's id among all runs: the name of its folder, with the project's where another one has it too."""
    return f"{key.project}/{key.run}" if key.run in shared else key.run


def metric_row(value: float) -> tuple[float, bool]:
    """A metric's value as MLflow's tables keep it, and whether it is NaN."""
    if math.isnan(value):
        return 0.0, True
    return (math.copysign(LARGEST, value) if math.isinf(value) else value), False


class _Rows:
    """The rows of some runs, ready to be inserted."""

    def __init__(self, base_dir: Path, shared: frozenset[str]) -> None:
        self._base_dir = base_dir
        self._shared = shared
        self._tables: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in ("runs", *_RUN_TABLES, "inputs", "datasets", "input_tags")
        }

    def add(self, run: RunDocuments) -> Problem | None:
        """Add what a run's documents say, unless something is wrong with them."""
        run_id = run_uuid(run.key, self._shared)
        folder = f"{self._base_dir}/{run.key.project}/{run.key.run}"
        try:
            facts = facts_of(run.key.run, run.config, run.metrics, run.config_written)
            tags = {**facts.tags, **origin_tags(Path(folder))}
        except AgentNNError as error:
            return Problem(run.key, f"{run.key.project}/{run.key.run}/{CONFIG}", error.message)
        self._tables["runs"].append(
            (
                run_id, facts.name, facts.user, facts.status, facts.start_time, facts.end_time,
                facts.lifecycle_stage, folder, run.key.project,
            )
        )  # fmt: skip
        self._tables["latest_metrics"] += [(run_id, key, *metric_row(value)) for key, value in facts.metrics.items()]
        self._tables["params"] += [(run_id, key, text) for key, text in facts.params.items()]
        if tags.get(PARENT_TAG) in self._shared:
            tags[PARENT_TAG] = f"{run.key.project}/{tags[PARENT_TAG]}"
        self._tables["tags"] += [(run_id, key, text) for key, text in tags.items()]
        for at, dataset in enumerate(facts.datasets):
            source = hashlib.sha256(f"{dataset.name}\0{dataset.digest}".encode()).hexdigest()[:32]
            self._tables["datasets"].append((source, dataset.name, dataset.digest))
            self._tables["inputs"].append((f"{run_id}#{at}", source, "RUN", run_id))
            if dataset.context is not None:
                self._tables["input_tags"].append((f"{run_id}#{at}", _CONTEXT, dataset.context))
        return None

    def insert(self, connection: sqlite3.Connection) -> None:
        """Insert all of them."""
        for table, rows in self._tables.items():
            if rows:
                places = ", ".join("?" * len(rows[0]))
                twice = "OR IGNORE" if table == "datasets" else ""  # several runs may have the same
                connection.executemany(f"INSERT {twice} INTO {table} VALUES ({places})", rows)


def _drop(connection: sqlite3.Connection, change: Change) -> None:
    """Take out all rows of what has changed or is gone."""
    if change.whole:
        for table in (*_RUN_TABLES, "runs", "inputs", "datasets", "input_tags", "experiments", "experiment_tags"):
            connection.execute(f"DELETE FROM {table}")
        return
    ids = [(run_uuid(key, change.shared),) for key in (*change.read, *change.gone)]
    connection.executemany(
        "DELETE FROM input_tags WHERE input_uuid IN (SELECT input_uuid FROM inputs WHERE destination_id = ?)", ids
    )
    connection.executemany("DELETE FROM inputs WHERE destination_id = ?", ids)
    for table in (*_RUN_TABLES, "runs"):
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
