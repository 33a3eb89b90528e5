"""``agentnn run check``"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentnn.cli.options import ExperimentsOption, FormulasOption, OutputOption, RunArgument, manager_of, note
from agentnn.cli.render import Output, emit
from agentnn.errors import CheckFailed, StoreUnavailable

if TYPE_CHECKING:
    from agentnn.query.gate import GateReport


def check(
    ctx: typer.Context,
    run: RunArgument,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", "-r", metavar="CHECK", help="'sharpe_ratio >= 1.2'; may be repeated."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", "-b", metavar="RUN", help="What it must not fall behind: models:/NAME@champion."),
    ] = None,
    max_regress: Annotated[
        list[str] | None,
        typer.Option(
            "--max-regress",
            metavar="[METRIC=]LIMIT",
            help="By how much it may: 5% of the baseline's value, or 0.05; without METRIC all that --require names.",
        ),
    ] = None,
    include_unfinished: Annotated[
        bool, typer.Option("--include-unfinished", help="Let a run pass that is running, failed or killed.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the result for a CI server, too.")
    ] = None,
    experiment: ExperimentsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Check what a run must reach, a line each; exit code 1 when something does not hold.

    A metric that is missing, NaN or infinite holds nothing, and a run that is not finished does not pass. Which
    direction is worse is what [tool.agentnn.metrics] declares, else what the requirement's operator says. -o md suits
    a comment on a pull request.
    """
    from agentnn.cli.gate_views import check_report_view, junit_xml

    report = manager_of(ctx).check_run(
        run, require=require or (), baseline=baseline, max_regress=max_regress or (),
        include_unfinished=include_unfinished, experiment=experiment,
    )  # fmt: skip
    if junit is not None:
        _write(junit, junit_xml(report))
    emit(check_report_view(report), output, formulas=keep_formulas)
    _say_what_was_checked(report)
    if not report.passed:
        names = ", ".join(dict.fromkeys(check.metric for check in report.failures))
        count = f"{len(report.failures)} of {len(report.checks)} checks"
        raise CheckFailed(f"{count} {'does' if len(report.failures) == 1 else 'do'} not hold: {names}")


def _say_what_was_checked(report: "GateReport") -> None:
    against = f" against {report.baseline.name} ({report.baseline.run_id})" if report.baseline is not None else ""
    note(f"checked {report.run.name} ({report.run.run_id}) in {report.run.experiment}{against}")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreUnavailable(f"{file} can't be written: {error.strerror}", hint="check --junit") from error
