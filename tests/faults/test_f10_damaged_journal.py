"""F10: a journal with a torn tail or a flipped byte loses what is damaged, says so, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow import MlflowClient

from agentnn.settings import Settings
from agentnn.tracking.journal.journal import frame, read_journal
from agentnn.tracking.journal.process_identity import ProcessIdentity
from agentnn.tracking.journal.state import RunFolder, StoreFolder, new_uuid
from agentnn.tracking.recorder import Recorder
from agentnn.tracking.sending.sender_control import with_absolute_uris
from agentnn.tracking.upkeep.syncing import sync

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 20


def journal_of_a_dead_process(settings: Settings) -> RunFolder:
    """What a trainer leaves behind that was killed before anything was delivered."""
    store = StoreFolder.of(settings)
    store.make(settings)
    folder = store.run(new_uuid())
    folder.make()
    recorder = Recorder(folder.journal, "killed")
    process = ProcessIdentity("", "", 1, "").to_json()
    start = {"name": "killed", "experiment": "Default", "tags": {}, "user": "me", "source": ""}
    recorder.append("start", {**start, "process": process})
    for step in range(STEPS):
        recorder.log_metric("loss", step / 2, step)
    return folder


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x01
    path.write_bytes(data)


def test_a_flipped_byte_costs_one_record_which_is_set_apart(uri: str):
    settings = with_absolute_uris(Settings.load(uri))
    folder = journal_of_a_dead_process(settings)
    damaged = list(read_journal(folder.journal))[6]
    flip(folder.journal, damaged.offset + 30)

    last = sync(settings)

    assert [(run.status, run.waiting, run.damaged) for run in last] == [("FAILED", 0, 1)]
    client = MlflowClient(uri)
    assert [point.step for point in client.get_metric_history(last[0].run_id, "loss")] == [
        step for step in range(STEPS) if step != 5
    ]
    assert f"bytes {damaged.offset} to {damaged.end} of the journal" in folder.damaged.read_text("utf-8")
    assert '"step":5' in folder.damaged.read_text("utf-8")


def test_a_torn_tail_is_cut_and_the_run_closed(uri: str):
    settings = with_absolute_uris(Settings.load(uri))
    folder = journal_of_a_dead_process(settings)
    with folder.journal.open("ab") as file:
        file.write(frame('{"seq":99,"kind":"metrics","time":1,"step":99,"values":{"loss":1.0}}')[:40])

    last = sync(settings)

    assert [(run.status, run.waiting, run.damaged) for run in last] == [("FAILED", 0, 0)]
    client = MlflowClient(uri)
    assert [point.step for point in client.get_metric_history(last[0].run_id, "loss")] == list(range(STEPS))
    reason = client.get_run(last[0].run_id).data.tags["agentnn.end_reason"]
    assert "ended without closing the run" in reason
