"""The tree of commands, and building the part of it that a command line can mean, and no other."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperGroup

from agentnn.cli.completion import COMPLETING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typer._click import Context, HelpFormatter


class WholeSentences(TyperGroup):
    """A group whose help has the first sentence of each command to its end; Typer's own is cut off at the width."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands, a name and a sentence each."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(sys.maxsize)) for name, one in found if one is not None])


class Command(NamedTuple):
    """A command.

    Attributes:
        home: ``module.function``, in this package.
        takes_overrides: Whether what else stands on its line are overrides of a configuration, in ``ctx.args``.
    """

    home: str
    takes_overrides: bool = False


class Group(NamedTuple):
    """Commands behind one word.

    Attributes:
        about: A line for the help.
        commands: By their names, in the order of the help.
    """

    about: str
    commands: Mapping[str, Command | Group]


_FILES = Group(
    "List, print and download the files of a run.",
    {"ls": Command("artifacts.ls"), "cat": Command("artifacts.cat"), "get": Command("artifacts.get")},
)

TREE: Mapping[str, Command | Group] = {
    "quickstart": Command("quickstart.quickstart"),
    "experiment": Group(
        "Ask about experiments, make and change them.",
        {
            "list": Command("experiment.list_experiments"),
            "show": Command("experiment.show"),
            "create": Command("experiment_lifecycle.create"),
            "rename": Command("experiment_lifecycle.rename"),
            "tag": Command("experiment_lifecycle.tag"),
            "delete": Command("experiment_lifecycle.delete"),
            "restore": Command("experiment_lifecycle.restore"),
            "validate": Command("config.validate", takes_overrides=True),
            "schema": Command("config.schema"),
        },
    ),
    "run": Group(
        "Ask about runs, deliver and repair them.",
        {
            "list": Command("run.list_runs"),
            "show": Command("run.show"),
            "best": Command("run.best"),
            "compare": Command("run.compare"),
            "history": Command("run.history"),
            "artifacts": _FILES,
            "check": Command("gate.check"),
            "watch": Command("watch.watch"),
            "train": Command("training.train", takes_overrides=True),
            "hpo": Command("search.hpo", takes_overrides=True),
            "replay": Command("training.replay"),
            "sync": Command("upkeep.sync"),
            "export": Command("transfer.export"),
            "import": Command("transfer.import_"),
            "doctor": Command("upkeep.doctor"),
            "tag": Command("run_lifecycle.tag"),
            "note": Command("run_lifecycle.note_"),
            "delete": Command("run_lifecycle.delete"),
            "restore": Command("run_lifecycle.restore"),
        },
    ),
    "model": Group(
        "Register, promote, use and delete models, and ask about them.",
        {
            "list": Command("model.list_models"),
            "versions": Command("model.versions"),
            "show": Command("model.show"),
            "load": Command("model.load"),
            "register": Command("registry.register"),
            "promote": Command("registry.promote"),
            "rollback": Command("registry.rollback"),
            "history": Command("registry.history"),
            "download": Command("registry.download"),
            "predict": Command("registry.predict"),
            "delete": Command("registry.delete"),
        },
    ),
    "report": Group(
        "Make reports that people send to each other, and check them.",
        {
            "training": Command("report.training"),
            "hpo": Command("report.hpo"),
            "compare": Command("report.compare"),
            "verify": Command("report.verify"),
        },
    ),
}
"""All commands, in the order of the help."""

GROUPS = {name: one for name, one in TREE.items() if isinstance(one, Group)}

_WITH_OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_commands(parent: typer.Typer, words: Sequence[str] = ()) -> None:
    """Load the commands that a command line can mean, and add them.

    Loading and building all of them would cost as much as the answer. A command can run only if its name stands on the
    command line, so what is left out here was not meant. Help and completion get the whole, and so does a line that
    names none.

    Args:
        parent: The root.
        words: What stands on the command line.
    """
    needs_everything = "--help" in words or "-h" in words or COMPLETING in os.environ
    _add(parent, TREE, None if needs_everything else frozenset(words))


def _add(parent: typer.Typer, commands: Mapping[str, Command | Group], words: frozenset[str] | None) -> None:
    named = [name for name in commands if words is None or name in words]
    for name in named or commands:
        one = commands[name]
        if isinstance(one, Group):
            group = typer.Typer(cls=WholeSentences, no_args_is_help=True, help=one.about)
            _add(group, one.commands, words)
            parent.add_typer(group, name=name)
        else:
            settings: dict[str, Any] = {"context_settings": _WITH_OVERRIDES} if one.takes_overrides else {}
            module, _, function = one.home.partition(".")
            parent.command(name, **settings)(getattr(import_module(f"agentnn.cli.{module}"), function))
