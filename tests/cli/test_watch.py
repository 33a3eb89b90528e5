"""``run watch``: looking on while a real process trains."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import ADA, DEE, Rows, agentnn, environment, on_terminal

from agentnn import ModelManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRAIN = """
import sys, time
from agentnn import start_run
with start_run("watched", tracking_uri=sys.argv[1]) as run:
    run.log_params({"epochs": 6})
    print(run.run_id, flush=True)
    for epoch in range(1, 7):
        run.log_metrics({"loss": 1 / epoch, "sharpe": 0.1 * epoch}, step=epoch)
        run.flush()
        time.sleep(0.2)
    if sys.argv[2] == "fail":
        raise SystemExit(3)
"""


@pytest.fixture
def trainer(uri: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The store and the id of a run that a process is training; the param says how it ends."""
    how = getattr(request, "param", "finish")
    command = [sys.executable, "-c", TRAIN, uri, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        yield uri, process.stdout.readline().strip()
        process.wait(timeout=60)


def test_a_run_is_watched_to_its_end(trainer: tuple[str, str]):
    uri, run_id = trainer
    ran = agentnn("--tracking-uri", uri, "run", "watch", run_id, "--interval", "0.1", "--exit-status", "-o", "json")
    assert ran.returncode == 0
    (found,) = json.loads(ran.stdout)
    assert (found["status"], found["metrics"]["loss"]) == ("FINISHED", pytest.approx(1 / 6))
    assert found["progress"]["step"] == 6
    assert found["progress"]["total_steps"] == 6
    assert found["progress"]["steps_per_s"] > 0
    said = ran.stderr.splitlines()
    assert said[-1].startswith("watched FINISHED step 6/6 loss=0.1667 sharpe=0.6")
    assert len(said) == len(set(said))


@pytest.mark.parametrize("trainer", ["fail"], indirect=True)
def test_a_run_that_fails_is_exit_8_when_that_is_asked_for(trainer: tuple[str, str]):
    uri, run_id = trainer
    ran = agentnn("--tracking-uri", uri, "run", "watch", run_id, "--interval", "0.1", "--exit-status", "-o", "id")
    assert (ran.returncode, ran.stdout) == (8, f"{run_id}\n")
    assert "error: the run watched ended FAILED" in ran.stderr
    assert agentnn("--tracking-uri", uri, "run", "watch", run_id, "-o", "id").returncode == 0


def test_a_terminal_shows_the_metrics_and_how_far_it_is(trainer: tuple[str, str]):
    uri, run_id = trainer
    seen = on_terminal("--tracking-uri", uri, "run", "watch", run_id, "--interval", "0.1", width=100)
    assert seen.code == 0
    assert "step 6/6" in seen.text
    assert "sharpe" in seen.text
    assert "█" in seen.text


def test_without_a_run_all_that_are_running_are_watched(filled: Path):
    watching = ModelManager(f"sqlite:///{filled}").watch_runs(interval=0.01)
    assert [one.run.run_id for one in next(watching)] == [DEE]
    with Rows(filled) as rows:
        rows.execute("UPDATE runs SET status = 'KILLED', end_time = start_time WHERE run_uuid = ?", [DEE])
    (last,) = next(watching)
    assert (last.run.status, last.is_open) == ("KILLED", False)
    assert list(watching) == []


def test_nothing_that_runs_is_an_empty_list_and_a_note(filled: Path):
    ran = agentnn("run", "watch", "--experiment", "alpha", "-o", "json")
    assert (ran.returncode, json.loads(ran.stdout), ran.stderr) == (0, [], "no run is running\n")


def test_a_run_that_has_ended_is_shown_once(filled: Path):
    ran = agentnn("run", "watch", "ada", "-o", "json")
    (found,) = json.loads(ran.stdout)
    assert (ran.returncode, found["run_id"], found["progress"]["step"]) == (0, ADA, 2)
    assert agentnn("run", "watch", "nobody").returncode == 3
