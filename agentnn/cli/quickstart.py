"""``agentnn quickstart``: the guided first use."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from agentnn.cli.options import manager_of, note

if TYPE_CHECKING:
    from agentnn.sdk.quickstart import QuickstartResult
    from agentnn.training.quickstart import Candidate, Progress

_NEXT = (
    "experiment list",
    "run list -e quickstart",
    "run best -e quickstart --metric sharpe_ratio",
    "run compare buy-and-hold {champion} -e quickstart",
    "model list",
)
_NAMED_TWICE = "run compare @best:sharpe_ratio @best:validation_sharpe_ratio -e quickstart"


def quickstart(ctx: typer.Context) -> None:
    """Train ten small networks on real prices, record them, and ask the store about them."""
    from agentnn.sdk.quickstart import run_quickstart

    manager = manager_of(ctx)
    note("training ten small networks on GOOG daily prices 2004-2008, each backtested out of sample with costs")
    with _progress() as (on_progress, on_recorded):
        result = run_quickstart(manager, on_progress, on_recorded)
    _say_what_came_out(result)
    from agentnn.cli.app import run_command  # which imports this module

    for line in _next_commands(result):
        typer.echo(f"\n$ agentnn {line}")
        sys.stdout.flush()
        code = run_command(line.split(), manager=manager)
        if code:
            raise typer.Exit(code)


def _next_commands(result: "QuickstartResult") -> list[str]:
    """The commands that a user types next; a name that two quickstarts share names no run by itself."""
    commands = [line.format(champion=result.champion) for line in _NEXT]
    return [_NAMED_TWICE if result.earlier_runs and "compare" in line else line for line in commands]


def _say_what_came_out(result: "QuickstartResult") -> None:
    if result.earlier_runs:
        note(f"the experiment quickstart held {result.earlier_runs} runs before; {len(result.networks) + 1} were added")
    total, worse = len(result.networks), len(result.beaten_by_baseline)
    sharpe = result.baseline["sharpe_ratio"]
    winners = [name for name, metrics in result.networks.items() if metrics.get("total_return", 0.0) > 0]
    note(f"{total - worse} of {total} networks beat buy-and-hold by Sharpe ratio ({sharpe:.2f}) on days they never saw")
    if worse == total:
        note("no network beat buy-and-hold: do not trade these")
    elif not winners:
        note("every network lost money, as did holding: these are examples, do not trade them")
    note(
        f"registered {result.champion} as {result.version.name}@champion (version {result.version.version}), chosen by "
        "its validation Sharpe ratio; choosing by the test days would flatter it"
    )


@contextmanager
def _progress() -> Iterator[tuple[Callable[["Progress"], None] | None, Callable[["Candidate"], None] | None]]:
    """What happens while it happens: a bar on a terminal, else a line a run."""
    if not sys.stderr.isatty():
        yield None, lambda candidate: note(f"recorded {candidate.name}")
        return
    from rich.progress import Progress as Bar

    from agentnn.cli.tables import make_console

    with Bar(console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=1.0)
        yield lambda progress: bar.update(task, completed=progress.fraction, description=progress.name), None
