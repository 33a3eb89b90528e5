"""``agentnn run export`` and ``agentnn run import``"""

from pathlib import Path
from typing import Annotated, Any

import typer

from agentnn.cli import completion
from agentnn.cli.amounts import counted
from agentnn.cli.options import (
    ExperimentsOption,
    FilterOption,
    FormulasOption,
    OutputOption,
    ViewOption,
    manager_of,
    note,
)
from agentnn.cli.render import Output, emit


def export(
    ctx: typer.Context,
    target: Annotated[
        Path, typer.Argument(help="A new folder, or a new file that ends with .zip or .tar.gz.", metavar="DIR|FILE")
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs, by any selector; what --filter and -e leave otherwise.",
            metavar="[RUN]...",
            autocompletion=completion.runs,
        ),
    ] = None,
    filter: FilterOption = None,
    experiment: ExperimentsOption = None,
    view: ViewOption = "active",
    children: Annotated[
        bool, typer.Option("--include-children/--exclude-children", help="Whether nested runs come along.")
    ] = True,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Write runs with their params, tags, metric histories and files as a folder of JSON and files, or as one archive.

    docs/export-format.md describes it; agentnn run import reads it into any store. DIR or FILE must not be there yet
    (exit code 6), and appears when it is complete. The store is left alone.
    """
    from agentnn.cli.transfer_views import exported_view

    exported = manager_of(ctx).export_runs(
        target, runs or (), filter=filter, experiment=experiment, view=view, children=children
    )
    emit(exported_view(exported), output, formulas=keep_formulas)
    note(f"{counted(len(exported), 'run')} exported to {target}")


def import_(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="What agentnn run export wrote: a folder, .zip or .tar.gz. With --from: runs there, by any selector.",
            metavar="DIR|FILE|RUN...",
        ),
    ] = None,
    from_store: Annotated[
        str | None,
        typer.Option("--from", metavar="URI", help="Take runs straight from this store: toml:DIR, sqlite:///FILE, …"),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            "-e",
            metavar="EXPERIMENT",
            help="Put all runs into this experiment; those of the same names as before otherwise.",
            autocompletion=completion.experiments,
        ),
    ] = None,
    from_experiment: Annotated[
        list[str] | None,
        typer.Option("--from-experiment", metavar="EXPERIMENT", help="With --from: only runs of these experiments."),
    ] = None,
    filter: FilterOption = None,
    view: ViewOption = "active",
    children: Annotated[
        bool, typer.Option("--include-children/--exclude-children", help="With --from: whether nested runs come along.")
    ] = True,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Make runs in this store: params, tags, metric histories, times, status, nesting and files.

    They come from an export, or with --from straight from another store, which is left alone: from toml:./checkpoints
    into MLflow, and back. There, --filter, --view and --from-experiment say which runs, where none are named.

    Each run keeps its id, in an MLflow store as the tag agentnn.imported_run_id: a run that is there already is left
    out, and one that was interrupted goes on where it was. Every file is compared with its digest before anything is
    written: exit code 5 when the export is damaged, 7 when it is unsafe. Experiments are made where there are none.
    """
    from agentnn.cli.transfer_views import imported_view

    named = sources or []
    where: dict[str, Any] = {"runs": named}
    if from_store is None:
        where = {"source": named[0] if named else None, "runs": named[1:]}
    imported = manager_of(ctx).import_runs(
        **where,
        from_store=from_store,
        experiment=experiment,
        filter=filter,
        from_experiment=from_experiment,
        view=view,
        children=children,
    )
    emit(imported_view(imported), output, formulas=keep_formulas)
    there = sum(one.result == "there" for one in imported)
    note(f"{counted(len(imported) - there, 'run')} imported" + (f", {there} already there" if there else ""))
