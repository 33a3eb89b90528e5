"""``agentnn run sync`` delivers what waits, exactly once, and says what it could not deliver."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import EXECUTABLE, agentnn, environment, error_and_hint, on_terminal
from faults.trainers import store_folder
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from real_stores import STORE_KINDS, end_senders
from waiting_runs import WaitingRun, dead_process, living_process

from agentnn import ModelManager
from agentnn.errors import ConflictError
from agentnn.tracking.journal.journal import read_journal
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.upkeep.syncing import end_sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from real_stores import MlflowServer

STEPS = 30
DEADLINE_S = 120.0


class Answer:
    """What ``run sync`` has said."""

    def __init__(self, uri: str, *arguments: str) -> None:
        env = {name: value for name in ("MLFLOW_ALLOW_FILE_STORE",) if (value := os.environ.get(name))}
        ran = agentnn("--tracking-uri", uri, "run", "sync", *arguments, "-o", "json", env=env, timeout=DEADLINE_S)
        self.code = ran.returncode
        self.stderr = ran.stderr
        self.runs: list[dict[str, Any]] = json.loads(ran.stdout) if ran.stdout else []

    @property
    def error(self) -> str:
        """The error and its hint."""
        lines = [line for line in self.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
        return " ".join(error_and_hint("\n".join(lines)))


def logged(run: WaitingRun) -> WaitingRun:
    """A run that has logged one of each kind."""
    run.log_params({"lr": 0.1})
    run.set_tag("team", "quant")
    for step in range(STEPS):
        run.log_metric("loss", 1 / (step + 1), step)
    run.log_metric("odd", math.nan, 0)
    run.log_text("hello", "notes/hello.txt")
    return run


def test_nothing_waits_is_an_empty_list_and_a_note_that_names_the_store(uri: str, state_dir: Path):
    answer = Answer(uri)
    assert (answer.code, answer.runs) == (0, [])
    assert answer.stderr == f"nothing waits on this machine for {uri}\n"
    assert not state_dir.exists()


@pytest.mark.parametrize("kind", STORE_KINDS)
def test_what_waits_is_delivered_once_to_every_kind_of_store(kind: str, make_store: Callable[[str], str]):
    uri = make_store(kind)
    logged(WaitingRun(uri, process=dead_process())).end()

    answers = [Answer(uri), Answer(uri)]

    assert [answer.code for answer in answers] == [0, 0]
    (run,) = answers[0].runs
    assert (run["name"], run["status"], run["delivered"], run["waiting"]) == ("waiting", "FINISHED", STEPS + 6, 0)
    assert answers[1].runs == []
    client = MlflowClient(uri)
    (stored,) = client.search_runs(["0"])
    assert stored.info.run_id == run["run_id"]
    assert (stored.info.status, stored.data.params["lr"], stored.data.tags["team"]) == ("FINISHED", "0.1", "quant")
    history = client.get_metric_history(run["run_id"], "loss")
    assert sorted((point.step, point.value) for point in history) == [(step, 1 / (step + 1)) for step in range(STEPS)]
    assert [one.path for one in client.list_artifacts(run["run_id"], "notes")] == ["notes/hello.txt"]


@pytest.fixture
def proxy(mlflow_server: MlflowServer, state_dir: Path) -> Iterator[FaultyProxy]:
    with FaultyProxy(mlflow_server.url) as proxy:
        yield proxy
        end_senders(state_dir)


def test_a_server_that_is_down_is_exit_4_and_all_is_delivered_when_it_is_back(
    proxy: FaultyProxy, mlflow_server: MlflowServer, tmp_path: Path
):
    proxy.mode = "refuse"
    script = (
        "from agentnn import start_run\n"
        "with start_run('trained', tracking_uri=" + repr(proxy.url) + ") as run:\n"
        f"    for step in range({STEPS}): run.log_metric('loss', 1 / (step + 1), step)\n"
    )
    trained = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (trained.returncode, "agentnn run sync" in trained.stderr) == (0, True)

    down = Answer(proxy.url)
    assert down.code == 4
    assert [(run["name"], run["delivered"], run["waiting"]) for run in down.runs] == [("trained", 0, STEPS + 2)]
    assert "Connection refused" in down.runs[0]["problem"]
    assert f"{STEPS + 2} records of the run 'trained' wait on this machine, nothing is lost" in down.error

    proxy.mode = "pass"
    back = Answer(proxy.url, "trained")
    assert (back.code, back.runs[0]["status"], back.runs[0]["waiting"]) == (0, "FINISHED", 0)
    history = MlflowClient(mlflow_server.url).get_metric_history(back.runs[0]["run_id"], "loss")
    assert [point.step for point in history] == list(range(STEPS))


def test_a_damaged_record_is_exit_5_the_rest_is_delivered_and_discard_removes_it(uri: str):
    run = logged(WaitingRun(uri, process=dead_process()))
    run.end()
    damaged = [record for record in read_journal(run.folder.journal) if record.body and record.body.get("step") == 7][0]
    data = bytearray(run.folder.journal.read_bytes())
    data[damaged.offset + 40] ^= 1
    run.folder.journal.write_bytes(data)

    answer = Answer(uri)
    assert answer.code == 5
    assert [(one["status"], one["waiting"], one["damaged"]) for one in answer.runs] == [("FINISHED", 0, 1)]
    assert "1 record of the run 'waiting' can't be read" in answer.error
    assert str(run.folder.damaged) in answer.error
    assert f"run sync {answer.runs[0]['run_id']} --discard" in answer.error
    steps = [point.step for point in MlflowClient(uri).get_metric_history(answer.runs[0]["run_id"], "loss")]
    assert steps == [step for step in range(STEPS) if step != 7]

    assert Answer(uri).code == 5  # it is said until somebody has seen to it
    gone = Answer(uri, "waiting", "--discard")
    assert (gone.code, gone.runs[0]["damaged"]) == (0, 1)
    assert "thrown away: 1 damaged" in gone.stderr
    assert not run.folder.path.exists()
    assert Answer(uri).code == 0


def test_a_refused_param_is_exit_6_with_its_name_and_discard_removes_the_message(uri: str):
    run = WaitingRun(uri, process=dead_process())
    run.append("params", {"values": {"lr": "0.1"}})
    run.append("params", {"values": {"lr": "0.2", "depth": "3"}})
    run.end()

    answer = Answer(uri)
    assert answer.code == 6
    (refused,) = answer.runs
    assert (refused["status"], refused["refused"], refused["refused_keys"]) == ("FINISHED", 1, ["params.lr"])
    assert "params.lr" in answer.error
    assert str(run.folder.dead_letters) in answer.error
    assert MlflowClient(uri).get_run(refused["run_id"]).data.params == {"lr": "0.1", "depth": "3"}
    with pytest.raises(ConflictError, match=r"params\.lr"):
        ModelManager(uri).sync_runs(strict=True)

    gone = Answer(uri, refused["run_id"][:8], "--discard")
    assert (gone.code, gone.runs[0]["refused"]) == (0, 1)
    assert "1 refused" in gone.stderr
    assert "params.lr" in gone.stderr
    assert Answer(uri).runs == []


def test_a_run_that_was_refused_as_a_whole_is_tried_again_or_thrown_away(uri: str, database: Path):
    client = MlflowClient(uri)
    deleted = client.create_experiment("deleted", artifact_location=str(database.parent / "artifacts"))
    client.delete_experiment(deleted)
    parent = WaitingRun(uri, "parent", process=dead_process(), experiment="deleted")
    child = WaitingRun(uri, "child", process=dead_process(), parent=parent.folder.uuid)
    unwanted = logged(WaitingRun(uri, "unwanted", process=dead_process(), experiment="deleted"))
    for run in (parent, child, unwanted):
        run.end()

    refused = Answer(uri)
    assert refused.code == 6
    assert {one["name"]: one["waiting"] for one in refused.runs} == {"parent": 2, "child": 2, "unwanted": STEPS + 6}
    problems = {one["name"]: one["problem"] for one in refused.runs}
    assert "still holds its name" in problems["parent"]
    assert problems["child"].startswith("the parent of 'child' was refused: ")

    gone = Answer(uri, unwanted.folder.uuid, "--discard")
    assert (gone.code, gone.runs[0]["waiting"]) == (0, STEPS + 6)
    assert f"thrown away: {STEPS + 6} undelivered" in gone.stderr
    assert not unwanted.folder.path.exists()

    client.restore_experiment(deleted)
    answer = Answer(uri)
    assert (answer.code, [one["status"] for one in answer.runs]) == (0, ["FINISHED", "FINISHED"])
    stored = {run.info.run_name: run for run in client.search_runs([deleted, "0"])}
    assert stored["child"].data.tags["mlflow.parentRunId"] == stored["parent"].info.run_id
    assert set(stored) == {"parent", "child"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--discard"], 2, "takes a run"),
        (["waiting", "--discard", "--watch"], 2, "takes a run"),
        (["nothing", "--discard"], 3, "nothing of a run 'nothing'"),
        (["waiting", "--discard"], 6, "can still be delivered"),
        (["twice", "--discard"], 3, "2 runs are meant by"),
        (["nothing"], 3, "there is no run 'nothing'"),
    ],
)
def test_nothing_is_thrown_away_by_mistake(uri: str, arguments: list[str], code: int, said: str):
    runs = [WaitingRun(uri, name, process=living_process()) for name in ("waiting", "twice", "twice")]
    before = [run.folder.journal.read_bytes() for run in runs]
    answer = Answer(uri, *arguments)
    assert (answer.code, answer.runs) == (code, [])
    assert said in answer.error
    assert [run.folder.journal.read_bytes() for run in runs] == before


def test_a_run_that_goes_on_is_waited_for_as_far_as_it_was(uri: str):
    run = logged(WaitingRun(uri, process=living_process()))
    answer = Answer(uri)
    assert (answer.code, [one["status"] for one in answer.runs]) == (0, ["RUNNING"])
    assert answer.runs[0]["waiting"] == 0
    unwanted = Answer(uri, "waiting", "--discard")
    assert (unwanted.code, "the run 'waiting' has not ended" in unwanted.error) == (6, True)
    run.log_metric("loss", 0.5, STEPS)
    assert [one["run_id"] for one in Answer(uri, "@last").runs] == [answer.runs[0]["run_id"]]
    history = MlflowClient(uri).get_metric_history(answer.runs[0]["run_id"], "loss")
    assert [point.step for point in history] == list(range(STEPS + 1))


def test_a_record_that_broke_off_after_the_end_does_not_wait(uri: str):
    run = WaitingRun(uri, process=dead_process())
    run.end()
    size = run.folder.journal.stat().st_size
    Cursor(offset=size, run_id="a" * 32, name="waiting", status="FINISHED").write(run.folder)
    with run.folder.journal.open("ab") as file:
        file.write(b"\x1e0123 {")
    assert Answer(uri).runs == []
    assert [one["waiting"] for one in Answer(uri, "waiting").runs] == [0]


WATCHING = """
import sys, time
nap = time.sleep
time.sleep = lambda seconds: (print("watching", file=sys.stderr, flush=True), nap(seconds))
from agentnn.cli.process import main
main()
"""
"""The command, which says when it has looked and waits: a short run may be delivered before a process has started."""


def test_watch_delivers_as_it_comes_and_ends_with_the_training(uri: str, tmp_path: Path):
    script = (
        "import sys, time\n"
        "from agentnn import start_run\n"
        f"with start_run('watched', tracking_uri={uri!r}) as run:\n"
        f"    for step in range({STEPS}):\n"
        "        run.log_metric('loss', 1 / (step + 1), step)\n"
        "        if step == 5: print('logging', flush=True); sys.stdin.readline()\n"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    watcher = None
    try:
        assert trainer.stdin and trainer.stdout
        assert trainer.stdout.readline() == b"logging\n"
        watcher = subprocess.Popen(
            [sys.executable, "-c", WATCHING, "--tracking-uri", uri, "run", "sync", "--watch", "-o", "json"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watcher.stderr and watcher.stderr.readline() == b"watching\n"
        client, deadline = MlflowClient(uri), time.monotonic() + DEADLINE_S
        while not (found := client.search_runs(["0"], "metrics.loss <= 0.17")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [run.info.run_name for run in found] == ["watched"]
        assert watcher.poll() is None
        trainer.stdin.write(b"\n")
        trainer.stdin.close()
        assert trainer.wait(timeout=DEADLINE_S) == 0
        out, _ = watcher.communicate(timeout=DEADLINE_S)
        assert (watcher.returncode, [one["status"] for one in json.loads(out)]) == (0, ["FINISHED"])
        assert len(client.get_metric_history(found[0].info.run_id, "loss")) == STEPS
    finally:
        for process in filter(None, (trainer, watcher)):
            process.kill()
            process.wait()


def test_watch_waits_for_a_store_that_is_down_until_ctrl_c(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/closed/mlflow.db"
    run = logged(WaitingRun(uri, process=dead_process()))
    run.end()
    watcher = subprocess.Popen(
        [str(EXECUTABLE), "--tracking-uri", uri, "run", "sync", "--watch"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watcher.stderr
        assert f"{tmp_path}/closed" in watcher.stderr.readline()
        assert watcher.poll() is None
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=DEADLINE_S)
        assert (watcher.returncode, out, err) == (130, "", "interrupted\n")
    finally:
        watcher.kill()
        watcher.wait()
    assert len(list(read_journal(run.folder.journal))) == STEPS + 6


def test_the_process_that_waits_loads_nothing_heavy(uri: str):
    WaitingRun(uri, process=dead_process()).end()
    code = (
        "import sys\n"
        "from agentnn.cli.app import run_command\n"
        f"code = run_command(['--tracking-uri', {uri!r}, 'run', 'sync', '-o', 'id'])\n"
        "print(code, *(name for name in ('mlflow', 'numpy', 'sqlalchemy', 'requests') if name in sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=120)
    (run,) = MlflowClient(uri).search_runs(["0"])
    assert ran.stdout == f"{run.info.run_id}\n0\n"


def test_runs_that_wait_for_another_store_are_named(uri: str, tmp_path: Path):
    other = f"sqlite:///{tmp_path}/other.db"
    WaitingRun(other, process=living_process())
    assert f"1 run waits for another store: agentnn --tracking-uri {other} run sync" in Answer(uri).stderr


def test_a_sender_that_does_not_start_is_an_error_that_names_its_log(uri: str, monkeypatch: pytest.MonkeyPatch):
    run = WaitingRun(uri, process=dead_process())
    run.end()
    monkeypatch.setattr("agentnn.tracking.upkeep.syncing._START_S", 0.1)
    monkeypatch.setattr(sys, "executable", "")
    (found,) = ModelManager(uri).sync_runs()
    assert found.problem is not None
    assert (found.waiting, found.problem.message) == (2, "the sender does not start")
    assert str(store_folder(uri).log) in found.problem.hint


def test_on_a_terminal_the_delivery_is_shown_and_leaves_only_the_table(uri: str):
    WaitingRun(uri, process=dead_process()).end()
    shown = on_terminal("--tracking-uri", uri, "run", "sync")
    assert shown.code == 0
    assert "delivering" in shown.text
    left = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.text.split("\x1b[2K")[-1]).strip().splitlines()
    assert left[-1].split()[1:6] == ["waiting", "FINISHED", "2", "0", "0"]


def test_a_password_in_the_uri_is_never_shown(tmp_path: Path):
    uri = "http://ada:s3cret@127.0.0.1:1"
    WaitingRun(uri, process=dead_process()).end()
    answer = Answer(uri)
    other = Answer(f"sqlite:///{tmp_path}/mlflow.db")
    assert answer.code == 4
    assert "s3cret" not in json.dumps(answer.runs) + answer.stderr + other.stderr
    assert "***@127.0.0.1:1 run sync" in other.stderr


def test_only_a_sender_gets_the_signal_that_is_meant_for_it(uri: str):
    """The number in a status file may be another process's by now."""
    store = WaitingRun(uri, process=dead_process()).folder.store
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        store.status.write_text(json.dumps({"pid": bystander.pid, "state": "unavailable", "since": 0}))
        end_sender(store)
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(timeout=0.5)
    finally:
        bystander.kill()
        bystander.wait()
