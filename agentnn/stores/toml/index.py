"""What a scan of all projects has read, kept beside them so that the next one reads only what changed."""

from __future__ import annotations

import json
import math
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import AgentNNError
from agentnn.stores.toml.index_schema import TABLES
from agentnn.stores.toml.layout import CONFIG, INDEX
from agentnn.stores.toml.run_directory import RunDirectory
from agentnn.stores.toml.run_documents import facts_of

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 1.7976931348623157e308


class Unreadable(NamedTuple):
    """A file that could not be read; the runs of all others are there."""

    path: Path
    problem: str


class Index:
    """The index of a folder of projects; threads and processes may share it.

    Args:
        base_dir: The folder of all projects.

    Attributes:
        base_dir: The folder.
        path: The index: a SQLite database with the tables of :mod:`~agentnn.stores.toml.index_schema`. Where nothing
            may be written beside the projects it is elsewhere.
    """

    def __init__(self, base_dir: Path) -> None:
        self.base_dir = base_dir.absolute()
        self.path = self.base_dir / INDEX

    def refresh(self, *, histories: bool = False) -> tuple[Unreadable, ...]:
        """Bring the index up to date with the files.

        Args:
            histories: The table ``metrics`` too, which few questions need.

        Returns:
            The files that could not be read.

        Raises:
            StoreUnavailable: There is no such folder, or it can't be read.
        """
        unreadable = []
        made = self.path.with_suffix(".new")
        made.unlink(missing_ok=True)
        database = sqlite3.connect(made)
        database.executescript(TABLES)
        for project in sorted(one for one in self.base_dir.iterdir() if one.is_dir()):
            database.execute(
                "INSERT INTO experiments VALUES (?, ?, ?, 'active', NULL, NULL)",
                (project.name, project.name, str(project)),
            )
            for folder in sorted(one for one in project.iterdir() if (one / CONFIG).is_file()):
                run = RunDirectory(folder)
                try:
                    config, metrics = run.read_config(), run.read_metrics()
                except AgentNNError as error:
                    unreadable.append(Unreadable(folder / CONFIG, error.message))
                    continue
                facts = facts_of(run.run_id, config, metrics, int((folder / CONFIG).stat().st_mtime * 1000))
                database.execute(
                    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        run.run_id, facts.name, facts.user, facts.status, facts.start_time, facts.end_time,
                        facts.lifecycle_stage, str(folder), project.name,
                    ),
                )  # fmt: skip
                for key, value in facts.metrics.items():
                    kept = math.copysign(_LARGEST, value) if math.isinf(value) else value
                    row = (run.run_id, key, 0.0 if math.isnan(value) else kept, math.isnan(value))
                    database.execute("INSERT INTO latest_metrics VALUES (?, ?, ?, ?)", row)
                for table, texts in (("params", facts.params), ("tags", facts.tags)):
                    rows = [(run.run_id, key, text) for key, text in texts.items()]
                    database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)
                document = json.dumps({"config": config, "metrics": metrics}, default=str)
                database.execute("INSERT INTO documents VALUES (?, ?)", (run.run_id, document))
        database.commit()
        database.close()
        made.replace(self.path)
        return tuple(unreadable)
