"""``agentnn run train`` and ``agentnn run replay``"""

from typing import TYPE_CHECKING, Annotated

import typer

from agentnn.cli import completion
from agentnn.cli.command_lines import command_line, count
from agentnn.cli.config import overrides_behind
from agentnn.cli.options import ExperimentsOption, FormulasOption, OutputOption, RunArgument, manager_of, note
from agentnn.cli.render import Output, emit
from agentnn.errors import TrainingError

if TYPE_CHECKING:
    from agentnn.sdk.nn_models import ModelManager
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.replay import Replay
    from agentnn.training.training_run import TrainingResult

TagOption = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag of the run; may be repeated.")
]


def train(
    ctx: typer.Context,
    config: Annotated[
        str | None,
        typer.Argument(help="A YAML file; what stands behind it are overrides: --training.epochs 5.", metavar="CONFIG"),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with this run from its last checkpoint on this machine; CONFIG may be left out then.",
            autocompletion=completion.runs,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The run's name; as CONFIG says otherwise.")] = None,
    tags: TagOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Train once as a configuration says, and record it: curves, errors, a backtest on unseen days, the network.

    By the plain loop, or by the trainer that the configuration names: trainer: advanced, dynamic_architecture,
    multi_task, distributed or online, whose own keys are in a section of that name. Overrides stand behind the file:
    --model.learning_rate 0.005, --training.epochs=5, --model.hidden_layers "[64, 32]", --trainer online. What is wrong
    with the configuration is told at once (exit code 2), before anything is loaded. Metrics without a prefix, such as
    sharpe_ratio, are those of the test part, which neither training nor the choice of the best epoch has seen; those of
    the validation part begin with validation_.

    A store that is down does not stop the training: what it logs waits on this machine (exit code 0). A loss that is no
    longer finite is exit code 8. Ctrl-C ends the run as KILLED; --resume goes on from its last checkpoint, to the same
    end bit for bit.
    """
    from agentnn.cli.training_views import trained_view
    from agentnn.sdk.run_tags import parse_tags

    manager = manager_of(ctx)
    overrides = overrides_behind(config or "", ctx)
    result = manager.train(
        config, overrides, resume=resume, run_name=name, tags=parse_tags(tags or ()), on_start=_say_what_is_trained
    )
    emit(trained_view(result), output, formulas=keep_formulas)
    _say_what_came_out(result, manager)


def replay(
    ctx: typer.Context,
    run: RunArgument,
    experiment: ExperimentsOption = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", min=0, help="How far values may lie apart: absolutely, or as a share of the greater one."
        ),
    ] = 1e-6,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="A,B,…", help="Compare these only; all but measured times otherwise."),
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Train with the code that is here, not with that of the run's commit.")
    ] = False,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Also run changes to the commit that the run recorded: code from the store."),
    ] = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Train again from a run's own configuration, commit and seed, and compare every metric at every step.

    Exit code 0 when they are the same within the tolerance, otherwise 8, with the metrics that differ and the step at
    which they first do. Where the working directory is not at the run's commit, a temporary work tree of it is made;
    yours is left alone. A commit that is not in this repository is exit code 3. Changes that were not committed come
    from the store and are run with --trust only (exit code 7). The repetition is a run with the tag agentnn.replay_of:
    --filter "tags.`agentnn.replay_of` IS NULL" leaves such runs out elsewhere.
    """
    from agentnn.cli.training_views import replay_view

    def say(original: str, commit: str | None) -> None:
        note(f"training {original} again" + (f", with the code of {commit[:12]}" if commit else ""))

    wanted = [one.strip() for one in (metrics or "").split(",") if one.strip()]
    compared = manager_of(ctx).replay(
        run, tolerance=tolerance, metrics=wanted, here=here, trust=trust, experiment=experiment, on_start=say
    )
    emit(replay_view(compared), output, formulas=keep_formulas)
    _say_how_it_compares(compared)
    if not compared.is_equal:
        raise TrainingError(
            f"{len(compared.differences)} of {count(len(compared.compared), 'metric')} of {compared.original_name} "
            f"differ by more than {compared.tolerance:g}",
            hint=f"agentnn run compare {compared.original} {compared.replayed}",
        )


def _say_what_is_trained(name: str, dataset: "Dataset") -> None:
    sizes = (
        f"{len(dataset.train)} samples to learn from, {len(dataset.validation)} to choose, {len(dataset.test)} unseen"
    )
    note(f"training {name} on {dataset.name}: {sizes}")


def _say_what_came_out(result: "TrainingResult", manager: "ModelManager") -> None:
    if result.test is not None and result.test.traded is not None:
        held, ratio = result.test.traded.buy_and_hold, result.metrics.get("sharpe_ratio")
        if ratio is not None and "sharpe_ratio" in held:
            note(f"Sharpe ratio on days it never saw: {ratio:.2f}; of buying and holding: {held['sharpe_ratio']:.2f}")
    elif result.untraded:
        note(f"no backtest: {result.untraded}")
    if result.run_id is None:
        note(f"the store has not answered; the run waits on this machine as {result.uuid}")
    elif result.registered is not None:
        note(f"registered as models:/{result.registered}")
    else:
        note(f"see {command_line(manager.settings, 'run', 'show', result.run_id)}")


def _say_how_it_compares(compared: "Replay") -> None:
    if compared.same_data is False:
        note("the data are not the same: their SHA-256 differs from the run's")
    if compared.is_equal:
        metrics = count(len(compared.compared), "metric")
        note(f"{compared.replayed_name} came to the same as {compared.original_name}: {metrics} compared")
