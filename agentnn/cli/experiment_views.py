"""Experiments as views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.cli.record_views import chosen_columns, listed_view, pairs_of, single_view
from agentnn.cli.render import Row, View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentnn.records import Experiment

EXPERIMENT_FIELDS = (
    "experiment_id", "name", "lifecycle_stage", "creation_time", "last_update_time", "artifact_location",
)  # fmt: skip


def experiments_view(experiments: Iterable[Experiment], columns: str | None = None) -> View:
    """Experiments as rows."""
    chosen = chosen_columns(columns, EXPERIMENT_FIELDS, ("tags",))
    return listed_view(experiments, lambda one: one.experiment_id, chosen, lambda _: EXPERIMENT_FIELDS)


def experiment_view(experiment: Experiment, runs_by_status: dict[str, int]) -> View:
    """One experiment, and how many runs of which status it holds."""
    counts = {"runs": sum(runs_by_status.values()), "runs_by_status": dict(sorted(runs_by_status.items()))}
    fields = {**experiment.to_dict(), **counts}
    columns = [*EXPERIMENT_FIELDS, *counts]
    row = Row([fields[column] for column in columns], experiment.experiment_id, lambda: fields)
    return single_view(columns, row, lambda: pairs_of(experiment, fields, columns))
