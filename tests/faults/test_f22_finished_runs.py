"""F22: writing to a run that has ended or is deleted. Refused, unless it is resumed on purpose."""

from __future__ import annotations

import json
import logging
import pickle
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_steps, store_folder, wait_until
from mlflow import MlflowClient
from shared_store import copy_of, ended_run, runs_called, shared_state

from agentnn import ActiveRun, start_run
from agentnn.errors import ConflictError, NotFoundError
from agentnn.settings import Settings
from agentnn.tracking.sending.delivered import Cursor
from agentnn.tracking.sending.turns import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MISSING = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own for a run."""
    return re.sub(r"\W+", "-", request.node.name)


@pytest.fixture
def ended(uri: str, name: str) -> ActiveRun:
    """A run of this test's name, which has ended and is in the store."""
    run = start_run(name, tracking_uri=uri)
    run.log_param("lr", 0.001)
    run.log_metric("loss", 0.5, 0)
    run.end("FAILED", "at first")
    return run


CALLS: dict[str, Callable[[ActiveRun, Path], object]] = {
    "log_metric": lambda run, _: run.log_metric("loss", 0.25, 1),
    "log_metric nan": lambda run, _: run.log_metric("loss", float("nan"), 1),
    "log_metrics": lambda run, _: run.log_metrics({"loss": 0.25, "other": 1}, 1),
    "log_metric then": lambda run, _: run.log_metric("loss", 0.25, 1, timestamp=1),
    "log_param": lambda run, _: run.log_param("new", 1),
    "log_params": lambda run, _: run.log_params({"new": 1}),
    "set_tag": lambda run, _: run.set_tag("new", 1),
    "set_tags": lambda run, _: run.set_tags({"new": 1}),
    "log_text": lambda run, _: run.log_text("new", "new.txt"),
    "log_dict": lambda run, _: run.log_dict({"new": 1}, "new.json"),
    "log_table": lambda run, _: run.log_table({"new": [1]}, "new.json"),
    "log_artifact": lambda run, path: run.log_artifact(path),
    "log_artifacts": lambda run, path: run.log_artifacts(path.parent),
    "with": lambda run, _: run.__enter__(),
    "pickle": lambda run, _: pickle.dumps(run),
}


def test_a_run_that_has_ended_takes_nothing_more(ended: ActiveRun, uri: str, tmp_path: Path):
    path = tmp_path / "new.txt"
    path.write_text("new", encoding="utf-8")
    journal, files = ended.folder.journal.read_bytes(), list(ended.folder.path.rglob("*"))
    before = MlflowClient(uri).get_run(ended.run_id).to_dictionary()
    for name, call in CALLS.items():
        with pytest.raises(ConflictError, match="has ended") as refused:
            call(ended, path)
        assert (name, refused.value.exit_code, "run_id=" in refused.value.hint) == (name, 6, True)
    assert (ended.folder.journal.read_bytes(), list(ended.folder.path.rglob("*"))) == (journal, files)
    assert MlflowClient(uri).get_run(ended.run_id).to_dictionary() == before
    assert MlflowClient(uri).list_artifacts(ended.run_id) == []


