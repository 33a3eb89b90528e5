"""``agentnn run doctor`` says what is wrong, what it repaired, and where it looked."""

from __future__ import annotations

import io
import json
import math
import re
import sqlite3
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
from cli.support import NEW_YEAR, Rows, error_and_hint, execute, fingerprint, in_process, in_terminal
from faults.trainers import store_folder
from mlflow import MlflowClient
from waiting_runs import WaitingRun, dead_process

from agentnn.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEAD, NAN, VERSION = "d" * 32, "a" * 32, "b" * 32
KEYS = ["check", "severity", "run_id", "run", "experiment", "model", "problem", "repair", "fixable", "fixed"]


@pytest.fixture
def sick(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in the working directory, with a run of a dead process, a NaN, and a version without a run."""
    with Rows(database) as rows:
        tags = {"agentnn.run_uuid": "01a1", "agentnn.process": dead_process()}
        rows.run(DEAD, "killed", status="RUNNING", end_time=None, tags=tags, metrics={"loss": 0.5})
        rows.run(NAN, "odd", start_time=NEW_YEAR + 1, metrics={"sharpe": math.nan})
        rows.model("net")
        rows.version("net", 1, VERSION, source=str(database.parent))
    monkeypatch.chdir(database.parent)
    return database


class Answer:
    """What ``run doctor`` has said, run in this process."""

    def __init__(self, *arguments: str, root: Sequence[str] = ()) -> None:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.code = run_command([*root, "run", "doctor", *arguments])
        self.out = out.getvalue()
        self.notes, (self.error, self.hint) = notes_and_error(err.getvalue())

    @property
    def records(self) -> list[dict[str, Any]]:
        """The findings, from JSON."""
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


def notes_and_error(stderr: str) -> tuple[list[str], tuple[str, str]]:
    """The notes, then the error and its hint."""
    lines = stderr.splitlines()
    first = next((index for index, line in enumerate(lines) if line.startswith("error: ")), len(lines))
    return lines[:first], error_and_hint("\n".join(lines[first:])) if lines[first:] else ("", "")


def test_a_store_that_is_in_order_is_exit_0_and_named_with_all_versions(
    uri: str, database: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    ran = in_process("run", "doctor", "-o", "json")
    assert (ran.returncode, json.loads(ran.stdout)) == (0, [])
    with Rows(database) as rows:
        schema = rows.execute("SELECT version_num FROM alembic_version")[0][0]
    where, measures, waiting = ran.stderr.splitlines()
    assert where == f"store {uri} (from MLFLOW_TRACKING_URI), MLflow {mlflow.__version__}, schema {schema}"
    assert waiting == f"runs wait for it in {store_folder(uri).path}"
    assert re.fullmatch(
        rf"SQLite tables, read directly \(SQLite {re.escape(sqlite3.sqlite_version)}\); answers in [\d.]+ ms, "
        r"at first in [\d.]+ ms; 0 runs in 1 experiment; [\d.]+ [kM]B; without statistics",
        measures,
    )
    assert not state_dir.exists()


def test_problems_are_exit_1_a_record_each_and_nothing_is_changed(sick: Path, state_dir: Path):
    before = fingerprint(sick.parent)
    answer = Answer("-o", "json")
    assert answer.code == 1
    assert [list(one) for one in answer.records] == [KEYS] * 3
    assert [(one["check"], one["run_id"], one["model"], one["fixable"]) for one in answer.records] == [
        ("dead-process", DEAD, None, True),
        ("non-finite", NAN, None, False),
        ("deleted-run", VERSION, "net/1", False),
    ]
    assert answer.notes[0].startswith("store sqlite:///mlflow.db (from default)")
    assert (answer.error, answer.hint) == ("2 problems remain", "agentnn run doctor --fix repairs 1 of them")
    assert fingerprint(sick.parent) == before
    assert not state_dir.exists()


def test_a_dry_run_says_what_would_be_repaired_and_changes_nothing(sick: Path):
    before = fingerprint(sick.parent)
    answer = Answer("--fix", "--dry-run", "-o", "json")
    assert (answer.code, [one["fixed"] for one in answer.records]) == (1, [False] * 3)
    assert answer.notes[-1] == "nothing was changed; 1 of 3 findings would be repaired"
    assert fingerprint(sick.parent) == before


def test_fix_repairs_what_it_can_and_exits_0_when_that_was_all(sick: Path):
    answer = Answer("--fix", "-o", "json")
    assert (answer.code, [one["fixed"] for one in answer.records]) == (1, [True, False, False])
    assert answer.error == "1 problem remains"
    run = MlflowClient(f"sqlite:///{sick}").get_run(DEAD)
    assert (run.info.status, run.info.end_time) == ("FAILED", NEW_YEAR)
    execute(sick, f"DELETE FROM latest_metrics WHERE run_uuid = '{NAN}'", "DELETE FROM model_versions")
    execute(sick, f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = '{DEAD}'")
    again = Answer("--fix")
    assert (again.code, again.error) == (0, "")
    assert again.out.splitlines()[1].split("\t")[-1] == "true"


@pytest.mark.parametrize("selector", ["odd", NAN[:6], "@last"])
def test_runs_can_be_named_by_any_selector_and_a_notice_is_no_problem(sick: Path, selector: str):
    answer = Answer(selector, "-o", "id")
    assert (answer.code, answer.out) == (0, f"{NAN}\n")


def test_a_run_that_is_not_there_is_exit_3(sick: Path):
    answer = Answer("odd", "nobody")
    assert (answer.code, answer.out, answer.error) == (3, "", "there is no run 'nobody'")


def test_the_table_is_paragraphs_that_cut_nothing_and_act_on_nothing(sick: Path):
    execute(sick, f"UPDATE runs SET name = 'evil\x1b]52;c;eA==\x07[red]' WHERE run_uuid = '{DEAD}'")
    execute(sick, f"DELETE FROM tags WHERE run_uuid = '{DEAD}' AND key = 'mlflow.runName'")
    shown = in_terminal("run", "doctor", cwd=sick.parent, width=60)
    assert shown.code == 1
    assert "\x1b]52" not in shown.text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.text)
    assert "dead-process  evil\\x1b]52;c;eA==\\x07[red]" in plain
    assert "--fix: close it as FAILED" in plain
    said = " ".join(plain.split())
    assert "ended without closing the run: it was killed, or the machine stopped" in said
    assert "models:/net/1" in said
    assert "register the model again, from a run that is there" in said


def test_what_waits_is_reported_while_the_store_is_down_and_the_exit_code_is_4():
    uri = "http://ada:s3cret@127.0.0.1:1"
    WaitingRun(uri, "waiting", process=dead_process()).end()
    answer = Answer("-o", "json", root=["--tracking-uri", uri])
    assert (answer.code, [one["check"] for one in answer.records]) == (4, ["waiting", "store"])
    assert answer.notes[0].startswith("store http://***@127.0.0.1:1 (from option)")
    assert "s3cret" not in answer.out + answer.error + answer.hint + "".join(answer.notes)


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(b"garbage" * 1000, 5, "not a SQLite database"), (b"", 2, "is empty"), (None, 4, "there is no store")],
)
def test_what_is_no_store_is_not_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, code: int, said: str
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    before = fingerprint(tmp_path)
    answer = Answer("--fix", "-o", "json")
    assert (answer.code, [one["check"] for one in answer.records]) == (code, ["store"])
    assert said in answer.error
    assert fingerprint(tmp_path) == before
