"""``agentnn experiment validate|schema``"""

from typing import Annotated

import typer

from agentnn.cli.options import OutputOption, note
from agentnn.cli.render import Output, emit
from agentnn.errors import UsageError

ConfigArgument = Annotated[
    str,
    typer.Argument(help="A YAML file; what stands behind it are overrides: --training.epochs 5.", metavar="CONFIG"),
]


def overrides_behind(config: str, ctx: typer.Context) -> list[str]:
    """The overrides of a command line whose first argument is a configuration.

    Raises:
        UsageError: They stand before the file.
    """
    if config.startswith("-"):
        raise UsageError(
            f"the configuration stands before its overrides, and {config} is none", hint="CONFIG --training.epochs 5"
        )
    return list(ctx.args)


def validate(ctx: typer.Context, config: ConfigArgument, output: OutputOption = Output.auto) -> None:
    """Check a configuration, and print what a training run would get: with defaults, bases and overrides.

    Everything that is wrong is told at once, one line each with file, line and key, and the exit code is 2. Nothing is
    trained and no store is opened. Overrides stand behind the file: --model.learning_rate 0.005, --training.epochs=5,
    --model.hidden_layers "[64, 32]".
    """
    from agentnn.cli.config_views import config_view
    from agentnn.sdk.config_manager import ConfigurationManager

    record = ConfigurationManager(config, overrides_behind(config, ctx)).record
    emit(config_view(record), output)
    number = len(record.overrides)
    overrides = f" with {number} override{'' if number == 1 else 's'}" if number else ""
    note(f"{record.files[0]}{overrides} is valid: {record.hash[:12]}")


def schema(output: OutputOption = Output.json) -> None:
    """Print the JSON Schema of configuration files, for editors; -o tsv and the others list the keys.

    With the YAML extension of an editor, put it into a file and name it in the first line of a configuration:
    # yaml-language-server: $schema=FILE
    """
    from agentnn.cli.config_views import schema_view
    from agentnn.sdk.config_manager import ConfigurationManager

    emit(schema_view(ConfigurationManager.schema()), output)
