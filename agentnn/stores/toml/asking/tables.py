"""The tables of an index, asked as MLflow's are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.query.selection import Best, Excluded
from agentnn.stores.sql.store import SqlQuestions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.runs import FieldKind, RunQuery
    from agentnn.query.selection import BestQuery
    from agentnn.records import Run


class IndexTables(SqlQuestions):
    """Questions that the tables of an index answer; an experiment's id is text there."""

    def _keys_of(self, experiment_ids: Sequence[str]) -> Sequence[Any]:
        return experiment_ids


class NoTables:
    """The same questions where there is no run, and so no index."""

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """None."""
        return iter(())

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """None of any status."""
        return {}

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """None."""
        return []

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """None."""
        return []

    def best_runs(self, query: BestQuery) -> Best:
        """None, and none left out."""
        return Best((), 0, Excluded()) if query.tally else Best(())
