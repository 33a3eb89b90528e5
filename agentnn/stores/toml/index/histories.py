"""The view of an index that questions about the histories of many runs are answered from: the table ``metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError
from agentnn.stores.toml.asking.histories import histories_of
from agentnn.stores.toml.index.reading import Problem
from agentnn.stores.toml.index.rows import metric_row
from agentnn.stores.toml.index.schema import HISTORY_INDEXES
from agentnn.stores.toml.index.seen import run_uuid
from agentnn.stores.toml.layout import CONFIG, HISTORY, METRICS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agentnn.stores.toml.index.seen import Change


class HistoriesView:
    """The table ``metrics``: every value of every metric."""

    name = "histories"
    files: Sequence[str] = (CONFIG, METRICS, HISTORY)
    shared_matter = True

    def apply(self, connection: sqlite3.Connection, base_dir: Path, change: Change) -> Iterator[Problem]:
        """Bring the table up to date; what can't be read comes back."""
        if change.whole:
            connection.execute("DELETE FROM metrics")
            for name in HISTORY_INDEXES:
                connection.execute(f"DROP INDEX {name}")
        else:
            ids = [(run_uuid(key, change.shared),) for key in (*change.read, *change.gone)]
            connection.executemany("DELETE FROM metrics WHERE run_uuid = ?", ids)
        for key in change.read:
            run_id = run_uuid(key, change.shared)
            try:
                histories = histories_of(base_dir / key.project / key.run)
            except AgentNNError as error:
                yield Problem(key, f"{key.project}/{key.run}/{HISTORY}", error.message)
                continue
            rows = [
                (run_id, one.key, *metric_row(one.value), one.step, one.timestamp)
                for points in histories.values()
                for one in points
            ]
            connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
        if change.whole:
            for definition in HISTORY_INDEXES.values():
                connection.execute(f"CREATE {definition}")
