"""``agentnn run tag|note|delete|restore``"""

import sys
from collections.abc import Mapping, Sequence
from shlex import join
from typing import TYPE_CHECKING, Annotated

import typer

from agentnn.cli import completion
from agentnn.cli.command_lines import SHOWN, command_line, count, names, version_names
from agentnn.cli.options import (
    ExperimentsOption,
    FilterOption,
    FormulasOption,
    OutputOption,
    RunArgument,
    YesOption,
    manager_of,
    note,
)
from agentnn.cli.render import Output, emit, emit_bytes

if TYPE_CHECKING:
    from agentnn.sdk.run_deletion import DeletionPlan, Restoration

_Runs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Runs, by any selector; - reads them from standard input, one a line.",
        metavar="[RUN]...",
        autocompletion=completion.runs,
    ),
]


def tag(
    ctx: typer.Context,
    runs: _Runs = None,
    tags: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A tag to set; may be repeated.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="KEY", help="A tag to take off; may be repeated.")
    ] = None,
    filter: FilterOption = None,
    experiment: ExperimentsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Set tags of runs and take others off, of those that are named or of all that --filter and -e leave.

    Finished runs can be tagged; a deleted one can't (exit code 6). Setting mlflow.runName renames a run. In a SQLite
    store all runs change, or none.
    """
    from agentnn.cli.lifecycle_views import tagged_view
    from agentnn.sdk.run_tags import parse_tags

    wanted, gone = parse_tags(tags or ()), remove or []
    done = manager_of(ctx).tag_runs(
        _selectors(runs), wanted, remove=gone, filter=filter, experiment=experiment or None
    )  # fmt: skip
    emit(tagged_view(done, [*wanted, *gone]), output, formulas=keep_formulas)
    note(f"{count(len(done), 'run')} tagged" if done else "no run matches; nothing was changed")


def note_(
    ctx: typer.Context,
    run: RunArgument,
    text: Annotated[
        str | None,
        typer.Argument(help="The new note; - reads it from standard input, '' takes it off.", metavar="[TEXT]"),
    ] = None,
    experiment: ExperimentsOption = None,
) -> None:
    """Print the note of a run, or give it one; MLflow shows it as the run's description.

    A deleted run takes none: exit code 6.
    """
    manager = manager_of(ctx)
    if text is None:
        written = manager.get_note(run, experiment=experiment)
        if written:
            emit_bytes(iter([written.removesuffix("\n").encode() + b"\n"]), "the note")
        else:
            note("the run has no note")
        return
    noted = manager.set_note(run, _standard_input() if text == "-" else text, experiment=experiment)
    note(f"the note of {noted.name or noted.run_id} was {'written' if text else 'taken off'}")


def delete(
    ctx: typer.Context,
    runs: _Runs = None,
    filter: FilterOption = None,
    experiment: ExperimentsOption = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Only what started so long ago: 30d, 12h, 2w, 90m."),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only what is FAILED, KILLED, …; may be repeated."),
    ] = None,
    keep_children: Annotated[
        bool, typer.Option("--keep-children", help="Leave nested runs where they are, without a parent.")
    ] = False,
    yes: YesOption = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Delete runs, and those nested in them; without --yes it is only said what would go.

    Runs are named, or all go that --filter, -e, --older-than and --status leave; of these a run that is still running
    stays, unless --status RUNNING is given. Files and model versions stay, and agentnn run restore brings the runs
    back; only what MLflow's evaluation has judged with them is lost. In a SQLite store all runs go, or none.
    """
    from agentnn.cli.lifecycle_views import deletion_view

    selectors = _selectors(runs)
    plan = manager_of(ctx).delete_runs(
        selectors, filter=filter, experiment=experiment or None, older_than=older_than, status=status or None,
        keep_children=keep_children, dry_run=not yes,
    )  # fmt: skip
    emit(deletion_view(plan), output, formulas=keep_formulas)
    _say_plan(plan)
    if plan.runs and not plan.deleted:
        asked = {"--filter": [filter], "-e": experiment, "--older-than": [older_than], "--status": status}
        words = [*_exact(selectors, plan), *_options(asked), *(["--keep-children"] if keep_children else [])]
        note(f"nothing was deleted; to delete: {_command(ctx, 'run', 'delete', *words, '--yes')}")
    if plan.undo:
        note(f"{'to undo' if plan.deleted else 'it can be undone'}: {join(plan.undo)}")


