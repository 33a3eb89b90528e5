"""The root command, and the one place where errors become messages and exit codes."""

import itertools
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated

import typer
from typer.exceptions import TyperException

from agentnn import __version__
from agentnn.cli.command_tree import GROUPS, TREE, WholeSentences, add_commands
from agentnn.cli.render import ReaderGone
from agentnn.cli.text import visible
from agentnn.errors import AgentNNError, AgentNNWarning, CorruptDataError, UnreadableWarning, UsageError
from agentnn.sdk.nn_models import ModelManager
from agentnn.settings import redact

_ISSUES = "https://github.com/agentnn/agentnn/issues"
_INTERRUPTED = 128 + signal.SIGINT
_COMMANDS = "|".join(f"{name} (?:{'|'.join(group.commands)})" for name, group in GROUPS.items())
_A_COMMAND = re.compile(rf"\bagentnn (?=(?:{_COMMANDS})\b)")
_ROOT_OPTIONS = ("--tracking-uri", "--env-file", "--strict", "--debug")

_secrets: set[str] = set()
"""Passwords and tokens that this process has met; no message shows them."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentnn {__version__}")
        raise typer.Exit


def root(
    ctx: typer.Context,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            metavar="URI",
            help="Where runs are kept: sqlite:///mlflow.db, toml:./runs, http://…; MLFLOW_TRACKING_URI otherwise.",
        ),
    ] = None,
    env_file: Annotated[
        str | None, typer.Option("--env-file", metavar="FILE", help="Read this file instead of the nearest .env.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 5 where the answer leaves out what can't be read.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Name the store, and show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Ask an MLflow store about experiments, runs and models, in a quarter of a second."""
    if tracking_uri is not None and not tracking_uri.strip():  # such as a variable of a script that nobody has set
        raise UsageError("--tracking-uri is empty", hint="leave it out to ask the default store")
    if ctx.obj is None:
        ctx.obj = ModelManager(tracking_uri, env_file=env_file)
        _secrets.update(ctx.obj.settings.secrets.values())
    if debug:
        settings = ctx.obj.settings
        _say(f"debug: store {redact(settings.tracking_uri)} (from {settings.tracking_uri_source})")


def commands_for(words: Sequence[str] = ()) -> typer.Typer:
    """The root with the commands that a command line can mean; with all of them where it names none."""
    app = typer.Typer(
        name="agentnn",
        cls=WholeSentences,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    add_commands(app, words)
    return app


def run_command(arguments: Sequence[str], *, manager: ModelManager | None = None) -> int:
    """Run one command line.

    Args:
        arguments: What stands behind ``agentnn``.
        manager: What the commands ask; made from the arguments and the environment otherwise.

    Returns:
        The exit code.
    """
    before_group = _before_the_group(arguments)
    debug, strict = "--debug" in before_group, "--strict" in before_group
    left_out: list[str] = []
    command = typer.main.get_command(commands_for(arguments))
    with warnings.catch_warnings():
        warnings.showwarning = partial(_show_warning, left_out)
        warnings.simplefilter("always", AgentNNWarning)
        try:
            _check_encoding(arguments)
            code = command.main(list(arguments), prog_name="agentnn", standalone_mode=False, obj=manager)
            sys.stdout.flush()
            if code == _INTERRUPTED:
                _say("interrupted")
            if strict and left_out and not code:
                raise CorruptDataError(
                    "the answer leaves out what can't be read; the notes above name it",
                    hint="without --strict that is no error",
                )
            return code if isinstance(code, int) else 0
        except (ReaderGone, BrokenPipeError):
            # Python would complain once more when it closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (KeyboardInterrupt, typer.Abort):
            _say("interrupted")
            return _INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a message and a code
            return _report(error, arguments, debug)


def _report(error: Exception, arguments: Sequence[str], debug: bool) -> int:
    """Say what went wrong, and what to do; the exit code."""
    if debug:
        import traceback

        _say(_without_secrets("".join(traceback.format_exception(error))), keep="\n")
    if isinstance(error, AgentNNError):
        message, hint, code = error.message, _for_this_store(error.hint, arguments), error.exit_code
    elif isinstance(error, TyperException):
        message, hint, code = _parser_message(error), _usage_hint(error, arguments), 2
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: its help is the message
            _say(message, keep="\n")
            return code
    elif isinstance(error, OSError):
        message, hint, code = f"{error.strerror or error}: {error.filename or 'standard output'}", "", 4
    else:
        message = f"a bug in agentnn: {type(error).__name__}: {error}"
        hint, code = f"please report it with the output of --debug: {_ISSUES}", 70
    for problem in getattr(error, "problems", ()):
        _say(_one_line(problem))
    _say(f"error: {_one_line(message)}")
    if hint:
        _say(f"hint: {_one_line(hint)}")
    return code


def _parser_message(error: TyperException) -> str:
    return str(getattr(error, "format_message", error.__str__)())


def _usage_hint(error: Exception, arguments: Sequence[str]) -> str:
    misplaced = next((one for one in _ROOT_OPTIONS if one in str(error)), None)
    if misplaced is not None and misplaced not in _before_the_group(arguments):
        return f"{misplaced} stands before the group: agentnn {misplaced} … run list"
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else "agentnn --help"


def _for_this_store(hint: str, arguments: Sequence[str]) -> str:
    """A hint whose commands can be typed as they stand: with the options that say which store is meant."""
    options = [word for word in _before_the_group(arguments) if word not in ("--debug", "--strict")]
    return _A_COMMAND.sub(lambda _: f"agentnn {shlex.join(options)} ", hint) if options else hint


def _before_the_group(arguments: Sequence[str]) -> list[str]:
    return list(itertools.takewhile(lambda word: word not in TREE, arguments))


def _one_line(text: str) -> str:
    return _without_secrets(" ".join(text.split()))


def _without_secrets(text: str) -> str:
    return redact(text, _secrets)


def _check_encoding(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if any("\ud800" <= char <= "\udfff" for char in argument):
            raise UsageError(f"an argument is not valid UTF-8: {argument!r}", hint="check the terminal's encoding")


def _show_warning(
    left_out: list[str], message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    if issubclass(category, UnreadableWarning):
        left_out.append(str(message))
    if issubclass(category, AgentNNWarning):
        _say(f"note: {_one_line(str(message))}")


def _say(text: str, *, keep: str = "") -> None:
    with suppress(OSError):  # nobody may be listening
        typer.echo(visible(text, keep=keep), err=True)
