"""The rows of MLflow's tables that say what some runs' documents say."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError
from agentnn.records import PARENT_TAG
from agentnn.stores.toml.index.reading import Problem, RunDocuments
from agentnn.stores.toml.index.seen import run_uuid
from agentnn.stores.toml.layout import CONFIG
from agentnn.stores.toml.runs.origin import origin_tags
from agentnn.stores.toml.runs.run_documents import facts_of

if TYPE_CHECKING:
    import sqlite3

_LARGEST = 1.7976931348623157e308
"""Stands for an infinity, as in MLflow's tables."""

_TABLES = ("runs", "latest_metrics", "params", "tags", "inputs", "datasets", "input_tags")
_CONTEXT = "mlflow.data.context"


def metric_row(value: float) -> tuple[float, bool]:
    """A metric's value as MLflow's tables keep it, and whether it is NaN."""
    if math.isnan(value):
        return 0.0, True
    return (math.copysign(_LARGEST, value) if math.isinf(value) else value), False


class RunRows:
    """The rows of some runs, ready to be inserted."""

    def __init__(self, base_dir: Path, shared: frozenset[str]) -> None:
        self._base_dir = base_dir
        self._shared = shared
        self._tables: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}

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
