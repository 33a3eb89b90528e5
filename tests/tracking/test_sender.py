"""The sender: one run's trouble is not another's, and it leaves when nothing can be done any more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from faults.trainers import sender_pid, synced, wait_until
from mlflow import MlflowClient
from waiting_runs import WaitingRun

from agentnn.settings import Settings
from agentnn.tracking.journal.process_identity import this_process
from agentnn.tracking.journal.state import read_json, write_json
from agentnn.tracking.sending.sender_control import (
    ensure_sender,
    is_sender_running,
    sender_status,
    with_absolute_uris,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from real_stores import MlflowServer


def dead_process() -> str:
    """The identity of a process of this machine that has ended."""
    script = "from agentnn.tracking.journal.process_identity import this_process; print(this_process().to_json())"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_a_run_that_is_gone_from_the_store_does_not_keep_the_others_waiting(
    uri: str, database: Path, template_database: Path
):
    lost = WaitingRun(uri, "lost", process=this_process().to_json())
    synced(uri)
    os.kill(sender_pid(uri), 15)
    wait_until(lambda: not is_sender_running(lost.folder.store), "the end of the sender")
    shutil.copyfile(template_database, database)
    write_json(lost.folder.cursor, {**read_json(lost.folder.cursor), "writers": [dead_process()]})

    other = WaitingRun(uri, "other", process=dead_process())
    other.log_metric("loss", 0.5)
    other.end()
    synced(uri)

    [run] = MlflowClient(uri).search_runs(["0"])
    assert (run.info.run_name, run.info.status, run.data.metrics) == ("other", "FINISHED", {"loss": 0.5})
    assert read_json(lost.folder.cursor)["problem"]["kind"] == "NotFoundError"


def test_a_tail_that_broke_off_after_the_end_keeps_no_sender_waiting(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGENTNN_SENDER_IDLE_S", "0.5")
    run = WaitingRun(uri, "torn", process=dead_process())
    run.end()
    with run.folder.journal.open("ab") as file:
        file.write(b"\x1e0000 {")
    synced(uri)
    wait_until(lambda: not is_sender_running(run.folder.store), "the end of the sender")
    assert not run.folder.path.exists()
    assert [one.info.status for one in MlflowClient(uri).search_runs(["0"])] == ["FINISHED"]


def test_a_run_that_a_killed_sender_left_without_its_meta_is_mended(make_store: Callable[[str], str]):
    uri = make_store("mlruns")
    run = WaitingRun(uri, "hurt", process=this_process().to_json())
    run.log_metric("loss", 0.5)
    synced(uri)
    os.kill(sender_pid(uri), 15)
    wait_until(lambda: not is_sender_running(run.folder.store), "the end of the sender")
    cursor = read_json(run.folder.cursor)
    meta = Path(uri.removeprefix("file://"), cursor["experiment_id"], cursor["run_id"], "meta.yaml")
    before = meta.read_text(encoding="utf-8")
    meta.write_text("", encoding="utf-8")  # as MLflow's file store empties it before it writes it

    run.end()
    synced(uri)
    [kept] = MlflowClient(uri).search_runs(["0"])
    assert (kept.info.status, kept.info.run_name, kept.data.metrics) == ("FINISHED", "hurt", {"loss": 0.5})
    assert f"start_time: {kept.info.start_time}\n" in before


def test_a_store_that_stays_down_is_given_up_once_nobody_logs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGENTNN_SENDER_GIVE_UP_S", "1")
    uri = "http://127.0.0.1:9"
    run = WaitingRun(uri, "kept", process=this_process().to_json())  # its journal is open: somebody trains
    store = run.folder.store
    ensure_sender(store, with_absolute_uris(Settings.load(uri)))
    wait_until(lambda: sender_status(store).is_unavailable, "the first try")
    down_since = sender_status(store).since
    wait_until(lambda: time.time() * 1000 - down_since > 3000, "the time to give up")
    assert is_sender_running(store)
    run.end()
    wait_until(lambda: not is_sender_running(store), "the end of the sender")
    assert run.folder.journal.exists()


def test_a_file_of_a_name_that_a_server_can_not_keep_is_put_aside_and_said(mlflow_server: MlflowServer, tmp_path: Path):
    odd, plain = tmp_path / "a#b.txt", tmp_path / "c.txt"
    for file in (odd, plain):
        file.write_text("kept")
    run = WaitingRun(mlflow_server.url, "odd names", process=dead_process())
    run.log_artifact(odd)
    run.log_artifact(plain)
    run.end()

    [found] = [one for one in synced(mlflow_server.url) if one.uuid == run.folder.uuid]
    assert (found.status, found.refused, found.waiting) == ("FINISHED", 1, 0)
    assert "a#b.txt" in (found.problem or "") + " ".join(found.refused_keys)
    stored = MlflowClient(mlflow_server.url).list_artifacts(found.run_id)
    assert [one.path for one in stored] == ["c.txt"]
    assert odd.read_text() == "kept"
