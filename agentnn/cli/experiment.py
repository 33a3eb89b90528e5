"""``agentnn experiment list|show``: questions about experiments."""

from typing import Annotated, Literal

import typer

from agentnn.cli import completion
from agentnn.cli.experiment_views import experiment_view, experiments_view
from agentnn.cli.options import ColumnsOption, FormulasOption, LimitOption, OutputOption, ViewOption, manager_of, note
from agentnn.cli.render import Output, emit


def list_experiments(
    ctx: typer.Context,
    view: ViewOption = "active",
    limit: LimitOption = 0,
    columns: ColumnsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """List experiments, the newest first."""
    found = manager_of(ctx).list_experiments(view=view)
    shown = found[:limit] if limit else found
    emit(experiments_view(shown, columns), output, formulas=keep_formulas)
    if len(shown) < len(found):
        note(f"showing {len(shown)} of {len(found)} experiments; --limit 0 shows all")


def show(
    ctx: typer.Context,
    experiment: Annotated[
        str, typer.Argument(help="A name or an id.", metavar="EXPERIMENT", autocompletion=completion.experiments)
    ],
    output: OutputOption = Output.auto,
) -> None:
    """Show one experiment: what it is, and how many runs of which status it holds."""
    manager = manager_of(ctx)
    found = manager.get_experiment(experiment)
    # Deleting an experiment deletes its runs with it.
    view: Literal["active", "all"] = "active" if found.lifecycle_stage == "active" else "all"
    emit(experiment_view(found, manager.count_runs(found, view=view)), output)