def restore(
    ctx: typer.Context,
    runs: _Runs = None,
    filter: FilterOption = None,
    experiment: ExperimentsOption = None,
    with_children: Annotated[
        bool, typer.Option("--with-children", help="Also the deleted runs that are nested in them.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --filter or -e: do it, instead of saying what would come back.")
    ] = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Bring deleted runs back: those that are named, or with --yes all that --filter and -e leave.

    A run whose experiment is deleted needs that back first: exit code 6, with the command. In a SQLite store all runs
    come back, or none.
    """
    from agentnn.cli.lifecycle_views import restoration_view

    selectors = _selectors(runs)
    done = manager_of(ctx).restore_runs(
        selectors, filter=filter, experiment=experiment or None, with_children=with_children,
        dry_run=not (selectors or yes),
    )  # fmt: skip
    emit(restoration_view(done), output, formulas=keep_formulas)
    _say_restored(ctx, done)
    if done.runs and not done.restored:
        words = _options({"--filter": [filter], "-e": experiment})
        words += ["--with-children"] if with_children else []
        note(f"nothing was restored; to restore: {_command(ctx, 'run', 'restore', *words, '--yes')}")


def _say_plan(plan: "DeletionPlan") -> None:
    """What a table of the runs does not say."""
    if not plan.runs and not plan.already_deleted:
        note("no run matches; nothing was deleted")
    for run in plan.already_deleted:
        note(f"{run.name or run.run_id} ({run.run_id}) is deleted already")
    if plan.left_out:
        note(
            f"{count(len(plan.left_out), 'run')} left out, still running or holding a nested one that is; "
            "--status RUNNING takes these, and agentnn run doctor --fix closes those whose process died"
        )
    if plan.nested:
        note(f"{count(len(plan.nested), 'nested run')} among them; --keep-children leaves those that are only nested")
    if plan.orphans:
        note(f"left without a parent: {names(run.name or run.run_id for run in plan.orphans)}")
    if plan.still_running:
        running = names(run.name or run.run_id for run in plan.still_running)
        note(f"still running, and what they log from now on is refused: {running}")
    if plan.versions:
        made = version_names(plan.versions)
        note(f"model versions of these runs stay, and stay loadable: {made}")
    if plan.deleted:
        note(f"{count(len(plan.runs), 'run')} deleted")


def _say_restored(ctx: typer.Context, done: "Restoration") -> None:
    if not done.runs and not done.not_deleted:
        note("no deleted run matches; nothing was restored")
    for run in done.not_deleted:
        note(f"{run.name or run.run_id} ({run.run_id}) is not deleted")
    for experiment in dict.fromkeys(run.experiment for run in done.left_out):
        stuck = sum(run.experiment == experiment for run in done.left_out)
        note(
            f"{count(stuck, 'run')} left out: the experiment {experiment!r} is deleted; "
            f"{_command(ctx, 'experiment', 'restore', experiment)}"
        )
    if done.children_left:
        note(f"{count(len(done.children_left), 'nested run')} of these stay deleted; --with-children restores them")
    for parent in done.deleted_parents[:SHOWN]:
        note(
            f"the parent {parent.name or parent.run_id} stays deleted: {_command(ctx, 'run', 'restore', parent.run_id)}"
        )
    if done.restored:
        note(f"{count(len(done.runs), 'run')} restored")


def _selectors(runs: Sequence[str] | None) -> list[str]:
    """The selectors, those from standard input in the place of ``-``."""
    found: list[str] = []
    for one in runs or ():
        found += [line.strip() for line in _standard_input().splitlines() if line.strip()] if one == "-" else [one]
    if runs and not found:
        from agentnn.errors import UsageError

        raise UsageError("standard input names no runs", hint="one selector a line, such as: agentnn run list -o id")
    return found


def _standard_input() -> str:
    from agentnn.errors import UsageError

    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise UsageError("standard input is not text in UTF-8", hint="check its encoding") from None


def _exact(selectors: Sequence[str], plan: "DeletionPlan") -> list[str]:
    """The same runs once more: ``@last`` may name another run by then."""
    if any(one.startswith(("@", "models:/")) for one in selectors):
        return [run.run_id for run in plan.runs if run.run_id not in plan.nested]
    return list(selectors)


def _options(asked: Mapping[str, Sequence[str | None] | None]) -> list[str]:
    return [word for name, values in asked.items() for value in values or () if value for word in (name, value)]


def _command(ctx: typer.Context, *words: str) -> str:
    return command_line(manager_of(ctx).settings, *words)
