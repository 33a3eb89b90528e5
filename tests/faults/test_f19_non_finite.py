"""F19: NaN and infinities, which JSON has no word for and SQL keeps as something else."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import Rows, agentnn

from agentnn import ModelManager
from agentnn.cli.app import run_command
from agentnn.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

VALUES = {"nan": math.nan, "up": math.inf, "down": -math.inf, "small": 1.0, "big": 2.0}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Path:
    """Runs with every kind of value, written by MLflow itself."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("non-finite") / "mlflow.db"
    path.write_bytes(template_database.read_bytes())
    client = MlflowClient(f"sqlite:///{path}")
    for name, value in VALUES.items():
        run_id = client.create_run("0", run_name=name).info.run_id
        client.log_metric(run_id, "score", 0.5, step=0)
        client.log_metric(run_id, "score", value, step=1)
        client.set_terminated(run_id)
    return path


def ask(path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    assert run_command(["--tracking-uri", f"sqlite:///{path}", *arguments, "-o", "json"]) == 0
    captured = capsys.readouterr()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(captured.out, parse_constant=refuse), captured.err


def test_the_sdk_gives_them_back_as_they_were_logged(logged: Path):
    runs = ModelManager(f"sqlite:///{logged}").list_runs()
    found = {run.name: run.metrics["score"] for run in runs}
    assert math.isnan(found.pop("nan"))
    assert found == {name: value for name, value in VALUES.items() if name != "nan"}


def test_a_summary_holds_floats(logged: Path):
    summary = ModelManager(f"sqlite:///{logged}").get_run_summary("up")
    assert summary["metrics"] == {"score": math.inf}


@pytest.mark.parametrize(("mode", "winner"), [("max", "big"), ("min", "small")])
def test_they_are_never_best(mode: str, winner: str, logged: Path, capsys: pytest.CaptureFixture[str]):
    best, said = ask(logged, capsys, "run", "best", "-m", "score", "--mode", mode)
    assert best["name"] == winner
    assert best["best"]["margin"] == 1.0
    assert best["best"]["excluded"] == {"unfinished": 0, "missing": 0, "nan": 1, "infinite": 2}
    assert said == "2 runs considered; left out: 1 NaN, 2 infinite\n"


@pytest.mark.parametrize(
    ("aggregate", "mode", "value"),
    [("min", "min", 0.5), ("max", "max", 2.0), ("mean", "max", 1.25), ("first", "max", 0.5), ("last", "max", 2.0)],
)
def test_they_do_not_count_in_an_aggregate(aggregate: str, mode: str, value: float, logged: Path):
    best = ModelManager(f"sqlite:///{logged}").get_best_run("score", mode, aggregate=aggregate)
    assert best.best.value == value


def test_a_list_names_them(logged: Path, capsys: pytest.CaptureFixture[str]):
    runs, _ = ask(logged, capsys, "run", "list")
    assert {run["name"]: (run["metrics"]["score"], run["non_finite"]) for run in runs} == {
        "nan": (None, ["score"]),
        "up": (None, ["score"]),
        "down": (None, ["score"]),
        "small": (1.0, []),
        "big": (2.0, []),
    }


def test_a_history_names_them(logged: Path, capsys: pytest.CaptureFixture[str]):
    points, _ = ask(logged, capsys, "run", "history", "up", "-m", "score")
    assert [(point["value"], point["non_finite"]) for point in points] == [(0.5, []), (None, ["value"])]


def test_a_comparison_tells_them_apart(logged: Path, capsys: pytest.CaptureFixture[str]):
    compared, _ = ask(logged, capsys, "run", "compare", "up", "down", "nan", "small")
    [row] = [row for row in compared["rows"] if row["key"] == "score"]
    assert row["differs"]
    assert row["values"] == [None, None, None, 1.0]
    assert [run["non_finite"] for run in compared["runs"]] == [["score"], ["score"], ["score"], []]


def test_text_formats_spell_them(logged: Path):
    ran = agentnn(
        "--tracking-uri", f"sqlite:///{logged}", "run", "list", "--columns", "name,metrics.score", "-o", "csv"
    )
    assert set(ran.stdout.split()) == {"name,metrics.score", "nan,nan", "up,inf", "down,-inf", "small,1.0", "big,2.0"}


@pytest.mark.parametrize(
    ("order", "names"),
    [("ASC", ["down", "small", "big", "up", "nan"]), ("DESC", ["up", "big", "small", "down", "nan"])],
)
def test_sorting_puts_nan_last_both_ways(order: str, names: list[str], logged: Path):
    runs = ModelManager(f"sqlite:///{logged}").list_runs(order_by=f"metrics.score {order}")
    assert [run.name for run in runs] == names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("metrics.score > 1", {"big", "up"}),
        ("metrics.score >= inf", {"up"}),
        ("metrics.score < -1e308", {"down"}),
        ("metrics.score = inf", {"up"}),
        ("metrics.score != 1", {"nan", "up", "down", "big"}),
        ("NOT metrics.score > 0", {"nan", "down"}),
    ],
)
def test_a_filter_compares_them_as_ieee_754_does(expression: str, names: set[str], logged: Path):
    assert {run.name for run in ModelManager(f"sqlite:///{logged}").list_runs(filter=expression)} == names


def test_when_only_such_values_are_there_no_run_qualifies(logged: Path):
    manager = ModelManager(f"sqlite:///{logged}")
    with pytest.raises(NotFoundError, match="no run qualifies by 'score': 1 NaN, 2 infinite"):
        manager.get_best_run("score", filter="run_name IN ('nan', 'up', 'down')")


def test_the_largest_numbers_that_are_finite_stay_so(database: Path):
    with Rows(database) as rows:
        rows.run("1" * 32, "large", metrics={"score": 1e308})
        rows.run("2" * 32, "tiny", metrics={"score": 5e-324})
    best = ModelManager(f"sqlite:///{database}").get_best_run("score")
    assert (best.name, best.best.value) == ("large", 1e308)


def test_a_curve_of_nothing_but_nan_is_drawn_as_such(database: Path):
    from cli.support import on_terminal

    with Rows(database) as rows:
        rows.run("1" * 32, "lost", history={"loss": [math.nan, math.nan]}, metrics={"gain": math.inf})
    uri = f"sqlite:///{database}"
    for command in (("run", "history", "lost", "-m", "loss"), ("run", "show", "lost"), ("run", "list")):
        shown = on_terminal("--tracking-uri", uri, *command)
        assert shown.code == 0, shown.text
        assert "nan" in shown.text.lower() or "no finite value" in shown.text