def test_what_a_thread_logs_while_the_run_ends_is_kept_or_refused(uri: str, name: str):
    def log(run: ActiveRun, logged: list[int]) -> None:
        with pytest.raises(ConflictError, match="has ended"):
            for step in range(10**9):
                run.log_metric("loss", 0.5, step)
                logged.append(step)

    for number in range(5):
        run, logged = start_run(f"{name}-{number}", tracking_uri=uri), []
        threads = [threading.Thread(target=log, args=(run, logged)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        run.end()
        for thread in threads:
            thread.join()
        ended_run(uri, run.name)
        assert kept_steps(uri, run.run_id, "loss") == sorted(logged)


def test_to_end_a_run_again_changes_nothing(ended: ActiveRun, uri: str):
    before = ended_run(uri, ended.name)
    ended.end("FINISHED")
    ended.end("KILLED", "again")
    ended.flush()
    after = ended_run(uri, ended.name)
    assert (after.info.status, after.info.end_time) == ("FAILED", before.info.end_time)
    assert after.data.tags["agentnn.end_reason"] == "at first"


@pytest.mark.parametrize("which", ["run_id", "uuid"])
def test_a_run_is_resumed_on_purpose_and_has_a_new_end(which: str, ended: ActiveRun, uri: str):
    first = ended_run(uri, ended.name)
    time.sleep(0.01)
    with start_run(run_id=getattr(ended, which), tracking_uri=uri) as run:
        assert (run.name, run.run_id) == (ended.name, ended.run_id)
        run.log_metric("loss", 0.25, 1)
        run.flush()
        [during] = runs_called(uri, ended.name)
        assert during.info.status == "RUNNING"
        with pytest.raises(ConflictError, match=r"the param 'lr' is '0\.001' already"):
            run.log_param("lr", 0.1)
        run.log_param("lr", 0.001)
    last = ended_run(uri, ended.name)
    assert (last.info.run_id, last.info.status) == (first.info.run_id, "FINISHED")
    assert last.info.start_time == first.info.start_time
    assert last.info.end_time > first.info.end_time
    assert kept_steps(uri, last.info.run_id, "loss") == [0, 1]
    with pytest.raises(ConflictError, match="has ended"):
        ended.log_metric("loss", 0.125, 2)


def test_a_resumed_run_that_finishes_no_longer_says_why_it_failed(ended: ActiveRun, uri: str):
    with start_run(run_id=ended.run_id, tracking_uri=uri):
        pass
    wait_until(lambda: ended_run(uri, ended.name).info.status == "FINISHED", "the end")
    assert "agentnn.end_reason" not in ended_run(uri, ended.name).data.tags


def test_a_run_of_another_tool_is_resumed(uri: str):
    client = MlflowClient(uri)
    other = client.create_run("0", run_name="of another tool")
    client.log_param(other.info.run_id, "lr", 0.1)
    client.log_metric(other.info.run_id, "loss", 0.5, step=0)
    client.set_terminated(other.info.run_id)
    with start_run(run_id=other.info.run_id, tracking_uri=uri) as run:
        assert run.run_id == other.info.run_id
        run.log_metric("loss", 0.25, 1)
        with pytest.raises(ConflictError, match="the param 'lr'"):
            run.log_param("lr", 0.2)
    [after] = runs_called(uri, "of another tool")
    assert (after.info.status, kept_steps(uri, run.run_id, "loss")) == ("FINISHED", [0, 1])


@pytest.mark.parametrize("by", ["us", "another tool"])
def test_a_deleted_run_is_not_resumed(by: str, ended: ActiveRun, uri: str):
    client = MlflowClient(uri)
    run_id = ended.run_id if by == "us" else client.create_run("0").info.run_id
    client.delete_run(run_id)
    before = runs_called(uri, ended.name)
    with pytest.raises(ConflictError, match="is deleted") as refused:
        start_run(run_id=run_id, tracking_uri=uri)
    assert (refused.value.exit_code, run_id in refused.value.hint) == (6, True)
    client.restore_run(run_id)
    with start_run(run_id=run_id, tracking_uri=uri) as run:
        run.log_metric("loss", 0.25, 1)
    assert client.get_run(run_id).data.metrics["loss"] == 0.25
    assert len(runs_called(uri, ended.name)) == len(before)


@pytest.mark.parametrize("run_id", [MISSING, "", "no id at all"])
def test_a_run_that_is_not_there_is_not_resumed(run_id: str, uri: str):
    waiting = start_run("not delivered yet", tracking_uri=uri)
    waiting.end()
    before = len(MlflowClient(uri).search_runs(["0"]))
    with pytest.raises(NotFoundError, match="to resume") as refused:
        start_run(run_id=run_id, tracking_uri=uri)
    assert refused.value.exit_code == 3
    assert len(MlflowClient(uri).search_runs(["0"])) == before


def test_a_run_whose_journal_is_here_but_which_was_purged_from_the_store_is_not_resumed(ended: ActiveRun, uri: str):
    MlflowClient(uri)._tracking_client.store._hard_delete_run(ended.run_id)  # as ``mlflow gc`` does
    assert ended.folder.journal.exists()
    for known_as in (ended.run_id, ended.uuid):
        with pytest.raises(NotFoundError, match=ended.run_id):
            start_run(run_id=known_as, tracking_uri=uri)


def test_what_is_logged_to_a_run_that_was_deleted_meanwhile_is_kept_aside_and_said(
    uri: str, caplog: pytest.LogCaptureFixture
):
    client = MlflowClient(uri)
    run = start_run("deleted meanwhile", tracking_uri=uri)
    run.log_metric("loss", 0.5, 0)
    run.flush()
    client.delete_run(run.run_id)
    run.log_metric("loss", 0.25, 1)
    run.log_param("lr", 0.001)
    with caplog.at_level(logging.WARNING, "agentnn"):
        run.end()
    said = "\n".join(caplog.messages)
    assert "the store refused" in said
    assert str(run.folder.dead_letters) in said
    letters = [json.loads(line) for line in run.folder.dead_letters.read_text(encoding="utf-8").splitlines()]
    assert {letter["record"]["kind"] for letter in letters} >= {"metrics", "params"}
    assert all("deleted" in letter["reason"] or "active" in letter["reason"] for letter in letters)
    assert kept_steps(uri, run.run_id, "loss") == [0]
    with start_run("after it", tracking_uri=uri) as after:
        after.log_metric("loss", 1.0)
    assert ended_run(uri, "after it").info.status == "FINISHED"


def test_a_strict_run_that_was_deleted_meanwhile_ends_with_an_error(uri: str):
    run = start_run("deleted, strict", tracking_uri=uri, strict=True)
    MlflowClient(uri).delete_run(run.run_id)
    run.log_metric("loss", 0.25, 1)
    with pytest.raises(ConflictError, match="refused"):
        run.end()


def test_a_run_that_is_open_here_is_not_started_again(uri: str):
    with start_run("open", tracking_uri=uri) as run:
        for again in (lambda: start_run(tracking_uri=uri), lambda: start_run(run_id=run.run_id, tracking_uri=uri)):
            with pytest.raises(ConflictError, match="'open' is open already") as refused:
                again()
            assert "nested=True" in refused.value.hint
    assert ended_run(uri, "open").info.status == "FINISHED"


def test_a_training_script_may_resume_its_run_as_often_as_it_is_started(uri: str, tmp_path: Path):
    script = (
        "import pathlib, sys\n"
        "from agentnn import start_run\n"
        "kept = pathlib.Path('run')\n"
        "with start_run('again and again', run_id=kept.read_text() if kept.exists() else None) as run:\n"
        "    kept.write_text(run.run_id)\n"
        "    run.log_metric('loss', 0.5, int(sys.stdin.readline()))\n"
    )
    for step in range(3):
        with Trainer(script, uri=uri, cwd=tmp_path) as trainer:
            assert trainer.process.stdin is not None
            trainer.process.stdin.write(str(step))
            trainer.go_on()
            assert trainer.wait() == 0, trainer.stderr
    [run] = runs_called(uri, "again and again")
    assert kept_steps(uri, run.info.run_id, "loss") == [0, 1, 2]


def test_a_run_that_is_resumed_while_its_journal_is_cleared_away_loses_nothing(uri: str, name: str, tmp_path: Path):
    script = f"from agentnn import start_run\nwith start_run({name!r}) as run: print(run.uuid)\n"
    with Trainer(script, uri=uri, cwd=tmp_path) as trainer:
        assert trainer.wait() == 0
    ended_run(uri, name)
    folder, settings = store_folder(uri).run(trainer.lines[0]), Settings.load(uri)
    wait_until(lambda: Cursor.read(folder).offset == folder.journal.stat().st_size, "the delivery")
    late = ActiveRun(folder, name, settings)  # a script that resumes it has opened the journal
    Sender(folder.store, settings).sweep()
    late.append("tags", {"values": {"late": "but kept"}})
    late.flush()
    assert runs_called(uri, name)[0].data.tags["late"] == "but kept"
    late.journal.close()
    wait_until(lambda: not folder.path.exists(), "the removal of what nobody writes any more")
    with start_run(run_id=ended_run(uri, name).info.run_id, tracking_uri=uri) as again:
        again.log_metric("loss", 0.5)
    assert ended_run(uri, name).data.metrics == {"loss": 0.5}
