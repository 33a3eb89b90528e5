"""``agentnn model register``, ``promote``, ``rollback``, ``history``, ``download``, ``predict`` and ``delete``"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentnn.cli import completion
from agentnn.cli.options import FormulasOption, OutputOption, YesOption, manager_of, note
from agentnn.cli.render import Output, emit, save

if TYPE_CHECKING:
    from agentnn.registry.deletion import ModelDeletion
    from agentnn.registry.promotion import Promotion

_Name = Annotated[str, typer.Argument(help="A registered model.", metavar="NAME", autocompletion=completion.models)]
_Model = Annotated[
    str,
    typer.Argument(
        help="NAME, NAME@ALIAS, NAME/3, or the same behind models:/.",
        metavar="MODEL",
        autocompletion=completion.model_versions,
    ),
]
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")]
_NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Don't load the version and try it on its input example first.")
]
_Trust = Annotated[bool, typer.Option("--trust", help="Load a model that runs code which it brings along.")]
_Stage = Literal["None", "Staging", "Production", "Archived"]


def register(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="The run that holds the model (an id, a name, @last, …), or a folder with an MLmodel file.",
            metavar="RUN|PATH",
            autocompletion=completion.runs,
        ),
    ],
    name: Annotated[
        str,
        typer.Option(
            "--name", metavar="NAME", help="The registered model; it is made if new.", autocompletion=completion.models
        ),
    ],
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="The model's folder in the run.")] = "model",
    alias: Annotated[
        str | None, typer.Option("--alias", metavar="ALIAS", help="Move this alias to the new version.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="A tag of the new version; may be repeated."),
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What the version is, in words.")
    ] = None,
    output: OutputOption = Output.auto,
) -> None:
    """Register a model of a run or of a folder.

    -o id prints models:/NAME/VERSION. The files of a folder are copied into the store, into a run that is made to hold
    them, so that the version depends on no folder of yours. Text with a / is a path, and so is the name of a folder
    with a model in it. --alias moves without verifying, and goes into the history; model promote verifies.
    """
    from agentnn.cli.model_views import version_view
    from agentnn.registry.registration import parse_tags

    made = manager_of(ctx).register_model(
        name, source, artifact_path=path, alias=alias, tags=parse_tags(tag or ()), description=description
    )
    emit(version_view(made), output)


def promote(
    ctx: typer.Context,
    name: _Name,
    version: Annotated[str, typer.Argument(help="A version number, @alias or latest.", metavar="VERSION")],
    alias: Annotated[str | None, typer.Option("--alias", metavar="ALIAS", help="The alias to move.")] = None,
    stage: Annotated[
        _Stage | None, typer.Option("--stage", help="A stage instead of an alias; MLflow deprecates stages.")
    ] = None,
    if_better: Annotated[
        str | None,
        typer.Option(
            "--if-better",
            metavar="METRIC[:min|:max]",
            help="Only if the version's run is better by this metric; max, unless the project declares it otherwise.",
            autocompletion=completion.metrics,
        ),
    ] = None,
    than: Annotated[
        str | None,
        typer.Option(
            "--than",
            metavar="SELECTOR",
            help="Better than what: @alias, a version, models:/NAME@ALIAS or a run; who holds the alias otherwise.",
        ),
    ] = None,
    min_delta: Annotated[
        float, typer.Option("--min-delta", metavar="X", help="Better by more than this, in the metric's unit.")
    ] = 0.0,
    reason: _Reason = "",
    no_verify: _NoVerify = False,
    trust: _Trust = False,
    output: OutputOption = Output.auto,
) -> None:
    """Move an alias to a version, and remember it.

    It is verified, moved and written down, or nothing is changed at all. The version must load and predict its own
    input example. What was moved, by whom, when and why goes into the history of the model. Exit code 1: not better; 3:
    the version, a run or its metric is not there; 5: the version does not load or fails; 6: somebody else moved the
    alias at the same time; 7: loading it would run code that it brings along. Nothing is moved then. Where the alias is
    there already, nothing is done, and the code is 0.
    """
    from agentnn.cli.registry_views import promotion_view

    done = manager_of(ctx).promote_model(
        name, version, alias, stage=stage, if_better=if_better, than=than, min_delta=min_delta, reason=reason,
        verify=not no_verify, trust=trust,
    )  # fmt: skip
    emit(promotion_view(done), output)
    _say(done)


def rollback(
    ctx: typer.Context,
    name: _Name,
    alias: Annotated[str, typer.Option("--alias", metavar="ALIAS", help="The alias to move back.")],
    reason: _Reason = "",
    no_verify: _NoVerify = False,
    trust: _Trust = False,
    output: OutputOption = Output.auto,
) -> None:
    """Move an alias back to the version before.

    Once more, and it goes to the one before that. An alias that was moved outside agentnn goes back to the last version
    that the history knows. Exit code 3: there was none before, or it was deleted; otherwise as for model promote.
    """
    from agentnn.cli.registry_views import promotion_view

    done = manager_of(ctx).rollback_model(name, alias, reason=reason, verify=not no_verify, trust=trust)
    emit(promotion_view(done), output)
    _say(done)


def history(
    ctx: typer.Context,
    name: _Name,
    alias: Annotated[str | None, typer.Option("--alias", metavar="ALIAS", help="Only this alias.")] = None,
    stage: Annotated[_Stage | None, typer.Option("--stage", help="Only this stage.")] = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Show the moves of aliases and stages.

    The newest first: when, by whom, from which version to which, why, and by which metric. A move that agentnn did not
    make, such as one in MLflow's user interface, is shown as moved outside agentnn.
    """
    from agentnn.cli.registry_views import promotion_history_view

    found = manager_of(ctx).model_history(name, alias=alias, stage=stage)
    emit(promotion_history_view(found), output, formulas=keep_formulas)
    if not found:
        note(f"{name} has no history yet; agentnn model promote begins one")


