"""The journal: what was written is read back, whatever happened around it."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnn.errors import ConflictError, UsageError
from agentnn.tracking.journal import journal
from agentnn.tracking.journal.journal import JournalWriter, count_records, frame, read_journal
from agentnn.tracking.recorder import Recorder

KEYS = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def bodies(path: Path, offset: int = 0) -> list[dict[str, Any]]:
    return [record.body for record in read_journal(path, offset) if record.body is not None]


def points(path: Path) -> list[tuple[int, dict[str, float]]]:
    return [(body["step"], body["values"]) for body in bodies(path) if body["kind"] == "metrics"]


@given(st.lists(st.dictionaries(KEYS, NUMBERS, min_size=1, max_size=12), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_every_value_is_read_back_bit_for_bit(batches: list[dict[str, float]]):
    from tempfile import TemporaryDirectory

    from agentnn.values.keys import encode_key

    with TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder, "journal"), "run")
        for step, batch in enumerate(batches):
            recorder.log_metrics(batch, step)
        found = points(Path(folder, "journal"))
    assert [step for step, _ in found] == list(range(len(batches)))
    for (_, values), batch in zip(found, batches, strict=True):
        assert list(values) == [encode_key(key) for key in batch]
        assert all(_same(values[encode_key(key)], value) for key, value in batch.items())


def _same(found: float, logged: float) -> bool:
    if math.isnan(logged):
        return math.isnan(found)
    return found == logged and math.copysign(1, found) == math.copysign(1, logged)


def test_a_percent_sign_in_a_name_is_only_a_percent_sign(tmp_path: Path):
    recorder = Recorder(tmp_path / "journal", "run")
    for value in (1.0, 2.0):
        recorder.log_metrics({"gain %r %d": value, "100%%": value}, 1)
    assert [list(values.values()) for _, values in points(tmp_path / "journal")] == [[1.0, 1.0], [2.0, 2.0]]


def test_the_last_of_two_values_of_one_step_has_the_later_time(tmp_path: Path):
    recorder = Recorder(tmp_path / "journal", "run")
    for value in range(50):
        recorder.log_metric("loss", value, step=3)
    times = [body["time"] for body in bodies(tmp_path / "journal")]
    assert times == sorted(set(times))


def test_other_names_and_steps_share_a_time(tmp_path: Path):
    recorder = Recorder(tmp_path / "journal", "run")
    recorder._time = 2**45  # noqa: SLF001 - a clock that stands still
    for step in range(20):
        recorder.log_metric("loss", 0.5, step)
        recorder.log_metric("accuracy", 0.5, step)
    assert {body["time"] for body in bodies(tmp_path / "journal")} == {2**45}


def test_threads_share_a_journal_and_nothing_is_lost(tmp_path: Path):
    recorder = Recorder(tmp_path / "journal", "run")

    def log(thread: int) -> None:
        for step in range(500):
            recorder.log_metrics({f"m{thread}": step}, step)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = bodies(tmp_path / "journal")
    assert [body["seq"] for body in found] == list(range(4000))
    assert {(key, value) for body in found for key, value in body["values"].items()} == {
        (f"m{thread}", float(step)) for thread in range(8) for step in range(500)
    }


def test_processes_share_a_journal_and_no_record_is_torn(tmp_path: Path):
    path = tmp_path / "journal"
    script = (
        "import sys, pathlib\n"
        "from agentnn.tracking.recorder import Recorder\n"
        "recorder = Recorder(pathlib.Path(sys.argv[1]), 'run')\n"
        "for step in range(1000): recorder.log_metrics({sys.argv[2]: step, 'other': 0.1}, step)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(path), f"m{number}"]) for number in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0, 0]
    records = list(read_journal(path))
    assert len(records) == 4000 and all(record.body for record in records)


@pytest.mark.parametrize("value", ["text", None, [1, 2]])
def test_a_value_that_is_refused_leaves_no_record(tmp_path: Path, value: Any):
    recorder = Recorder(tmp_path / "journal", "run")
    with pytest.raises(UsageError):
        recorder.log_metrics({"good": 1.0, "bad": value}, 1)
    assert bodies(tmp_path / "journal") == []


def test_a_param_that_changes_is_refused_by_name_and_nothing_of_the_call_is_kept(tmp_path: Path):
    recorder = Recorder(tmp_path / "journal", "run")
    recorder.log_params({"lr": 0.1})
    recorder.log_params({"lr": 0.1})
    with pytest.raises(ConflictError, match="the param 'lr' is '0.1' already") as caught:
        recorder.log_params({"new": 1, "lr": 0.2})
    assert caught.value.exit_code == 6
    assert [body["values"] for body in bodies(tmp_path / "journal")] == [{"lr": "0.1"}, {"lr": "0.1"}]


def test_while_the_disk_is_full_records_wait_in_order_and_those_that_are_too_many_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = [frame(json.dumps({"seq": number})) for number in range(7)]
    monkeypatch.setattr(journal, "_MOST_KEPT_BYTES", 2 * len(records[0]))
    writer = JournalWriter(tmp_path / "journal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(records[0]) + 4, limits[1]))
    try:
        for record in records[:2]:
            writer.append(record)
        assert (writer.unwritten, writer.lost, writer.problem is None) == (1, 0, False)
        for record in records[2:5]:
            writer.append(record)
        assert (writer.unwritten, writer.lost) == (4, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    writer.append(records[5])
    writer.retry()
    writer.append(records[6])
    assert [body["seq"] for body in bodies(writer.path)] == [0, 1, 2, 5, 6]
    assert (writer.unwritten, writer.lost, writer.problem is None) == (2, 2, False)
    writer.renew_after_fork()  # what the parent could not write is the parent's to tell
    assert writer.unwritten == 0
    writer.close()


def test_a_record_without_its_end_is_not_read_until_it_is_whole(tmp_path: Path):
    path = tmp_path / "journal"
    whole, half = frame('{"seq":0}'), frame('{"seq":1}')
    path.write_bytes(whole + half[:9])
    assert [record.body for record in read_journal(path)] == [{"seq": 0}]
    path.write_bytes(whole + half)
    assert [record.body for record in read_journal(path, len(whole))] == [{"seq": 1}]


@given(cut=st.integers(min_value=1, max_value=60))
def test_what_broke_off_is_skipped_and_what_follows_is_read(cut: int):
    from tempfile import TemporaryDirectory

    torn = frame(json.dumps({"seq": 1, "text": "x" * 60}))[:cut]
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        path.write_bytes(frame('{"seq":0}') + torn + frame('{"seq":2}'))
        records = list(read_journal(path))
    assert [record.body["seq"] for record in records if record.body] == [0, 2]
    assert [record.raw for record in records if record.body is None] == [b""]


@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
@settings(max_examples=300)
def test_a_flipped_bit_costs_at_most_its_record_and_is_seen(place: int, bit: int):
    from tempfile import TemporaryDirectory

    frames = [frame(json.dumps({"seq": number, "text": "some text"})) for number in range(5)]
    data = bytearray(b"".join(frames))
    place %= len(data)
    data[place] ^= 1 << bit
    hit = place // len(frames[0])
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        path.write_bytes(data)
        records = list(read_journal(path))
    read = [record.body["seq"] for record in records if record.body]
    assert set(range(5)) - set(read) <= {hit, hit - 1}
    if len(read) < 5 and hit < 4:
        assert any(record.raw for record in records if record.body is None) or place in _edges(frames)


def _edges(frames: list[bytes]) -> set[int]:
    """First and last bytes of records: without its first byte a record belongs to the one before."""
    length = len(frames[0])
    return {number * length for number in range(6)} | {number * length - 1 for number in range(1, 6)}


def test_records_are_counted_without_being_read(tmp_path: Path):
    path = tmp_path / "journal"
    path.write_bytes(b"".join(frame(json.dumps({"seq": number})) for number in range(1000)))
    assert count_records(path) == 1000
    assert count_records(path, path.stat().st_size) == count_records(tmp_path / "none") == 0


def test_a_long_journal_is_read_in_pieces(tmp_path: Path):
    path = tmp_path / "journal"
    texts = ["a" * 2_500_000, "b", "c" * 1_200_000]
    path.write_bytes(b"".join(frame(json.dumps({"text": text})) for text in texts))
    assert [body["text"] for body in bodies(path)] == texts


def test_the_journal_is_private_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        JournalWriter(tmp_path / "journal").close()
    finally:
        os.umask(before)
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600
