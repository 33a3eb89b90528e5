"""``agentnn run watch``"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentnn.cli import completion
from agentnn.cli.options import ExperimentsOption, OutputOption, manager_of, note
from agentnn.cli.render import Output, emit_live
from agentnn.cli.text import short
from agentnn.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.cli.render import View
    from agentnn.query.progress import RunProgress

_MOST_METRICS = 6


def watch(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run, by any selector; without it all that are running.",
            metavar="[RUN]",
            autocompletion=completion.runs,
        ),
    ] = None,
    experiment: ExperimentsOption = None,
    interval: Annotated[float, typer.Option("--interval", min=0.1, metavar="SECONDS", help="How often to look.")] = 2.0,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="Exit code 8 when a run ends FAILED or KILLED.")
    ] = False,
    output: OutputOption = Output.auto,
) -> None:
    """Look on while runs train: status, step, rate, time left and the metrics with their curves.

    Ends when the runs have ended; Ctrl-C ends the watching, not the training. The time left is told where a param such
    as epochs or max_steps says how many steps there will be. Off a terminal the steps go to standard error, and the
    state at the end to standard output.
    """
    from agentnn.cli.watch_views import progress_view

    last: tuple[RunProgress, ...] = ()
    say_steps = _Steps()

    def views() -> "Iterator[View]":
        nonlocal last
        for last in manager_of(ctx).watch_runs(run, experiment=experiment, interval=interval):
            say_steps(last)
            yield progress_view(last)

    emit_live(views(), output, empty=progress_view(()))
    if not last:
        note("no run is running")
    unhappy = [one.run for one in last if one.run.status in ("FAILED", "KILLED")]
    if exit_status and unhappy:
        raise TrainingError(
            ", ".join(f"the run {one.name or one.run_id} ended {one.status}" for one in unhappy),
            hint=f"agentnn run show {unhappy[0].run_id}",
        )


class _Steps:
    """Says each new step of a run, where nobody sees the live view."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, int | None]] = {}

    def __call__(self, seen: "tuple[RunProgress, ...]") -> None:
        if sys.stdout.isatty():
            return
        for one in seen:
            now = (one.run.status, one.step)
            if self._said.get(one.run.run_id) != now:
                self._said[one.run.run_id] = now
                note(self._in_words(one))

    def _in_words(self, one: "RunProgress") -> str:
        step = "" if one.step is None else f" step {one.step}" + (f"/{one.total_steps}" if one.total_steps else "")
        values = "".join(f" {key}={short(value)}" for key, value in sorted(one.run.metrics.items())[:_MOST_METRICS])
        return f"{one.run.name or one.run.run_id} {one.run.status}{step}{values}"
