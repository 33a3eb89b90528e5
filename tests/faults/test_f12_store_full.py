"""F12: no room left in the store, or for the sender's own notes. Everything waits until there is some again."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_run, kept_steps, sender_pid, store_folder, synced, wait_until
from mlflow import MlflowClient
from real_stores import end_senders

from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.sender_control import is_sender_running, sender_status

if TYPE_CHECKING:
    from real_stores import MlflowServer

pytestmark = pytest.mark.slow

STEPS, ARTIFACT_BYTES = 3000, 8 << 20

# A sender inherits the limit on the size of its files (setrlimit(2)), beyond which the kernel takes nothing more.
TRAIN = f"""
import resource, sys
from pathlib import Path
from agentnn import start_run
from agentnn.settings import Settings
from agentnn.tracking.sending.sender_control import ensure_sender, is_sender_running, with_absolute_uris
from agentnn.tracking.journal.state import StoreFolder

settings = with_absolute_uris(Settings.load())
store = StoreFolder.of(settings)
store.make(settings)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
ensure_sender(store, settings)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
while not is_sender_running(store):
    pass
run = start_run("full")
print(run.uuid)
Path("weights.bin").write_bytes(bytes(range(256)) * {ARTIFACT_BYTES // 256})
for step in range({STEPS}):
    run.log_metrics({{"loss": 1 / (step + 1)}}, step)
run.log_artifact("weights.bin")
sys.stdin.readline()
run.end()
"""


def check(uri: str, uuid: str) -> None:
    """Everything is there, once."""
    run = kept_run(uri, uuid)
    client = MlflowClient(uri)
    assert run.info.status == "FINISHED"
    assert kept_steps(uri, run.info.run_id, "loss") == list(range(STEPS))
    [file] = client.list_artifacts(run.info.run_id)
    assert (file.path, file.file_size) == ("weights.bin", ARTIFACT_BYTES)


def test_a_database_that_can_not_grow_refuses_nothing_and_gets_everything_later(
    database: Path, uri: str, state_dir: Path, tmp_path: Path
):
    with Trainer(TRAIN, str(database.stat().st_size + 65536), uri=uri, cwd=tmp_path) as trainer:
        wait_until(lambda: sender_status(store_folder(uri)).is_unavailable, "the failure")
        trainer.go_on()
        assert trainer.wait() == 0
        assert "records of the run 'full' wait on this machine" in trainer.stderr
    [uuid] = trainer.lines
    run_id = kept_run(uri, uuid).info.run_id
    kept = kept_steps(uri, run_id, "loss")
    assert kept == list(range(len(kept)))
    assert len(kept) < STEPS

    end_senders(state_dir)
    [synced_run] = synced(uri)
    assert (synced_run.waiting, synced_run.refused, synced_run.problem) == (0, 0, None)
    check(uri, uuid)


def test_an_artifact_for_which_there_is_no_room_is_not_there_in_part_and_whole_later(
    uri: str, state_dir: Path, tmp_path: Path
):
    with Trainer(TRAIN, str(ARTIFACT_BYTES // 2), uri=uri, cwd=tmp_path) as trainer:
        wait_until(lambda: sender_status(store_folder(uri)).is_unavailable, "the failure")
        [uuid] = trainer.lines
        run = kept_run(uri, uuid)
        assert kept_steps(uri, run.info.run_id, "loss") == list(range(STEPS))
        root = Path(run.info.artifact_uri)
        assert [path for path in root.parent.rglob("*") if path.is_file()] == []
        trainer.go_on()
        assert trainer.wait() == 0
    end_senders(state_dir)
    synced(uri)
    check(uri, uuid)


def test_a_sender_that_can_not_note_what_it_did_stays_and_goes_on_when_it_can(
    mlflow_server: MlflowServer, tmp_path: Path
):
    uri = mlflow_server.url
    store = store_folder(uri)
    with Trainer(TRAIN, "200", uri=uri, cwd=tmp_path) as trainer:
        wait_until(lambda: trainer.lines, "the run")
        [uuid] = trainer.lines
        wait_until(lambda: "unavailable" in store.log.read_text("utf-8"), "the failure")
        pid = sender_pid(uri)
        assert not store.run(uuid).cursor.exists()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: Cursor.read(store.run(uuid)).run_id, "the run in the store")
        assert (is_sender_running(store), sender_pid(uri)) == (True, pid)
        trainer.go_on()
        assert trainer.wait() == 0
        assert trainer.stderr == ""
    check(uri, uuid)
