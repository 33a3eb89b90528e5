"""An answer that is empty because of a typing error does not look like an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentnn import ModelManager
from agentnn.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def ask(uri: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    manager = ModelManager(uri)
    manager.track_run("one", {"optimizer": "adam"}, {"loss": 0.5}, {"team": "a"})

    def run(*words: str) -> tuple[str, str]:
        assert run_command(["--tracking-uri", uri, "run", "list", *words]) == 0
        return capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("metrics.losss < 1", "no run has metrics.losss; did you mean loss?\n"),
        ("params.optimiser = 'adam' AND metrics.loss < 1", "no run has params.optimiser; did you mean optimizer?\n"),
        ("NOT (tags.teem IS NULL)", "no run has tags.teem; did you mean team?\n"),
        ("metrics.loss > 1", ""),
    ],
)
def test_a_filter_that_finds_nothing_names_what_no_run_has(
    ask: Callable[..., tuple[str, str]], expression: str, note: str
) -> None:
    out, err = ask("-f", expression, "-o", "id")
    assert (out, err) == ("", note)


def test_a_filter_that_finds_something_says_nothing(ask: Callable[..., tuple[str, str]]) -> None:
    _, err = ask("-f", "metrics.losss IS NULL", "-o", "id")
    assert err == ""


def test_a_column_that_is_empty_in_every_run_is_named(ask: Callable[..., tuple[str, str]]) -> None:
    out, err = ask("--columns", "name,metrics.loss,metrics.losss")
    assert out == "name\tmetrics.loss\tmetrics.losss\none\t0.5\t\n"
    assert err == "no run has metrics.losss; did you mean loss?\n"
