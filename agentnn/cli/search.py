"""``agentnn run hpo``"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentnn.cli.command_lines import command_line, count
from agentnn.cli.config import ConfigArgument, overrides_behind
from agentnn.cli.options import FormulasOption, OutputOption, manager_of, note
from agentnn.cli.render import Output, emit
from agentnn.cli.text import short

if TYPE_CHECKING:
    from agentnn.sdk.nn_models import ModelManager
    from agentnn.training.hpo.results import StudyResult

_CONVINCING = 0.95
"""The deflated Sharpe ratio that is usually asked for; it is a probability."""


def hpo(
    ctx: typer.Context,
    config: ConfigArgument,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, metavar="N", help="Trials that the study should come to; as CONFIG says."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="Trials at once, each in a process; as CONFIG says, or 1."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"] | None,
        typer.Option("--engine", help="Where trials run: processes of this machine, or a Ray cluster."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="A", help="Of the Ray cluster's head: auto, or HOST:6379.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last study of this name, or work at it beside others.")
    ] = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Search for hyperparameters: a run for the study, a child run for each trial, and a verdict on the best one.

    Overrides stand behind the file: --hpo.sampler random, --training.epochs=5. Trials learn from the first part of the
    data and are judged on the validation part. The test part is looked at once, at the end, for the best trial alone:
    its figures there, and its Sharpe ratio deflated by the number of trials, go into the study's run with its network.

    A trial that fails does not end the study; one whose worker dies is tried again. The study is kept in a file of this
    machine, or where hpo.storage says. Ctrl-C ends it as KILLED (exit code 130), and --resume goes on in the same run;
    --trials then says how many it should come to in all. Without --resume a study that is not finished is left alone
    (exit code 6), and after a finished one another begins beside it. Started with --resume on several machines, with
    the same database in hpo.storage, all work at one study. No trial came to a value: exit code 8.
    """
    from agentnn.cli.search_progress import showing_progress
    from agentnn.cli.search_views import study_view

    manager = manager_of(ctx)
    overrides = overrides_behind(config, ctx)
    with showing_progress() as events:
        result = manager.run_study(
            config,
            overrides,
            trials=trials,
            workers=workers,
            engine=engine,
            address=address,
            resume=resume,
            events=events,
        )
    emit(study_view(result), output, formulas=keep_formulas)
    _say_what_came_out(result, manager)


def _say_what_came_out(result: "StudyResult", manager: "ModelManager") -> None:
    metrics = result.metrics
    lost = sum(one.lost for one in result.trials)
    if lost:
        note(f"{count(lost, 'trial')} had to be tried again, since a process died")
    if "best_test_sharpe_ratio" in metrics:
        held = metrics.get("best_test_buy_and_hold_sharpe_ratio")
        beside = "" if held is None else f"; of buying and holding: {held:.2f}"
        note(
            f"Sharpe ratio of the best trial on days that no trial saw: {metrics['best_test_sharpe_ratio']:.2f}{beside}"
        )
    if "deflated_sharpe_ratio" in metrics:
        deflated, tried = metrics["deflated_sharpe_ratio"], count(len(result.trials) - lost, "trial")
        verdict = "is more than luck" if deflated >= _CONVINCING else "may be no more than luck"
        note(f"the best of {tried} {verdict}: deflated Sharpe ratio {deflated:.2f}, {_CONVINCING} is usually asked for")
    if result.importance is not None and result.importance.shares:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in list(result.importance.shares.items())[:3])
        note(f"what decided {result.importance.metric}: {shares}")
    if result.best is not None:
        params = ", ".join(f"{name}={short(value)}" for name, value in result.best.params.items())
        note(f"best: trial {result.best.number} with {params}")
    if result.run_id is None:
        note("the store has not answered; what was logged waits on this machine: agentnn run sync")
    else:
        note(f"see {command_line(manager.settings, 'run', 'show', result.run_id)}")
