"""``agentnn model list|versions|show|load``: questions about models."""

from typing import Annotated

import typer

from agentnn.cli import completion
from agentnn.cli.model_views import check_view, model_view, models_view, version_view, versions_view
from agentnn.cli.options import ColumnsOption, FormulasOption, OutputOption, manager_of
from agentnn.cli.render import Output, emit
from agentnn.query.selectors import parse_model_uri

NameArgument = Annotated[
    str, typer.Argument(help="A registered model.", metavar="NAME", autocompletion=completion.models)
]
VersionArgument = Annotated[
    str,
    typer.Argument(
        help="NAME, NAME@ALIAS, NAME/3, or the same behind models:/.",
        metavar="MODEL",
        autocompletion=completion.model_versions,
    ),
]
MetricsOption = Annotated[bool, typer.Option("--metrics", help="Show the metrics of the runs that made the versions.")]


def list_models(
    ctx: typer.Context,
    metrics: MetricsOption = False,
    columns: ColumnsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """List registered models with their versions, aliases and stages."""
    wanted = metrics or "metrics." in (columns or "")
    emit(models_view(manager_of(ctx).list_models(with_metrics=wanted), columns), output, formulas=keep_formulas)


def versions(
    ctx: typer.Context,
    name: NameArgument,
    metrics: MetricsOption = False,
    columns: ColumnsOption = None,
    output: OutputOption = Output.auto,
    keep_formulas: FormulasOption = False,
) -> None:
    """List the versions of a model, the newest first."""
    wanted = metrics or "metrics." in (columns or "")
    found = manager_of(ctx).list_model_versions(name, with_metrics=wanted)
    emit(versions_view(found, columns), output, formulas=keep_formulas)


def show(ctx: typer.Context, model: VersionArgument, output: OutputOption = Output.auto) -> None:
    """Show a model, or one version of it when MODEL names one."""
    uri = parse_model_uri(model)
    if uri.kind == "latest" and not model.endswith("/latest"):
        emit(model_view(manager_of(ctx).get_model(uri.name)), output)
    else:
        emit(version_view(manager_of(ctx).get_model_version(model)), output)


def load(
    ctx: typer.Context,
    model: VersionArgument,
    trust: Annotated[bool, typer.Option("--trust", help="Load a model that runs code which it brings along.")] = False,
    output: OutputOption = Output.auto,
) -> None:
    """Prove that a version loads: flavors, signature, size, and the prediction for its input example."""
    emit(check_view(manager_of(ctx).check_model(model, trust=trust)), output)
