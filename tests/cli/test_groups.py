"""``--group-by-params --over seed``: a lucky seed does not win."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from typing import TYPE_CHECKING

import pytest
from cli.support import Rows, error_and_hint, in_process, in_terminal

if TYPE_CHECKING:
    from pathlib import Path

SHARPE = {"lucky": [0.1, 0.2, 5.0], "steady": [2.0, 2.1, 1.9], "once": [9.0], "diverged": [math.nan, math.nan]}


@pytest.fixture
def seeds(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four configurations, one run a seed."""
    monkeypatch.chdir(database.parent)
    with Rows(database) as rows:
        for number, (name, values) in enumerate(SHARPE.items()):
            for seed, value in enumerate(values):
                params = {"net": name, "layers": "2", "seed": seed}
                rows.run(f"{number}{seed}".ljust(32, "0"), f"{name}-{seed}", metrics={"sharpe": value}, params=params)
        rows.run(
            "f" * 32, "unfinished", status="FAILED", metrics={"sharpe": 99.0}, params={"net": "steady", "layers": 2}
        )
    return database


def test_the_better_mean_wins_and_what_was_left_out_is_said(seeds: Path):
    ran = in_process("run", "best", "-m", "sharpe", "--group-by-params", "--over", "seed", "-o", "json")
    assert ran.returncode == 0
    (best,) = [json.loads(ran.stdout)] if ran.stdout.startswith("{") else json.loads(ran.stdout)
    assert best["params"] == {"net": "steady", "layers": "2"}
    assert best["best"] == {
        "metric": "sharpe", "mode": "max", "mean": statistics.mean(SHARPE["steady"]),
        "std": pytest.approx(statistics.stdev(SHARPE["steady"])), "n": 3, "min": 1.9, "max": 2.1,
    }  # fmt: skip
    assert ran.stderr.strip() == (
        "2 groups of runs considered; 1 left out with fewer than 2 finite values; 1 left out without a finite value"
    )


def test_a_single_run_may_win_when_it_is_let(seeds: Path):
    ran = in_process(
        "run", "best", "-m", "sharpe", "--group-by-params", "--over", "seed", "--min-runs", "1", "-o", "id"
    )
    assert ran.stdout.strip() == "20".ljust(32, "0")


def test_a_list_of_groups_has_mean_spread_and_number(seeds: Path):
    ran = in_process(
        "run", "list", "--group-by-params", "--over", "seed", "--filter", "status = 'FINISHED'", "-o", "csv"
    )
    rows = {row["params.net"]: row for row in csv.DictReader(io.StringIO(ran.stdout))}
    assert set(rows) == set(SHARPE)
    assert float(rows["lucky"]["mean.sharpe"]) == pytest.approx(statistics.mean(SHARPE["lucky"]))
    assert float(rows["lucky"]["std.sharpe"]) == pytest.approx(statistics.stdev(SHARPE["lucky"]))
    assert (rows["once"]["std.sharpe"], rows["once"]["n.sharpe"], rows["once"]["runs"]) == ("", "1", "1")
    assert (rows["diverged"]["mean.sharpe"], rows["diverged"]["n.sharpe"], rows["diverged"]["runs"]) == ("", "0", "2")


def test_a_person_reads_mean_and_spread_in_one_cell(seeds: Path):
    assert (
        "2 ± 0.1" in in_terminal("run", "list", "--group-by-params", "--over", "seed", "-f", "status = 'FINISHED'").text
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--over", "seed"], 2, "--group-by-params"),
        (["--group-by-params"], 2, "--over seed"),
        (["--group-by-params", "--over", "sed"], 3, "did you mean seed?"),
        (["--group-by-params", "--over", "seed", "--columns", "name"], 2, "--columns is not for groups"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["best", "-m", "sharpe"]])
def test_wrong_use(command: list[str], arguments: list[str], code: int, said: str, seeds: Path):
    ran = in_process("run", *command, *arguments)
    assert ran.returncode == code
    assert said in " ".join(error_and_hint(ran.stderr))


def test_no_group_that_qualifies_is_exit_3_and_says_why(seeds: Path):
    ran = in_process("run", "best", "-m", "sharpe", "--group-by-params", "--over", "seed", "--min-runs", "9")
    assert (ran.returncode, "fewer than 9 finite values" in ran.stderr) == (3, True)
    ran = in_process("run", "best", "-m", "sharp", "--group-by-params", "--over", "seed")
    assert (ran.returncode, "did you mean sharpe?" in ran.stderr) == (3, True)
