"""Only the commands that are named on the command line are built; nothing that a user sees may depend on it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import environment

from agentnn.cli.app import commands_for, run_command

if TYPE_CHECKING:
    import typer


def names(tree: typer.Typer) -> set[str]:
    """Every command of a tree, with its groups."""
    found = {command.name or "" for command in tree.registered_commands}
    for group in tree.registered_groups:
        assert group.typer_instance is not None
        found |= {f"{group.name} {name}" for name in names(group.typer_instance)}
    return found


EVERY = names(commands_for())


@pytest.mark.parametrize("command", sorted(EVERY))
def test_the_command_that_is_named_is_among_those_built(command: str) -> None:
    built = names(commands_for(["--debug", *command.split(), "x"]))
    assert command in built
    assert len(built) < len(EVERY) / 2


def test_a_command_is_not_loaded_for_another() -> None:
    code = (
        "import sys\n"
        "from agentnn.cli.app import commands_for\n"
        "commands_for(['run', 'best'])\n"
        "print(*(one for one in sys.modules if one.startswith('agentnn.cli.')))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("agentnn.cli.") for name in ran.stdout.split()}
    assert "run" in loaded
    assert not loaded & {"training", "search", "upkeep", "transfer", "watch", "run_lifecycle", "quickstart", "model"}


def test_a_value_that_is_called_like_a_group_hides_nothing() -> None:
    assert "run list" in names(commands_for(["--env-file", "model", "run", "list"]))
    assert "run show" in names(commands_for(["run", "show", "quickstart"]))


@pytest.mark.parametrize("words", [[], ["--help"], ["run", "-h"], ["--version"], ["rn", "lst"]])
def test_without_a_name_or_with_help_all_are_built(words: list[str]) -> None:
    assert names(commands_for(words)) == EVERY


@pytest.mark.parametrize(
    ("words", "suggestion"), [(["rn"], "Did you mean 'run'"), (["run", "lst"], "Did you mean 'list'")]
)
def test_a_misspelt_command_is_answered_with_the_nearest(
    words: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == 2
    assert suggestion in capsys.readouterr().err
