"""``agentnn run sync`` and ``agentnn run doctor``"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from agentnn.cli import completion
from agentnn.cli.options import FormulasOption, OutputOption, manager_of, note
from agentnn.cli.render import Output, emit
from agentnn.errors import CheckFailed, UsageError
from agentnn.settings import redact

if TYPE_CHECKING:
    from agentnn.settings import Settings
    from agentnn.tracking.upkeep.findings import Diagnosis
    from agentnn.tracking.upkeep.syncing import SyncProgress
    from agentnn.tracking.upkeep.waiting import SyncedRun

_WAITING_RUN = "Only this run: its uuid, or any selector such as an id, a name or @last."


def sync(
    ctx: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help=_WAITING_RUN, metavar="[RUN]", autocompletion=completion.runs)
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on until RUN has ended, or every process that logs to the store from here; wait while the store "
            "is down.",
        ),
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Throw away what the store refused of RUN for good, or is damaged.")
    ] = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Deliver what waits on this machine, exactly once.

    A sender in the background delivers while training runs, and goes on by itself. This waits for it, starts it when
    it is gone, and says what is left: exit code 4 when the store can't be used and records wait, 5 when records are
    damaged, 6 when the store refused some for good. Ctrl-C ends the waiting, not the delivery.
    """
    from agentnn.cli.upkeep_views import synced_view
    from agentnn.tracking.upkeep.waiting import undelivered

    manager = manager_of(ctx)
    if discard:
        if run is None or watch:
            raise UsageError("--discard takes a run, and nothing else", hint="agentnn run sync RUN --discard")
        gone = manager.discard_refused(run)
        emit(synced_view([gone]), output, formulas=keep_formulas)
        note(_what_is_gone(gone))
        return
    with _progress() as progress:
        found = manager.sync_runs(run, watch=watch, progress=progress)
    emit(synced_view(found), output, formulas=keep_formulas)
    if not any(one.is_of_note for one in found):
        note(f"nothing waits on this machine for {_store(manager.settings)}")
    _say_what_waits_elsewhere(manager.settings)
    error = undelivered(found)
    if error is not None:
        raise error


def doctor(
    ctx: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these runs and those nested in them; they are repaired though agentnn did not start them.",
            metavar="[RUN]...",
            autocompletion=completion.runs,
        ),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: only say what it would do.")] = False,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Find what is wrong with a store, and repair it.

    Runs whose process died, records that wait, nested runs without a parent, model versions without a run, metrics that
    are not finite, files that are gone, a schema that MLflow would not open. Without --fix nothing is changed. Exit
    code 1 when problems remain. It also measures the store, and says what would make it faster; nothing does that but
    you.
    """
    from agentnn.cli.upkeep_views import findings_view

    manager = manager_of(ctx)
    diagnosis = manager.diagnose(fix=fix and not dry_run, runs=runs or ())
    _say_where(diagnosis)
    emit(findings_view(diagnosis.findings), output, formulas=keep_formulas)
    _say_what_waits_elsewhere(manager.settings)
    if fix and dry_run:
        note(f"nothing was changed; {_fixable(diagnosis)} of {len(diagnosis.findings)} findings would be repaired")
    if diagnosis.error is not None:
        raise diagnosis.error
    if diagnosis.remaining:
        raise _what_remains(diagnosis)


def _say_where(diagnosis: "Diagnosis") -> None:
    """Name the store that was looked at, and what it is like, before what was found there."""
    from agentnn.cli.upkeep_views import measures_in_words

    schema = f", schema {diagnosis.schema}" if diagnosis.schema else ""
    note(f"store {diagnosis.store} (from {diagnosis.store_source}), MLflow {diagnosis.mlflow}{schema}")
    if diagnosis.measured is not None:
        note(measures_in_words(diagnosis.measured))
    note(f"runs wait for it in {diagnosis.state_folder}")


def _fixable(diagnosis: "Diagnosis") -> int:
    return sum(one.is_fixable for one in diagnosis.findings)


def _what_remains(diagnosis: "Diagnosis") -> CheckFailed:
    count = len(diagnosis.remaining)
    remain = "1 problem remains" if count == 1 else f"{count} problems remain"
    if _fixable(diagnosis):
        return CheckFailed(remain, hint=f"agentnn run doctor --fix repairs {_fixable(diagnosis)} of them")
    return CheckFailed(remain, hint="only you can repair what is left: see what is said under repair")


def _what_is_gone(run: "SyncedRun") -> str:
    parts = {"undelivered": run.waiting, "refused": run.refused, "damaged": run.damaged}
    counts = ", ".join(f"{count} {what}" for what, count in parts.items() if count) or "no"
    keys = f" ({', '.join(run.refused_keys)})" if run.refused_keys else ""
    return f"thrown away: {counts} records of the run {run.name!r}{keys}, with {run.folder}"


def _say_what_waits_elsewhere(settings: "Settings") -> None:
    """A run may have been logged to another store than one thinks."""
    from agentnn.tracking.upkeep.waiting import waiting_elsewhere

    for uri, count in waiting_elsewhere(settings).items():
        many = "1 run waits" if count == 1 else f"{count} runs wait"
        note(f"{many} for another store: agentnn --tracking-uri {uri} run sync")


def _store(settings: "Settings") -> str:
    return redact(settings.tracking_uri, settings.secrets.values())


@contextmanager
def _progress() -> Iterator[Callable[["SyncProgress"], None]]:
    """How far the delivery is: a bar on a terminal, else only what stands in its way."""
    if not sys.stderr.isatty():
        yield _Obstacles()
        return
    from rich.progress import Progress as Bar

    from agentnn.cli.tables import make_console
    from agentnn.cli.text import visible

    with Bar(console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task("delivering", total=None)

        def show(progress: "SyncProgress") -> None:
            doing = "delivering" if progress.problem is None else visible(f"waiting: {progress.problem.message}")
            bar.update(task, completed=progress.done, total=progress.total, description=doing)

        yield show


class _Obstacles:
    """Says what stands in the way of a delivery, once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, progress: "SyncProgress") -> None:
        message = progress.problem.message if progress.problem else ""
        if message != self._last:
            note(message or "the store can be used again")
            self._last = message