def download(
    ctx: typer.Context,
    model: _Model,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Where to; ./NAME-VERSION otherwise.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that is not empty; other files in it stay.")
    ] = False,
    output: OutputOption = Output.auto,
) -> None:
    """Fetch the files of a version.

    The folder appears as a whole or not at all. Exit code 6: the folder is not empty; 7: a name or a link would lead
    out of it.
    """
    from agentnn.cli.registry_views import download_view

    emit(download_view(manager_of(ctx).download_model(model, to, force=force)), output)


def predict(
    ctx: typer.Context,
    model: _Model,
    data: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE|-",
            help="CSV with a header, or JSON: dataframe_split, dataframe_records, inputs or instances; - is stdin.",
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Write there: .csv, .tsv, .json, .jsonl or .md by its name."),
    ] = None,
    trust: _Trust = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Let a version predict the rows of a file.

    One line a row, in their order. Exit code 2: the input does not fit the model's signature, and what is missing is
    named; 5: the model fails; 7: loading it would run code that it brings along.
    """
    from agentnn.cli.registry_views import format_of, predictions_view

    chosen = None if to is None else format_of(to)
    view = predictions_view(manager_of(ctx).predict_model(model, data, trust=trust))
    if to is not None and chosen is not None:
        save(view, to, chosen, formulas=keep_formulas)
        note(f"wrote {to}")
    else:
        emit(view, output, formulas=keep_formulas)


def delete(
    ctx: typer.Context,
    name: _Name,
    version: Annotated[
        list[str] | None,
        typer.Option(
            "--version", metavar="VERSION", help="Only this version: a number, @alias or latest; may be repeated."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what holds an alias, or is in Staging or Production.")
    ] = False,
    yes: YesOption = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Delete versions, or a whole model, for good.

    Without --yes nothing is deleted: it is only said what would go. MLflow has no way back from this. Runs and files
    stay. Exit code 6: a version holds an alias or is in Staging or Production, and there is no --force; nothing is
    deleted then.
    """
    from agentnn.cli.registry_views import deletion_view

    done = manager_of(ctx).delete_model(name, version or (), force=force, dry_run=not yes)
    emit(deletion_view(done), output, formulas=keep_formulas)
    if not done.deleted:
        _say_plan(done, force=force)


def _say(done: "Promotion") -> None:
    for said in done.notes:
        note(said)
    if done.moved:
        before = f" from version {done.previous}" if done.previous is not None else ""
        note(f"moved {done.channel} of {done.model}{before} to version {done.version}")


def _say_plan(plan: "ModelDeletion", *, force: bool) -> None:
    import shlex

    from agentnn.registry.deletion import in_use_words

    if plan.entries:
        note(f"the history of promotions goes with the model: {plan.entries} entries")
    if plan.in_use:
        note(f"in use: {in_use_words(plan.in_use)}")
    words = ["agentnn", "model", "delete", plan.model]
    words += [] if plan.whole else [f"--version={one.version}" for one in plan.versions]
    words += ["--force"] if plan.in_use or force else []
    note("nothing was deleted; there is no undo for the registry, runs and files stay")
    note(f"to delete for good: {shlex.join([*words, '--yes'])}")
