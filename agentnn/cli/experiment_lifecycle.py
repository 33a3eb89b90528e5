"""``agentnn experiment create|rename|tag|delete|restore``"""

from typing import TYPE_CHECKING, Annotated

import typer

from agentnn.cli import completion
from agentnn.cli.command_lines import command_line, count, version_names
from agentnn.cli.experiment_views import experiments_view
from agentnn.cli.options import FormulasOption, OutputOption, YesOption, manager_of, note
from agentnn.cli.render import Output, emit

if TYPE_CHECKING:
    from agentnn.sdk.experiment_change import ExperimentChange

_Experiment = Annotated[
    str, typer.Argument(help="A name or an id.", metavar="EXPERIMENT", autocompletion=completion.experiments)
]


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name.", metavar="NAME")],
    artifact_location: Annotated[
        str | None,
        typer.Option(
            "--artifact-location",
            metavar="URI",
            help="Where the files of its runs go; the store's own place otherwise.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag to set; may be repeated.")
    ] = None,
    output: OutputOption = Output.auto,
) -> None:
    """Make an experiment, and the store too where there is none yet.

    Exit code 6: the name is taken, or a deleted experiment holds it.
    """
    from agentnn.sdk.run_tags import parse_tags

    made = manager_of(ctx).create_experiment(name, artifact_location=artifact_location, tags=parse_tags(tag or ()))
    emit(experiments_view([made])._replace(single=True), output)


def rename(
    ctx: typer.Context,
    experiment: _Experiment,
    name: Annotated[str, typer.Argument(help="Its new name.", metavar="NEW")],
    output: OutputOption = Output.auto,
) -> None:
    """Give an experiment another name; its id, its runs and their files stay.

    Exit code 6: the name is taken, or the experiment is deleted.
    """
    renamed = manager_of(ctx).rename_experiment(experiment, name)
    emit(experiments_view([renamed])._replace(single=True), output)


def tag(
    ctx: typer.Context,
    experiment: _Experiment,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to set.", metavar="[KEY=VALUE]...")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="KEY", help="A tag to take off; may be repeated.")
    ] = None,
    output: OutputOption = Output.auto,
) -> None:
    """Set tags of an experiment and take others off. Exit code 6: it is deleted."""
    from agentnn.sdk.run_tags import parse_tags

    wanted, gone = parse_tags(tags or ()), remove or []
    tagged = manager_of(ctx).tag_experiment(experiment, wanted, remove=gone)
    columns = ",".join(["experiment_id", "name", *(f"tags.{key}" for key in (*wanted, *gone) if "," not in key)])
    emit(experiments_view([tagged], columns)._replace(single=True), output)


def delete(
    ctx: typer.Context,
    experiments: Annotated[
        list[str],
        typer.Argument(help="Names or ids.", metavar="EXPERIMENT...", autocompletion=completion.experiments),
    ],
    yes: YesOption = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Delete experiments with their runs; without --yes it is only said what would go.

    A deleted experiment keeps its name, so that no other can take it. Files and model versions stay, and agentnn
    experiment restore brings it back.
    """
    from agentnn.cli.lifecycle_views import experiment_changes_view

    done = manager_of(ctx).delete_experiments(experiments, dry_run=not yes)
    emit(experiment_changes_view(done, "deleted"), output, formulas=keep_formulas)
    for one in done:
        _say_deletion(one)
    settings = manager_of(ctx).settings
    going = [one for one in done if not one.was_done_before]
    if going and not yes:
        names = [one.experiment.name for one in going]
        note(f"nothing was deleted; to delete: {command_line(settings, 'experiment', 'delete', *names, '--yes')}")
    for one in going:
        undo = command_line(settings, "experiment", "restore", one.experiment.name)
        note(f"{'to undo' if yes else 'it can be undone'}: {undo}")
        if one.deleted_before:
            before = count(one.deleted_before, "run")
            note(f"that also brings back what was deleted of {one.experiment.name} before: {before}")


def restore(ctx: typer.Context, experiment: _Experiment, output: OutputOption = Output.auto) -> None:
    """Bring a deleted experiment back with all its runs, those too that had been deleted one by one before.

    Exit code 6: another experiment has its name by now.
    """
    from agentnn.cli.lifecycle_views import experiment_changes_view

    done = manager_of(ctx).restore_experiment(experiment)
    emit(experiment_changes_view([done], "restored", single=True), output)
    if done.was_done_before:
        note(f"the experiment {done.experiment.name!r} is not deleted")
        return
    if done.runs:
        note(f"back with it: {count(done.runs, 'run')}, those included that had been deleted one by one before")


def _say_deletion(one: "ExperimentChange") -> None:
    name = one.experiment.name
    if one.was_done_before:
        note(f"the experiment {name!r} is deleted already")
        return
    running = one.runs_by_status.get("RUNNING", 0)
    if running:
        note(f"still running in {name}, and what they log from now on is refused: {count(running, 'run')}")
    if one.versions:
        note(f"model versions of the runs of {name} stay, and stay loadable: {version_names(one.versions)}")
