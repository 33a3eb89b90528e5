"""``agentnn run artifacts …``"""

from typing import Annotated

import typer

from agentnn.cli.options import ExperimentsOption, FormulasOption, OutputOption, RunArgument, manager_of, note
from agentnn.cli.render import Output, emit, emit_bytes
from agentnn.cli.run_views import artifacts_view

_PATTERN = "A path in the run, or a pattern: *.csv, **/*.png."


def ls(
    ctx: typer.Context,
    run: RunArgument,
    path: Annotated[
        str, typer.Argument(help=f"{_PATTERN} The root otherwise.", metavar="[PATH|PATTERN]", show_default=False)
    ] = "",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="All files under the folders, and no folders.")
    ] = False,
    experiment: ExperimentsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """List the files and folders of a run, its models among them.

    In a pattern * stays in its folder, and ** stands for any folders. Exit code 3 when there is no such path, and 7
    when the store says that the files are where none may be read.
    """
    found = manager_of(ctx).find_artifacts(run, [path], recursive=recursive, experiment=experiment)
    emit(artifacts_view(found), output, formulas=keep_formulas)


def cat(
    ctx: typer.Context,
    run: RunArgument,
    path: Annotated[str, typer.Argument(help="A file of the run.", metavar="PATH")],
    experiment: ExperimentsOption = None,
) -> None:
    """Print a file of a run, byte by byte.

    A terminal gets text only, its control characters spelled out; what is not text is refused there with exit code 2.
    """
    emit_bytes(manager_of(ctx).read_artifact(run, path, experiment=experiment), path)


def get(
    ctx: typer.Context,
    run: RunArgument,
    patterns: Annotated[
        list[str] | None, typer.Argument(help=f"{_PATTERN} Everything otherwise.", metavar="[PATH|PATTERN]...")
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="Where to write; made when it is not there.")] = ".",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    experiment: ExperimentsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Download files of a run, each under its path in the run.

    A file is written whole or not at all. When one is there already nothing is written: exit code 6, unless with
    --force. A path that leads out of DIR is refused with exit code 7.
    """
    from agentnn.cli.transfer_views import downloads_view

    written = manager_of(ctx).download_artifacts(run, patterns or (), to, force=force, experiment=experiment)
    emit(downloads_view(written), output, formulas=keep_formulas)
    if not written:
        note("the run has no files")
