"""The options that several commands share, spelled once."""

from typing import Annotated, Literal

import typer

from agentnn.cli import completion
from agentnn.cli.render import Output
from agentnn.sdk.nn_models import ModelManager

OutputOption = Annotated[
    Output,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="auto, table, json, jsonl, csv, tsv, md or id. auto is a table on a terminal and TSV otherwise.",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", help="Which columns, in which order: name,status,metrics.loss", metavar="A,B,…"),
]
FormulasOption = Annotated[
    bool, typer.Option("--keep-formulas", help="In CSV and TSV, leave alone what a spreadsheet would run as a formula.")
]
ExperimentsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment",
        "-e",
        metavar="EXPERIMENT",
        help="Look only here: a name or an id; may be repeated.",
        autocompletion=completion.experiments,
    ),
]
FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter", "-f", help="Which runs: \"metrics.loss < 0.1 AND params.optimizer = 'adam'\"", metavar="EXPR"
    ),
]
SortOption = Annotated[
    list[str] | None,
    typer.Option("--sort", "-s", help='metrics.loss, or "metrics.loss DESC"; may be repeated.', metavar="KEY"),
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=0, metavar="N", help="At most so many; 0 for all.")]
ViewOption = Annotated[Literal["active", "deleted", "all"], typer.Option("--view", help="Which life-cycle stage.")]
MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        "-m",
        metavar="METRIC",
        help="The metric's name, as it was logged.",
        autocompletion=completion.metrics,
    ),
]
ModeOption = Annotated[
    Literal["max", "min"] | None,
    typer.Option(
        "--mode", help="Whether the greatest or the smallest value is best; as the project declares, or else max."
    ),
]
GroupOption = Annotated[
    bool, typer.Option("--group-by-params", help="Take runs together that have the same params but for --over.")
]
OverOption = Annotated[
    list[str] | None,
    typer.Option("--over", metavar="PARAM", help="With --group-by-params: what varies, such as seed; may be repeated."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this it is only said what would go.")]
ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain", help="Say what the store did, what was left to do here, what was read, and what took how long."
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        help="An id or its first 4 characters, a name, @last, @best:METRIC[:min] or models:/NAME@ALIAS.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]


def manager_of(context: typer.Context) -> ModelManager:
    """The manager that the root command made; tests put another one there."""
    manager = context.obj
    assert isinstance(manager, ModelManager)
    return manager


def explain_at_the_end(context: typer.Context) -> None:
    """When the command is done, or has failed, say on standard error what was done for its answer."""
    from agentnn.cli.explain_views import explained  # hardly anybody asks

    context.with_resource(explained(manager_of(context)))


def note(message: str) -> None:
    """Say something on standard error."""
    from agentnn.cli.text import visible

    typer.echo(visible(message), err=True)
