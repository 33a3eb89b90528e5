"""F04: a trainer is killed or leaves by ``os._exit``. What it logged is kept, and its runs are closed as FAILED."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_steps, sender_pid, store_folder, wait_until
from mlflow import MlflowClient
from shared_store import copy_of, ended_run, runs_called, shared_state

from agentnn import start_run
from agentnn.tracking.sending.sender_control import is_sender_running

if TYPE_CHECKING:
    from collections.abc import Iterator

START = "import os, signal, sys, time\nfrom agentnn import start_run\n"
FOR_EVER = (
    "for step in range(10**9):\n"
    "    run.log_metric('loss', 1 / (step + 1), step)\n"
    "    child.log_metrics({'a': step, 'b': -step}, step)\n"
    "    print(step)\n"
)


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def parent_and_child(name: str) -> str:
    return f"run = start_run({name!r})\nchild = start_run({name + '-child'!r}, nested=True)\n"


def said_of(pid: int) -> str:
    return f"process {pid} on {socket.gethostname()} ended without closing the run"


def test_a_trainer_that_is_killed_in_the_middle_loses_nothing_and_its_runs_are_closed(uri: str, tmp_path: Path):
    with Trainer(START + parent_and_child("killed") + FOR_EVER, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("3000")
        trainer.kill()
        acknowledged = int(trainer.lines[-1]) + 1
        pid = trainer.process.pid
    run, child = ended_run(uri, "killed"), ended_run(uri, "killed-child")
    for one, keys in ((run, ["loss"]), (child, ["a", "b"])):
        assert one.info.status == "FAILED"
        assert one.data.tags["agentnn.end_reason"].startswith(said_of(pid))
        for key in keys:
            steps = kept_steps(uri, one.info.run_id, key)
            # What was written just before the kill and was not printed any more may be one more.
            assert steps in (list(range(acknowledged)), list(range(acknowledged + 1)))
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    last = max(point.timestamp for point in MlflowClient(uri).get_metric_history(run.info.run_id, "loss"))
    assert abs(run.info.end_time - last) < 1000


LEAVING = {
    "zero": "os._exit(0)",
    "three": "os._exit(3)",
    "abort": "os.abort()",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "with": "with child: os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("how", LEAVING)
def test_a_trainer_that_leaves_without_a_word_loses_nothing(how: str, uri: str, tmp_path: Path):
    name = f"leaves-{how}"
    logs = (
        "run.log_params({'lr': 0.001})\n"
        "for step in range(200): child.log_metric('loss', step, step)\n"
        "run.log_text('all of it', 'notes/last.txt')\n"
        "run.set_tag('last', 'word')\n"
    )
    with Trainer(START + parent_and_child(name) + logs + LEAVING[how], uri=uri, cwd=tmp_path) as trainer:
        trainer.wait()
        pid = trainer.process.pid
    run, child = ended_run(uri, name), ended_run(uri, f"{name}-child")
    assert [one.info.status for one in (run, child)] == ["FAILED", "FAILED"]
    assert all(one.data.tags["agentnn.end_reason"].startswith(said_of(pid)) for one in (run, child))
    assert (run.data.params, run.data.tags["last"]) == ({"lr": "0.001"}, "word")
    assert kept_steps(uri, child.info.run_id, "loss") == list(range(200))
    kept = MlflowClient(uri).download_artifacts(run.info.run_id, "notes/last.txt", str(tmp_path))
    assert open(kept, encoding="utf-8").read() == "all of it"  # noqa: PTH123, SIM115 - MLflow gives text


def test_a_run_that_was_ended_before_the_kill_stays_as_it_ended(uri: str, tmp_path: Path):
    script = "with start_run('ended well') as run: run.log_metric('loss', 1.0)\nos.kill(os.getpid(), 9)\n"
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        assert trainer.wait() == -signal.SIGKILL
    assert ended_run(uri, "ended well").info.status == "FINISHED"
    wait_until(lambda: not any(store_folder(uri).runs()), "the sweep of what is delivered")
    run = ended_run(uri, "ended well")
    assert (run.info.status, "agentnn.end_reason" in run.data.tags) == ("FINISHED", False)


def test_a_run_goes_on_as_long_as_a_forked_worker_writes_it(uri: str, tmp_path: Path):
    script = (
        "run = start_run('orphaned')\n"
        "if os.fork() == 0:\n"
        "    run.log_metric('of worker', 0, 0)\n"
        "    print('ready')\n"
        "    sys.stdin.readline()\n"
        "    run.log_metric('of worker', 1, 1)\n"
        "    os._exit(0)\n"
        "time.sleep(60)\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("ready")
        wait_until(
            lambda: any(kept_steps(uri, one.info.run_id, "of worker") for one in runs_called(uri, "orphaned")),
            "the first value of the worker",
        )
        trainer.process.kill()
        trainer.process.wait(10)
        # A second run of the same process would be closed by now.
        with Trainer(START + "start_run('meanwhile')\nos._exit(1)\n", uri=uri, cwd=tmp_path) as other:
            other.wait()
        assert ended_run(uri, "meanwhile").info.status == "FAILED"
        [run] = runs_called(uri, "orphaned")
        assert run.info.status == "RUNNING"
        trainer.go_on()
        run = ended_run(uri, "orphaned")
    assert run.info.status == "FAILED"
    assert kept_steps(uri, run.info.run_id, "of worker") == [0, 1]


def test_when_the_sender_is_killed_too_the_next_one_closes_the_run(uri: str, tmp_path: Path):
    with Trainer(START + parent_and_child("both killed") + FOR_EVER, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("100")
        os.kill(sender_pid(uri), signal.SIGKILL)
        trainer.kill()
        acknowledged = int(trainer.lines[-1]) + 1
    wait_until(lambda: not is_sender_running(store_folder(uri)), "the end of the sender")
    start_run("the next", tracking_uri=uri).end()
    run = ended_run(uri, "both killed")
    assert (run.info.status, ended_run(uri, "both killed-child").info.status) == ("FAILED", "FAILED")
    steps = kept_steps(uri, run.info.run_id, "loss")
    assert steps in (list(range(acknowledged)), list(range(acknowledged + 1)))


def test_the_reason_names_the_process_that_had_to_close_the_run(uri: str, tmp_path: Path):
    pids = []
    for script in ("start_run('twice')", "start_run(run_id=sys.argv[-1])"):
        run_id = [run.info.run_id for run in runs_called(uri, "twice")]
        with Trainer(f"{START}sys.argv += {run_id}\n{script}\nos._exit(1)\n", uri=uri, cwd=tmp_path) as trainer:
            trainer.wait()
            pids.append(trainer.process.pid)
        wait_until(
            lambda: any(
                run.data.tags.get("agentnn.end_reason", "").startswith(said_of(pids[-1]))
                for run in runs_called(uri, "twice")
            ),
            "the reason that names the last process",
        )
    assert len(runs_called(uri, "twice")) == 1


HALF_WRITTEN = (
    "import os, sqlite3, sys\n"
    "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "database.execute('PRAGMA cache_size = 1')\n"
    "database.execute('BEGIN IMMEDIATE')\n"
    "database.execute('CREATE TABLE half (x)')\n"
    "database.executemany('INSERT INTO half VALUES (?)', [('x' * 1000,)] * 2000)\n"
    "os._exit(9)\n"
)


def test_a_database_that_a_killed_sender_left_in_the_middle_of_a_write_is_written_again(
    template_database: Path, tmp_path_factory: pytest.TempPathFactory
):
    uri = copy_of(template_database, tmp_path_factory)
    database = uri.removeprefix("sqlite:///")
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, database], check=False, timeout=60)
    assert Path(f"{database}-journal").exists()
    run = start_run("after the kill", tracking_uri=uri)
    run.log_metric("loss", 0.5)
    run.end()
    assert ended_run(uri, "after the kill").data.metrics == {"loss": 0.5}
