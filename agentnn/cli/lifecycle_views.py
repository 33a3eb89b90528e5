"""Views of runs and experiments that were tagged, deleted and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.cli.amounts import age
from agentnn.cli.render import Row, Table, View
from agentnn.cli.text import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.sdk.experiment_change import ExperimentChange
    from agentnn.sdk.run_deletion import DeletionPlan, Restoration

_RUN = ("run_id", "name", "experiment", "status", "start_time", "parent_run_id")
_EXPERIMENT = ("experiment_id", "name", "runs", "runs_by_status", "models")
_SHORT_ID = 8


def tagged_view(runs: Sequence[Run], keys: Sequence[str]) -> View:
    """Runs, and what became of the tags that were changed."""
    rows = [
        Row(
            [run.run_id, run.name, *(run.tags.get(key) for key in keys)],
            run.run_id,
            run.to_dict,
            [run.run_id[:_SHORT_ID], *map(short, (run.name, *(run.tags.get(key) for key in keys)))],
        )
        for run in runs
    ]
    return View(rows, lambda: Table(["run_id", "name", *(f"tags.{key}" for key in keys)], rows))


def deletion_view(plan: DeletionPlan) -> View:
    """The runs that go or are gone, and the model versions that each made; ``-o id`` prints the runs."""
    rows = []
    for run in plan.runs:
        models = [
            f"{one.name}/{one.version}" + "".join(f"@{a}" for a in one.aliases) for one in plan.versions_of(run.run_id)
        ]
        rows.append(_run_row(run, plan.run_record(run), [models, plan.deleted]))
    return View(rows, lambda: Table([*_RUN, "models", "deleted"], rows, essential=5), document=plan.to_dict)


def restoration_view(done: Restoration) -> View:
    """The runs that come back; ``-o id`` prints them."""
    rows = [_run_row(run, done.run_record(run), [done.restored]) for run in done.runs]
    return View(rows, lambda: Table([*_RUN, "restored"], rows, essential=5), document=done.to_dict)


def experiment_changes_view(changes: Sequence[ExperimentChange], done: str, *, single: bool = False) -> View:
    """Experiments with what goes or comes with them; ``done`` heads the last column."""
    rows = []
    for one in changes:
        fields = {**one.to_dict(), "models": [f"{model.name}/{model.version}" for model in one.versions]}
        cells = [*(fields[column] for column in _EXPERIMENT), one.done]
        rows.append(Row(cells, one.experiment.experiment_id, one.to_dict))
    return View(rows, lambda: Table([*_EXPERIMENT, done], rows, essential=4), single=single)


def _run_row(run: Run, record: dict[str, Any], more: Sequence[Any]) -> Row:
    cells = [*(record[column] for column in _RUN), *more]
    shown = [short(cell) for cell in cells]
    shown[0], shown[4], shown[5] = run.run_id[:_SHORT_ID], age(run.start_time), (run.parent_run_id or "")[:_SHORT_ID]
    return Row(cells, run.run_id, lambda: record, shown)
