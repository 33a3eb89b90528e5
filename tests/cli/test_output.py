"""What a command prints: each in each format, on a pipe and on a terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import (
    ADA,
    BOB,
    CYD,
    DEE,
    EVE,
    NEW_YEAR,
    READS,
    Rows,
    agentnn,
    artifacts_of_ada,
    execute,
    in_process,
    in_terminal,
    on_terminal,
)

from agentnn.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

    Ask = Callable[..., tuple[str, str]]

FORMATS = ("auto", "json", "jsonl", "csv", "tsv", "md", "id")
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def ask(filled: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command that must succeed on the filled store; what it wrote to both streams."""

    def run(*arguments: str) -> tuple[str, str]:
        assert run_command(arguments) == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


@pytest.fixture
def artifacts(filled: Path) -> Path:
    """A folder with the artifacts of a run."""
    folder = artifacts_of_ada(filled, filled.parent / "files")
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "loss.png").write_bytes(b"12345")
    (folder / "notes.txt").write_text("done")
    return filled.parent / "files"


def strictly(text: str) -> Any:
    """JSON, read by the letter: NaN and Infinity are not JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def lines_of_json(text: str) -> list[Any]:
    """One JSON document a line."""
    return [strictly(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", [one for one in READS if "artifacts" not in one], ids=" ".join)
def test_a_command_prints_this(command: tuple[str, ...], form: str, ask: Ask, snapshot: SnapshotAssertion):
    out, err = ask(*command, "--output", form)
    assert {"json": strictly, "jsonl": lines_of_json}.get(form, str)(out) == snapshot
    assert err == ("2 runs considered; left out: 1 not finished, 1 NaN\n" if "best" in command else "")


@pytest.mark.parametrize("form", FORMATS)
def test_the_artifacts_of_a_run_print_this(form: str, artifacts: Path, ask: Ask, snapshot: SnapshotAssertion):
    assert ask("run", "artifacts", "ls", "ada", "--output", form) == (snapshot, "")


def test_a_folder_of_a_run_can_be_listed(artifacts: Path, ask: Ask):
    assert ask("run", "artifacts", "ls", "ada", "plots", "-o", "id") == ("plots/loss.png\n", "")


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_json_is_valid_for_any_parser(command: tuple[str, ...], form: str, artifacts: Path, ask: Ask):
    out, _ = ask(*command, "-o", form)
    parsed = lines_of_json(out) if form == "jsonl" else strictly(out)
    assert parsed


RUN_KEYS = [
    "run_id", "name", "experiment_id", "experiment", "status", "lifecycle_stage", "start_time", "end_time",
    "duration_s", "user", "parent_run_id", "artifact_uri", "metrics", "params", "tags", "non_finite",
]  # fmt: skip


def test_a_run_in_json_is_the_whole_record(ask: Ask):
    out, _ = ask("run", "show", "cyd", "-o", "json")
    run = strictly(out)
    assert list(run) == RUN_KEYS
    assert run == {
        "run_id": CYD,
        "name": "cyd",
        "experiment_id": "1",
        "experiment": "alpha",
        "status": "FINISHED",
        "lifecycle_stage": "active",
        "start_time": "2026-01-01T00:00:02.000Z",
        "end_time": "2026-01-01T00:01:30.500Z",
        "duration_s": 88.5,
        "user": "ada",
        "parent_run_id": ADA,
        "artifact_uri": f"/data/mlruns/1/{CYD}/artifacts",
        "metrics": {"loss": None, "sharpe": None},
        "params": {"layers": "2", "lr": "1e-3", "optimizer": "adam"},
        "tags": {"mlflow.parentRunId": ADA, "mlflow.runName": "cyd"},
        "non_finite": ["loss", "sharpe"],
    }


def test_every_run_of_a_list_in_json_is_the_whole_record(ask: Ask):
    listed = strictly(ask("run", "list", "-o", "json")[0])
    lines = lines_of_json(ask("run", "list", "-o", "jsonl")[0])
    assert [list(run) for run in listed] == [RUN_KEYS] * 4
    assert lines == listed
    one = strictly(ask("run", "show", "ada", "-o", "json")[0])
    assert one == listed[-1]


def test_run_best_adds_the_verdict(ask: Ask):
    best = strictly(ask("run", "best", "-m", "sharpe", "-o", "json")[0])
    assert list(best) == [*RUN_KEYS, "best"]
    assert best["run_id"] == ADA
    assert best["best"] == {
        "metric": "sharpe",
        "mode": "max",
        "aggregate": "last",
        "value": 1.25,
        "rank": 1,
        "margin": 0.25,
        "runner_up": BOB,
        "considered": 2,
        "excluded": {"missing": 0, "nan": 1, "infinite": 0, "unfinished": 1},
    }


def test_run_best_of_several_is_a_list_with_each_its_margin(ask: Ask):
    out, err = ask("run", "best", "-m", "loss", "--mode", "min", "--top", "2", "-e", "alpha", "-o", "json")
    first, second = strictly(out)
    assert (first["run_id"], first["best"]["rank"], first["best"]["margin"]) == (BOB, 1, 0.125)
    assert (second["run_id"], second["best"]["rank"], second["best"]["margin"]) == (ADA, 2, None)
    assert second["best"]["runner_up"] is None
    assert err == "2 runs considered; left out: 1 infinite\n"


def test_run_best_says_when_the_winner_is_nested(ask: Ask, filled: Path):
    execute(filled, f"UPDATE latest_metrics SET value = 5, is_nan = 0 WHERE run_uuid = '{CYD}' AND key = 'sharpe'")
    out, err = ask("run", "best", "-m", "sharpe", "-o", "id")
    assert out == f"{CYD}\n"
    assert err.splitlines()[1] == f"the best run is nested in {ADA}; --exclude-children leaves nested runs out"
    assert ask("run", "best", "-m", "sharpe", "--exclude-children", "-o", "id")[0] == f"{ADA}\n"


def test_an_unfinished_run_takes_part_only_when_asked_to(ask: Ask):
    assert ask("run", "best", "-m", "sharpe", "--include-unfinished", "-o", "id")[0] == f"{DEE}\n"


def test_an_experiment_in_json_is_the_whole_record(ask: Ask):
    listed = strictly(ask("experiment", "list", "-o", "json")[0])
    assert listed[0] == {
        "experiment_id": "1",
        "name": "alpha",
        "lifecycle_stage": "active",
        "artifact_location": "/data/mlruns/1",
        "creation_time": "2026-01-01T00:00:01.000Z",
        "last_update_time": "2026-01-01T00:00:01.000Z",
        "tags": {"team": "quant"},
    }
    shown = strictly(ask("experiment", "show", "alpha", "-o", "json")[0])
    assert shown == {**listed[0], "runs": 3, "runs_by_status": {"FINISHED": 3}}


def test_a_model_in_json_is_the_whole_record(ask: Ask):
    assert strictly(ask("model", "list", "-o", "json")[0]) == [
        {
            "name": "net",
            "description": "the net",
            "creation_time": "2026-01-01T00:00:00.000Z",
            "last_updated_time": "2026-01-01T00:00:00.000Z",
            "latest_version": 2,
            "version_count": 2,
            "aliases": {"champion": 2},
            "stages": {"Production": 1},
            "tags": {"team": "quant"},
            "metrics": {},
            "non_finite": [],
        }
    ]


def test_a_model_version_in_json_is_the_whole_record(ask: Ask):
    newest, oldest = strictly(ask("model", "versions", "net", "--metrics", "-o", "json")[0])
    assert newest == {
        "name": "net",
        "version": 2,
        "stage": "None",
        "aliases": ["champion"],
        "status": "READY",
        "source": "/data/models/2",
        "run_id": ADA,
        "description": None,
        "user": "ada",
        "creation_time": "2026-01-01T00:00:00.002Z",
        "last_updated_time": "2026-01-01T00:00:00.002Z",
        "tags": {},
        "metrics": {"loss": 0.25, "sharpe": 1.25},
        "non_finite": [],
    }
    assert (oldest["version"], oldest["stage"], oldest["aliases"]) == (1, "Production", [])


@pytest.mark.parametrize("command", [("model", "list"), ("model", "versions", "net")], ids=" ".join)
def test_the_metrics_of_models_name_what_is_not_finite_too(command: tuple[str, ...], ask: Ask, filled: Path):
    execute(filled, f"UPDATE model_versions SET run_id = '{CYD}'")
    record = strictly(ask(*command, "--metrics", "-o", "json")[0])[0]
    assert record["metrics"] == {"loss": None, "sharpe": None}
    assert record["non_finite"] == ["loss", "sharpe"]


def test_a_metric_history_in_json_names_what_is_not_finite(ask: Ask, filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "wild", history={"loss": [1.5, math.nan, math.inf]})
    points = strictly(ask("run", "history", "wild", "-m", "loss", "-o", "json")[0])
    assert [(point["value"], point["non_finite"]) for point in points] == [
        (1.5, []),
        (None, ["value"]),
        (None, ["value"]),
    ]
    assert points[0] == {
        "key": "loss",
        "step": 0,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "value": 1.5,
        "non_finite": [],
    }


def test_a_comparison_in_json_holds_the_runs_and_what_differs(ask: Ask):
    compared = strictly(ask("run", "compare", "ada", "cyd", "-o", "json")[0])
    assert [list(run) for run in compared["runs"]] == [RUN_KEYS] * 2
    assert [(row["section"], row["key"]) for row in compared["rows"]] == [
        ("attribute", "duration_s"),
        ("metric", "loss"),
        ("metric", "sharpe"),
    ]
    assert compared["rows"][1]["values"] == [0.25, None]
    everything = strictly(ask("run", "compare", "ada", "cyd", "--all", "-o", "json")[0])
    assert {"section": "param", "key": "lr", "values": ["0.001", "1e-3"], "differs": False} in everything["rows"]


def test_runs_that_do_not_differ_are_said_not_to(ask: Ask):
    out, err = ask("run", "compare", "ada", ADA)
    assert out.splitlines()[0] == f"field\tada ({ADA[:8]})\tada ({ADA[:8]})"
    assert err == "the runs do not differ; --all shows what they have in common\n"


def test_a_piped_table_is_never_cut(ask: Ask, filled: Path, monkeypatch: pytest.MonkeyPatch):
    long = "x" * 5000
    with Rows(filled) as rows:
        rows.run("f" * 32, long, params={f"p{number}": long for number in range(20)})
    monkeypatch.setenv("COLUMNS", "40")
    header, row = ask("run", "list", "-f", "run_id LIKE 'ffff%'")[0].splitlines()
    assert row.count(long) == 21
    assert len(header.split("\t")) == len(row.split("\t"))


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_csv_and_tsv_keep_full_precision(form: str, ask: Ask, filled: Path):
    value = 0.1 + 0.2
    with Rows(filled) as rows:
        rows.run("f" * 32, "exact", metrics={"m": value, "tiny": 5e-324, "huge": 1.2345678901234567e300})
    text, _ = ask("run", "show", "exact", "-o", form)
    [row] = csv.DictReader(io.StringIO(text), delimiter="," if form == "csv" else "\t")
    assert [float(row[f"metrics.{key}"]) for key in ("m", "tiny", "huge")] == [value, 5e-324, 1.2345678901234567e300]


def test_columns_are_picked_and_ordered(ask: Ask):
    chosen = "name,metrics.sharpe,params.lr,tags.note,metrics.nobody"
    assert ask("run", "list", "--columns", chosen, "-e", "alpha", "-o", "csv")[0].splitlines() == [
        chosen,
        "cyd,nan,1e-3,,",
        "bob,1.0,0.01,wide,",
        "ada,1.25,0.001,,",
    ]


def test_columns_of_the_other_lists_are_picked_too(ask: Ask):
    assert ask("experiment", "list", "--columns", "name,tags.team")[0] == "name\ttags.team\nalpha\tquant\nDefault\t\n"
    assert ask("model", "list", "--columns", "name,metrics.sharpe")[0] == "name\tmetrics.sharpe\nnet\t1.25\n"
    versions = "version,aliases,metrics.sharpe"
    assert ask("model", "versions", "net", "--columns", versions)[0].splitlines() == [
        "version\taliases\tmetrics.sharpe",
        "2\tchampion\t1.25",
        "1\t\t1.0",
    ]
    assert ask("run", "best", "-m", "sharpe", "--columns", "name,best.value")[0] == "name\tbest.value\nada\t1.25\n"


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        (["metrics.loss"], [BOB, ADA, CYD, DEE]),
        (["metrics.sharpe DESC"], [DEE, ADA, BOB, CYD]),
        (["metrics.sharpe ASC"], [BOB, ADA, DEE, CYD]),
        (["params.lr"], [CYD, ADA, BOB, DEE]),  # 1e-3 and 0.001 tie, so the later start comes first
        (["params.optimizer", "start_time ASC"], [ADA, BOB, CYD, DEE]),
    ],
)
def test_a_list_is_sorted_with_what_is_missing_last(keys: list[str], order: list[str], ask: Ask):
    options = [option for key in keys for option in ("--sort", key)]
    assert ask("run", "list", *options, "-o", "id")[0].split() == order


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("metrics.sharpe > 1", [DEE, ADA]),
        ("params.lr = 0.001", [CYD, ADA]),
        ("metrics.loss < 1 OR status = 'RUNNING'", [DEE, BOB, ADA]),
        ("NOT tags.note IS NULL", [BOB]),
        ("run_name =~ '^[ab]'", [BOB, ADA]),
        ("metrics.sharpe > 1000", []),
    ],
)
def test_a_list_is_filtered(expression: str, found: list[str], ask: Ask):
    assert ask("run", "list", "--filter", expression, "-o", "id") == ("".join(f"{one}\n" for one in found), "")


@pytest.mark.parametrize(("view", "found"), [("active", 4), ("deleted", 1), ("all", 5)])
def test_deleted_runs_are_shown_only_when_asked_for(view: str, found: int, ask: Ask):
    shown = ask("run", "list", "--view", view, "-o", "id")[0].split()
    assert len(shown) == found
    assert (EVE in shown) == (view != "active")


def test_a_cut_list_says_so_on_standard_error(ask: Ask):
    out, err = ask("run", "list", "-n", "2", "-o", "id")
    assert out == f"{DEE}\n{CYD}\n"
    assert err == "showing the first 2 runs; --limit 0 shows all\n"
    out, err = ask("experiment", "list", "--limit", "1", "-o", "id")
    assert (out, err) == ("1\n", "showing 1 of 2 experiments; --limit 0 shows all\n")


@pytest.mark.parametrize("limit", ["4", "5", "0"])
def test_a_list_that_is_not_cut_says_nothing(limit: str, ask: Ask):
    out, err = ask("run", "list", "-n", limit, "-o", "id")
    assert (len(out.split()), err) == (4, "")


def test_a_limit_of_0_shows_more_than_the_thousand_at_which_mlflow_stops(ask: Ask, filled: Path):
    with Rows(filled) as rows:
        for number in range(1200):
            rows.run(f"{number:032x}", f"run-{number}", start_time=NEW_YEAR - number)
    assert len(ask("run", "list", "-n", "0", "-o", "id")[0].split()) == 1204
    out, err = ask("run", "list", "-o", "id")
    assert (len(out.split()), err) == (100, "showing the first 100 runs; --limit 0 shows all\n")


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_standard_output_carries_the_result_and_nothing_else(command: tuple[str, ...], artifacts: Path):
    piped = in_process("--debug", *command, "-o", "json", cwd=artifacts.parent)
    assert piped.returncode == 0
    strictly(piped.stdout)
    assert piped.stderr.startswith("debug: store sqlite:///mlflow.db (from default)\n")


def test_a_run_id_can_be_put_into_a_shell_variable(filled: Path):
    ran = agentnn("run", "best", "-m", "sharpe", "-o", "id", cwd=filled.parent)
    assert ran.stdout == f"{ADA}\n"


def test_markdown_is_a_table_that_shows_names_as_they_are(ask: Ask, filled: Path):
    execute(filled, f"UPDATE runs SET name = 'a|b *c* <b>d</b>' WHERE run_uuid = '{ADA}'")
    lines = ask("run", "list", "--columns", "name", "-f", f"run_id = '{ADA}'", "-o", "md")[0].splitlines()
    assert lines == ["| name |", "| --- |", r"| a\|b \*c\* &lt;b&gt;d&lt;/b&gt; |"]


# -- on a terminal -----------------------------------------------------------------------------------------


def test_a_terminal_gets_a_table(filled: Path):
    shown = on_terminal("run", "list", cwd=filled.parent)
    lines = [re.sub(r" +", " ", SGR.sub("", line)).strip() for line in shown.text.splitlines()]
    assert shown.code == 0
    assert lines[0] == "run_id name experiment status start_time loss sharpe layers lr optimizer duration_s"
    assert re.fullmatch(r"dddd0000 dee Default RUNNING \d+ [dy] ago 9", lines[1])
    assert re.fullmatch(r"cccc0000 cyd alpha FINISHED \d+ [dy] ago inf nan 2 1e-3 adam 1 min 28 s", lines[2])
    assert re.fullmatch(r"aaaa0000 ada alpha FINISHED \d+ [dy] ago 0.25 1.25 2 0.001 adam 1 min 30 s", lines[4])
    assert SGR.search(shown.text)


def test_a_table_on_a_terminal_rounds_where_a_pipe_does_not(filled: Path):
    execute(filled, f"UPDATE latest_metrics SET value = 1.23456789 WHERE run_uuid = '{ADA}' AND key = 'sharpe'")
    shown = SGR.sub("", on_terminal("run", "best", "-m", "sharpe", cwd=filled.parent).text)
    assert "1.235" in shown
    assert "1.23456789" not in shown


def test_run_show_draws_the_curves_of_the_metrics(filled: Path):
    shown = SGR.sub("", on_terminal("run", "show", "ada", cwd=filled.parent).text)
    assert re.search(r"^loss\s+0\.25\s+█▄▁", shown, re.MULTILINE)
    assert ADA in shown
    assert re.search(r"^optimizer\s+adam", shown, re.MULTILINE)


def test_run_history_draws_a_curve(filled: Path):
    shown = SGR.sub("", on_terminal("run", "history", "ada", "-m", "loss", cwd=filled.parent, width=60).text)
    assert "steps 0 to 2, 3 values, last 0.25" in shown
    assert re.search("[\u2801-\u28ff]", shown)
    assert all(len(line) <= 60 for line in shown.splitlines())


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_no_color_is_respected(command: tuple[str, ...], artifacts: Path):
    shown = in_terminal(*command, cwd=artifacts.parent, env={"NO_COLOR": "1"})
    colours = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", shown.text) for code in codes.split(";")}
    assert shown.code == 0
    assert not {code for code in colours if code[:1] in "349" and len(code) == 2}


@pytest.mark.parametrize("width", [20, 60, 80, 120])
@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_a_table_keeps_to_the_width_of_the_terminal(command: tuple[str, ...], width: int, artifacts: Path):
    shown = in_terminal(*command, cwd=artifacts.parent, width=width)
    assert shown.code == 0
    lines = SGR.sub("", shown.text).splitlines()
    results = [line for line in lines if not line.startswith("2 runs considered")]
    assert results
    assert max(map(len, results)) <= width


def test_columns_set_in_the_environment_goes_before_the_terminal(filled: Path):
    shown = on_terminal("run", "list", cwd=filled.parent, env={"COLUMNS": "50"}, width=160)
    assert max(len(line) for line in SGR.sub("", shown.text).splitlines()) <= 50


def test_columns_that_do_not_fit_are_named(filled: Path):
    shown = SGR.sub("", on_terminal("run", "list", cwd=filled.parent, width=60).text)
    assert re.search(r"^and \d+ more columns: .*optimizer", shown, re.MULTILINE)


def test_an_empty_list_on_a_terminal_says_so(database: Path):
    shown = on_terminal("--tracking-uri", f"sqlite:///{database}", "run", "list")
    assert (SGR.sub("", shown.text).strip(), shown.code) == ("(none)", 0)


def test_a_table_asked_for_on_a_pipe_is_neither_cut_nor_coloured(filled: Path):
    with Rows(filled) as rows:
        rows.run("f" * 32, "wide", params={f"p{number}": "v" * 200 for number in range(10)})
    ran = agentnn("run", "show", "wide", "-o", "table", cwd=filled.parent)
    assert ran.stdout.count("v" * 200) == 10
    assert "\x1b" not in ran.stdout
    assert "…" not in ran.stdout


def test_an_error_on_a_terminal_is_the_same_two_lines(filled: Path):
    shown = on_terminal("run", "show", "nobody", cwd=filled.parent)
    assert shown.code == 3
    assert [line.partition(":")[0] for line in shown.text.splitlines()] == ["error", "hint"]
