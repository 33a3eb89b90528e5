"""Only the commands that are named on the command line are built; nothing that a user sees may depend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentnn.cli.app import load_groups, run_command
from agentnn.cli.command_tree import needed_part

if TYPE_CHECKING:
    import typer

app = load_groups()
EVERY = [
    (group.name or "", command.name or "")
    for group in app.registered_groups
    if group.typer_instance is not None
    for command in group.typer_instance.registered_commands
]


def names(tree: typer.Typer) -> set[str]:
    """Every command of a tree, with its group."""
    found = {command.name or "" for command in tree.registered_commands}
    for group in tree.registered_groups:
        assert group.typer_instance is not None
        found |= {f"{group.name} {name}" for name in names(group.typer_instance)}
    return found


@pytest.mark.parametrize(("group", "command"), EVERY)
def test_the_command_that_is_named_is_among_those_built(group: str, command: str) -> None:
    built = names(needed_part(app, ["--debug", group, command, "x"]))
    assert f"{group} {command}" in built
    assert built < names(app)


def test_a_value_that_is_called_like_a_group_hides_nothing() -> None:
    assert "run list" in names(needed_part(app, ["--env-file", "model", "run", "list"]))
    assert "run show" in names(needed_part(app, ["run", "show", "quickstart"]))


@pytest.mark.parametrize("words", [[], ["--help"], ["run", "-h"], ["--version"], ["rn", "lst"]])
def test_without_a_name_or_with_help_all_are_built(words: list[str]) -> None:
    assert names(needed_part(app, words)) == names(app)


def test_the_tree_itself_is_never_changed() -> None:
    before = names(app)
    needed_part(app, ["run", "best"])
    assert names(app) == before


@pytest.mark.parametrize(
    ("words", "suggestion"), [(["rn"], "Did you mean 'run'"), (["run", "lst"], "Did you mean 'list'")]
)
def test_a_misspelt_command_is_answered_with_the_nearest(
    words: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == 2
    assert suggestion in capsys.readouterr().err
