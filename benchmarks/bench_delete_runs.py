"""Deleting many runs by a filter, per run: agentnn against a loop of ``MlflowClient.delete_run`` in this process.

``mlflow runs delete`` would take what the loop takes and 2 s for its start, for each run. The loop is handed its ids;
ours finds the runs, those that are nested in them and their model versions. Before each turn the runs are restored,
unmeasured, and after it SQLite is asked whether just these are deleted.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import subjects as given
from timing import Goal, Sample, alternate, print_header, print_row, run_call, run_command

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

GOAL = Goal(at_least=5)
FILTER = "tags.bench.chosen = 'yes'"
CHOOSE = """
INSERT INTO tags (key, value, run_uuid)
SELECT 'bench.chosen', 'yes', r.run_uuid FROM runs r
WHERE r.lifecycle_stage = 'active' AND r.status = 'FINISHED'
AND r.run_uuid NOT IN (SELECT value FROM tags WHERE key = 'mlflow.parentRunId')
ORDER BY r.run_uuid LIMIT ?
"""
DELETED = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'"


class Store:
    """A copy of a store in which runs are chosen, and can be restored."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self._execute(CHOOSE, count)
        self.chosen = sorted(row[0] for row in self._execute("SELECT run_uuid FROM tags WHERE key = 'bench.chosen'"))
        self._before = {row[0] for row in self._execute(DELETED)}

    def restore(self) -> None:
        """Make the chosen runs active again."""
        chosen = "SELECT run_uuid FROM tags WHERE key = 'bench.chosen'"
        self._execute(f"UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid IN ({chosen})")
        self._execute("DELETE FROM tags WHERE key = 'agentnn.deletion'")

    def check(self) -> None:
        """Stop when anything but the chosen runs was deleted."""
        given.same("deleted runs", sorted({row[0] for row in self._execute(DELETED)} - self._before), self.chosen)

    def measure(self, delete: Callable[[], Sample]) -> Sample:
        """Measure one deletion; the times are those of one run."""
        self.restore()
        sample = delete()
        self.check()
        return Sample(sample.wall / len(self.chosen), sample.peak)

    def _execute(self, sql: str, *values: object) -> list[tuple[str]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, values).fetchall()


def main() -> None:
    """Print two rows."""
    options = options_of()
    with tempfile.TemporaryDirectory(prefix="agentnn-bench-") as folder:
        path = Path(folder, "mlflow.db")
        shutil.copyfile(given.store_of(options.runs), path)
        compare(Store(path, options.delete), options)


def options_of() -> Namespace:
    """Read the options; go on in the interpreter that has agentnn, when another one was given."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the store")
    parser.add_argument("--delete", type=int, default=1000, help="how many of them are deleted")
    options = parser.parse_args()
    if Path(options.python).absolute() != Path(sys.executable).absolute():
        os.execve(options.python, [options.python, *sys.argv], given.clean_environment())
    return options


def compare(store: Store, options: Namespace) -> None:
    """Measure the calls in this process, and our whole process against the same loop."""
    from mlflow import MlflowClient

    from agentnn import ModelManager

    subjects = given.subjects(options.python, store.path)
    client, manager = MlflowClient(subjects.uri), ModelManager(subjects.uri)
    command = subjects.agentnn("run", "delete", "--filter", FILTER, "--yes", "-o", "id")

    def loop() -> None:
        for run_id in store.chosen:
            client.delete_run(run_id)

    own = {
        "delete_runs, in process": lambda: run_call(lambda: manager.delete_runs(filter=FILTER)),
        "run delete, the whole process": lambda: run_command(command),
    }
    print_header(f"Deleting {len(store.chosen):,} of {options.runs:,} runs by a filter: time per run")
    for label, delete in own.items():
        result = alternate(
            lambda delete=delete: store.measure(delete),  # type: ignore[misc]
            lambda: store.measure(lambda: run_call(loop)),
            options.rounds,
            1,
        )
        print_row((label, "agentnn", "MlflowClient.delete_run"), result, GOAL, floor=False)


if __name__ == "__main__":
    main()
