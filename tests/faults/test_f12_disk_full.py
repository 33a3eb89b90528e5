"""F12: with no room left for the journal, what was logged before is whole, training goes on, and the end says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_run, kept_steps, synced
from mlflow import MlflowClient

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# The kernel refuses to let a file of this process grow beyond the limit, as a full disk does (setrlimit(2)).
TRAIN = """
import json, resource, sys
from agentnn import start_run
from agentnn.errors import StoreUnavailable

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

run = start_run("full")
run.flush()
room(run.folder.journal.stat().st_size + 20_000)
for step in range(1000):
    run.log_metrics({"loss": 1 / (step + 1), "same": 1.0}, step)
kept = run.journal.unwritten
if sys.argv[1] == "room again":
    room(resource.RLIM_INFINITY)
    run.log_metric("loss", 0.5, 1000)
try:
    run.end()
    ended = {}
except StoreUnavailable as error:
    ended = {"code": error.exit_code, "message": str(error)}
room(resource.RLIM_INFINITY)
print(json.dumps({"uuid": run.uuid, "kept": kept, "ended": ended}))
"""


def trained(uri: str, folder: Path, then: str) -> dict[str, object]:
    with Trainer(TRAIN, then, uri=uri, cwd=folder) as trainer:
        assert trainer.wait() == 0, trainer.stderr
        told: dict[str, object] = json.loads(trainer.lines[-1])
    return told


def test_what_found_no_room_is_written_when_there_is_some_again(uri: str, tmp_path: Path):
    told = trained(uri, tmp_path, "room again")
    assert int(str(told["kept"])) > 500
    assert told["ended"] == {}
    run = kept_run(uri, str(told["uuid"]))
    assert run.info.status == "FINISHED"
    assert kept_steps(uri, run.info.run_id, "loss") == list(range(1001))
    assert len(MlflowClient(uri).get_metric_history(run.info.run_id, "same")) == 1000


def test_without_room_to_the_end_the_end_is_an_error_and_what_was_written_before_is_delivered(uri: str, tmp_path: Path):
    told = trained(uri, tmp_path, "no room")
    kept = int(str(told["kept"]))
    ended = told["ended"]
    assert isinstance(ended, dict)
    assert ended["code"] == 4
    assert f"{kept + 1} records of the run 'full' could not be written to" in ended["message"]  # and the end itself
    synced(uri)
    run = kept_run(uri, str(told["uuid"]))
    assert kept_steps(uri, run.info.run_id, "loss") == list(range(1000 - kept))
    assert run.info.status == "FAILED"
    assert "ended without closing the run" in run.data.tags["agentnn.end_reason"]
