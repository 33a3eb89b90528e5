"""Loading and building the commands that a command line can mean, and no others."""

from __future__ import annotations

import os
from copy import copy
from typing import TYPE_CHECKING

from agentnn.cli.completion import COMPLETING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer


GROUPS = ("experiment", "run", "model", "report")
"""The groups, in the order of the help; each is a module beside this one."""


def needed_groups(words: Sequence[str], commands: Sequence[str]) -> tuple[str, ...]:
    """The groups whose modules a command line needs: importing the others would cost as much as the answer.

    Args:
        words: What stands on the command line.
        commands: The names of the commands that are in no group.
    """
    if _needs_everything(words):
        return GROUPS
    named = tuple(group for group in GROUPS if group in words)
    return named if named or any(command in words for command in commands) else GROUPS


def needed_part(tree: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """The part of a tree of commands whose names are among some words; all of it where none is.

    Typer builds every command before it runs one, which would cost as much as the answer. A command can run only if
    its name stands on the command line, so what is left out here was not meant. Help and completion get the whole.
    """
    if _needs_everything(words):
        return tree
    groups = [one for one in tree.registered_groups if one.name in words]
    commands = [one for one in tree.registered_commands if one.name in words]
    if not groups and not commands:
        return tree
    part = copy(tree)
    part.registered_commands = commands
    part.registered_groups = []
    for group in groups:
        smaller = copy(group)
        if group.typer_instance is not None:
            smaller.typer_instance = needed_part(group.typer_instance, words)
        part.registered_groups.append(smaller)
    return part


def _needs_everything(words: Sequence[str]) -> bool:
    return "--help" in words or "-h" in words or COMPLETING in os.environ
