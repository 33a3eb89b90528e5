"""``run check``, ``run compare --fail-if-worse`` and the declared directions, as a script meets them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from cli.support import ADA, BOB, Rows, error_and_hint, in_process, in_terminal

if TYPE_CHECKING:
    from pathlib import Path


def declare(folder: Path, **directions: str) -> None:
    lines = [f'{name} = "{direction}"' for name, direction in directions.items()]
    (folder / "agentnn.toml").write_text("\n".join(["[metrics]", *lines]))


def test_what_holds_is_exit_0_and_a_line_each(filled: Path):
    ran = in_process("run", "check", "ada", "--require", "sharpe >= 1.2", "--require", "loss <= 0.25", "-o", "tsv")
    assert ran.returncode == 0
    assert ran.stdout.splitlines() == [
        "result\tmetric\tvalue\trequired\tbaseline\tproblem",
        "pass\tstatus\tFINISHED\tFINISHED\t\t",
        "pass\tsharpe\t1.25\t>= 1.2\t\t",
        "pass\tloss\t0.25\t<= 0.25\t\t",
    ]
    assert ran.stderr == f"checked ada ({ADA}) in alpha\n"


def test_what_does_not_hold_is_exit_1_and_named(filled: Path):
    ran = in_process(
        "run", "check", "ada", "-r", "sharpe > 1.25", "-r", "loss <= 0.25", "-r", "sharp > 0", "-o", "json"
    )
    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    assert (found["passed"], found["run"]["run_id"], found["baseline"]) == (False, ADA, None)
    assert [one["metric"] for one in found["checks"] if not one["passed"]] == ["sharpe", "sharp"]
    assert found["checks"][-1]["problem"] == "there is no such metric; did you mean sharpe?"
    assert ran.stderr.splitlines()[-1] == "error: 2 of 4 checks do not hold: sharpe, sharp"


def test_a_run_that_diverged_or_still_runs_does_not_pass(filled: Path):
    assert in_process("run", "check", "cyd", "-r", "sharpe != 0").returncode == 1
    assert in_process("run", "check", "dee", "-r", "sharpe > 1").returncode == 1
    assert in_process("run", "check", "dee", "-r", "sharpe > 1", "--include-unfinished").returncode == 0


@pytest.mark.parametrize(("limit", "code"), [("20%", 0), ("19%", 1), ("0.25", 0), ("0.2", 1), ("0", 1)])
def test_against_the_champion(limit: str, code: int, filled: Path):
    ran = in_process(
        "run", "check", "bob", "-r", "sharpe > 0", "--baseline", "models:/net@champion", "--max-regress", limit
    )
    assert ran.returncode == code
    assert f"against ada ({ADA})" in ran.stderr


def test_a_declared_direction_decides_which_way_is_worse(filled: Path):
    better = ("run", "check", "bob", "--baseline", "ada", "--max-regress", "loss=0")  # bob's loss is the smaller
    declare(filled.parent, loss="min")
    assert in_process(*better).returncode == 0
    declare(filled.parent, loss="max")
    assert in_process(*better).returncode == 1


def test_what_is_written_for_a_ci_server(filled: Path):
    ran = in_process("run", "check", "bob", "-r", "sharpe >= 1.2", "-r", "loss < 1", "--junit", "gate.xml", "-o", "md")
    assert ran.returncode == 1
    assert "| FAIL | sharpe | 1.0 | &gt;= 1.2 |  | 1.0 is not &gt;= 1.2 |" in ran.stdout
    suite = ET.parse(filled.parent / "gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    (failed,) = [case for case in suite if case.find("failure") is not None]
    assert failed.get("name") == "sharpe >= 1.2"


def test_names_from_the_store_can_not_break_the_xml(filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "a\x00\x1b[31m<&\ufffe", experiment_id=1, metrics={"m\x07<": 1.0})
    assert in_process("run", "check", "f" * 32, "-r", "m\x07< > 2", "--junit", "gate.xml").returncode == 1
    assert "\\x07" in ET.parse(filled.parent / "gate.xml").getroot()[0][1].get("name", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to check"),
        (["-r", "sharpe"], "is not a requirement"),
        (["--baseline", "bob"], "go together"),
        (["--max-regress", "5%"], "go together"),
        (["--baseline", "bob", "--max-regress", "5%"], "which metric"),
        (["--baseline", "bob", "--max-regress", "-5%"], "is not an amount"),
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], said: str, filled: Path):
    ran = in_process("run", "check", "ada", *arguments)
    assert ran.returncode == 2
    error, hint = error_and_hint(ran.stderr)
    assert said in error
    assert hint


def test_a_run_or_a_baseline_that_is_not_there_is_exit_3(filled: Path):
    assert in_process("run", "check", "nobody", "-r", "m > 1").returncode == 3
    assert (
        in_process("run", "check", "ada", "-r", "m > 1", "-b", "models:/net@none", "--max-regress", "1").returncode == 3
    )


def test_a_report_that_can_not_be_written_is_exit_4(filled: Path):
    ran = in_process("run", "check", "ada", "-r", "sharpe > 1", "--junit", "missing/gate.xml")
    assert (ran.returncode, "missing/gate.xml" in ran.stderr) == (4, True)


def test_a_person_sees_a_line_each_which_a_narrow_terminal_does_not_cut(filled: Path):
    seen = in_terminal("run", "check", "bob", "-r", "sharpe >= 1.2", "-b", "ada", "--max-regress", "5%", width=60)
    assert seen.code == 1
    assert "✓ " in seen.text
    assert "✗ " in seen.text
    words = " ".join(re.sub(r"\x1b\[[\d;]*m", "", seen.text).split())
    assert "worse than the baseline by 0.25 (20.00%); allowed: at most 5% below the baseline" in words


def test_comparing_can_fail(filled: Path):
    assert in_process("run", "compare", "ada", "bob", "--fail-if-worse", "loss:min").returncode == 0
    ran = in_process("run", "compare", "ada", "bob", "cyd", "--fail-if-worse", "sharpe")
    assert ran.returncode == 1
    assert ran.stdout.startswith("field\tada\tbob\tcyd\n")
    assert ran.stderr.splitlines()[-1] == "error: worse than ada by sharpe: bob, cyd"
    assert in_process("run", "compare", "cyd", "ada", "--fail-if-worse", "sharpe").returncode == 3


def test_a_comparison_shows_which_is_better_only_where_that_is_declared(filled: Path):
    green = "\x1b[32m"
    assert green not in in_terminal("run", "compare", "ada", "bob").text
    declare(filled.parent, sharpe="max")
    (line,) = [line for line in in_terminal("run", "compare", "ada", "bob").text.splitlines() if "sharpe" in line]
    assert f"{green}1.25" in line
    assert "\x1b[31m1 " in line


def test_the_declared_direction_is_the_default_of_best_and_of_the_selector(filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "worst", experiment_id=1, metrics={"loss": 7.0})
    ran = in_process("run", "best", "-m", "loss", "-o", "id")
    assert ran.stdout == "f" * 32 + "\n"
    assert "note: the greatest 'loss' counts as the best" in ran.stderr
    declare(filled.parent, loss="min")
    ran = in_process("run", "best", "-m", "loss", "-o", "id")
    assert (ran.stdout, "note:" in ran.stderr) == (BOB + "\n", False)
    assert in_process("run", "best", "-m", "loss", "--mode", "max", "-o", "id").stdout == "f" * 32 + "\n"
    assert in_process("run", "show", "@best:loss", "-o", "id").stdout == BOB + "\n"
    assert in_process("run", "show", "@best:loss:max", "-o", "id").stdout == "f" * 32 + "\n"


def test_a_wrong_declaration_is_exit_2_with_the_file(filled: Path):
    declare(filled.parent, loss="down")
    ran = in_process("run", "best", "-m", "loss")
    assert ran.returncode == 2
    assert f"{filled.parent / 'agentnn.toml'}: metrics.loss.direction is 'down'" in ran.stderr
