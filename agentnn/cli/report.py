"""``agentnn report …``"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentnn.cli import completion
from agentnn.cli.options import ExperimentsOption, FormulasOption, OutputOption, RunArgument, manager_of, note
from agentnn.cli.render import Output, emit, emit_bytes
from agentnn.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from agentnn.reporting.document import Report
    from agentnn.sdk.reporting import ExperimentReporter

FileOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The file, ending with .html, .md or .json; - is standard output. In reports/ otherwise.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    Literal["html", "md", "json"] | None,
    typer.Option("--format", help="As what, where FILE does not say it; html otherwise."),
]
AssetsOption = Annotated[
    Literal["inline", "shared", "cdn"],
    typer.Option(
        "--assets", help="Where a page has Plotly from: in itself, from a file put beside it, or from the network."
    ),
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the report in a browser, too.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that is there, even if it is no report.")]


def training(
    ctx: typer.Context,
    run: RunArgument,
    output: FileOption = None,
    format: FormatOption = None,
    assets: AssetsOption = "inline",
    open_: OpenOption = False,
    force: ForceOption = False,
    experiment: ExperimentsOption = None,
) -> None:
    """Make a report on one run, and print the file's name.

    What came of it, its learning curves, its configuration with what was overridden, its data, model, predictions and
    backtest, its environment and the command that trains it again. What the run did not log is left out, with a line
    that says so. A report of that name is replaced; any other file is not, with exit code 6, unless with --force.
    """
    reporter = _reporter(ctx)
    if output == "-":
        _print(lambda: reporter.build_training_report(run, experiment=experiment), format, open_=open_)
        return
    _done(
        reporter.generate_training_report(
            run, _file(output), format=format, assets=assets, force=force, experiment=experiment
        ),
        open_=open_,
    )


def hpo(
    ctx: typer.Context,
    run: RunArgument,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            "-m",
            metavar="METRIC[:min]",
            help="What trials are judged by, where the study does not say.",
            autocompletion=completion.metrics,
        ),
    ] = None,
    output: FileOption = None,
    format: FormatOption = None,
    assets: AssetsOption = "inline",
    open_: OpenOption = False,
    force: ForceOption = False,
    experiment: ExperimentsOption = None,
) -> None:
    """Make a report on a study, and print the file's name.

    RUN is the run that the trials are nested in. The best trial and its margin, the optimisation, what the params have
    to do with it, pruned and failed trials, and a table of all. Studies of agentnn and Optuna are known, and so are
    plain nested runs of MLflow. Exit code 3 when no run is nested in RUN.
    """
    reporter = _reporter(ctx)
    if output == "-":
        _print(lambda: reporter.build_hpo_report(run, metric=metric, experiment=experiment), format, open_=open_)
        return
    _done(
        reporter.generate_hpo_report(
            run, _file(output), metric=metric, format=format, assets=assets, force=force, experiment=experiment
        ),
        open_=open_,
    )


def compare(
    ctx: typer.Context,
    runs: Annotated[
        list[str], typer.Argument(help="2 to 1000 runs.", metavar="RUN RUN…", autocompletion=completion.runs)
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            "-b",
            metavar="RUN",
            help="What the others are compared with; the first run otherwise.",
            autocompletion=completion.runs,
        ),
    ] = None,
    output: FileOption = None,
    format: FormatOption = None,
    assets: AssetsOption = "inline",
    open_: OpenOption = False,
    force: ForceOption = False,
    experiment: ExperimentsOption = None,
) -> None:
    """Make a report on several runs, and print the file's name.

    What differs in their params, their metrics with the best marked and the differences from the baseline, their curves
    and equity laid over each other, mean and spread over seeds. A metric's better direction is what
    [tool.agentnn.metrics] declares; of a metric that nobody declares nothing is called the best.
    """
    reporter = _reporter(ctx)
    if output == "-":
        _print(
            lambda: reporter.build_model_comparison_report(runs, baseline=baseline, experiment=experiment),
            format,
            open_=open_,
        )
        return
    _done(
        reporter.generate_model_comparison_report(
            runs, _file(output), baseline=baseline, format=format, assets=assets, force=force, experiment=experiment
        ),
        open_=open_,
    )


def verify(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="A page or a JSON file that agentnn report made.", metavar="FILE")],
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """Say whether the store still agrees with a report.

    The report is built again from the data inside the file; what differs is printed. Exit code 1 when something does,
    3 when a run is gone, 5 when the data in the file are damaged or were changed by hand.
    """
    from agentnn import __version__
    from agentnn.cli.report_views import verification_view

    found = _reporter(ctx).verify_report(file)
    emit(verification_view(found), output, formulas=keep_formulas)
    source = found.report.source
    if source.version != __version__:
        note(f"agentnn {source.version} made it, and this is {__version__}: what is told otherwise counts as different")
    if not found.agrees:
        of = f"{len(found.differences):,} of {found.facts:,} facts"
        raise CheckFailed(f"{file} and the store disagree on {of}", hint="make the report again, or ask who is right")
    note(f"{file} agrees with the store on {found.facts:,} facts, as of {source.as_of or 'no known time'}")


def _reporter(ctx: typer.Context) -> "ExperimentReporter":
    from agentnn.sdk.reporting import ExperimentReporter  # help and completion do without

    return ExperimentReporter.on(manager_of(ctx))


def _file(output: str | None) -> str | None:
    if output in Output.__members__:
        raise UsageError(f"-o is the file here, and {output!r} is none", hint="--format md -o - prints Markdown")
    return output


def _print(build: Callable[[], "Report"], format: Literal["html", "md", "json"] | None, *, open_: bool) -> None:
    from agentnn.reporting.saving import rendered

    if format is None:
        raise UsageError("-o - does not say as what", hint="--format md, json or html")
    if open_:
        raise UsageError("--open needs a file", hint="-o FILE")
    emit_bytes(iter([rendered(build(), format).encode("utf-8", "backslashreplace")]), "the report")


def _done(path: Path, *, open_: bool) -> None:
    from agentnn.cli.report_views import file_view

    emit(file_view(path), Output.id)
    if open_:
        import webbrowser

        opened = False
        with suppress(webbrowser.Error, OSError):
            opened = webbrowser.open(path.absolute().as_uri())
        if not opened:
            note(f"there is no browser to open {path}")
