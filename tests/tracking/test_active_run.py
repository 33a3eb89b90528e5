"""A run that is being written: where it is current, what its end waits for, and what it costs the trainer."""

from __future__ import annotations

import inspect
import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_steps
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from shared_store import copy_of, ended_run, runs_called, shared_state

from agentnn import ActiveRun, NullRun, current_run, start_run
from agentnn.errors import StoreUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = ("mlflow", "pandas", "numpy", "sqlalchemy", "torch", "matplotlib", "pydantic", "rich", "typer", "yaml")


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(scope="module")
def down() -> Iterator[str]:
    """The URI of a server that refuses connections."""
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = "refuse"
        yield proxy.url


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own for a run."""
    return re.sub(r"\W+", "-", request.node.name)


# -- from start to end -------------------------------------------------------------------------------------


def test_a_run_starts_with_all_that_was_said_of_it(uri: str, name: str):
    with start_run(name, tracking_uri=uri, tags={"team": "quant", "fold": 3}, description="# why") as run:
        assert len(run.uuid) == 32
        assert run.is_owned
        assert not run.ended
    assert run.ended
    kept = ended_run(uri, name)
    assert kept.info.run_id == run.run_id
    told = {key: kept.data.tags[key] for key in ("team", "fold", "mlflow.note.content", "agentnn.run_uuid")}
    assert told == {"team": "quant", "fold": "3", "mlflow.note.content": "# why", "agentnn.run_uuid": run.uuid}
    assert abs(kept.info.start_time / 1000 - time.time()) < 60


def test_a_run_without_a_name_has_one_of_the_moment(uri: str):
    run = start_run(tracking_uri=uri)
    run.end()
    assert re.fullmatch(r"run_\d{8}_\d{6}", run.name)


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_ends_as_it_is_told(status: str, uri: str, name: str):
    run = start_run(name, tracking_uri=uri)
    with pytest.raises(UsageError, match="'DONE'") as refused:
        run.end("DONE")
    assert "FINISHED, FAILED, KILLED" in refused.value.hint
    assert not run.ended
    run.end(status, "enough", end_time=1_900_000_000_000)
    kept = ended_run(uri, name)
    assert (kept.info.status, kept.info.end_time) == (status, 1_900_000_000_000)
    assert kept.data.tags["agentnn.end_reason"] == "enough"


def test_what_was_flushed_is_in_the_store(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as run:
        for step in range(3):
            run.log_metric("loss", step, step)
            assert run.flush()
            assert kept_steps(uri, run.run_id, "loss") == list(range(step + 1))


def test_many_runs_leave_no_file_open(uri: str):
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    start_run("before", tracking_uri=uri).end()
    before = open_files()
    for _ in range(20):
        run = start_run("one of many", tracking_uri=uri)
        run.log_metric("loss", 0.5)
        run.end()
        run.flush()
    assert open_files() <= before + 2


def test_a_trainer_loads_nothing_heavy(uri: str, name: str, tmp_path: Path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    script = (
        "import sys\n"
        "from agentnn import NullRun, current_run, start_run\n"
        f"with start_run({name!r}, tags={{'a': 1}}) as run:\n"
        "    run.log_params({'lr': 0.1, 'layers': [1, 2]})\n"
        "    run.log_metric('loss', 0.5, 1)\n"
        "    run.log_text('x', 'x.txt')\n"
        "    run.log_dict({'a': 1}, 'x.json')\n"
        "    run.log_table({'a': [1]}, 'table.json')\n"
        "    run.log_artifact('file')\n"
        "    with start_run('child of it', nested=True): current_run().log_metric('loss', float('nan'))\n"
        "    run.flush()\n"
        "    run.run_id\n"
        "with start_run(run_id=run.run_id): pass\n"
        f"print([one for one in {HEAVY} if one in sys.modules])\n"
    )
    with Trainer(script, uri=uri, cwd=tmp_path) as trainer:
        assert (trainer.wait(), trainer.lines) == (0, ["[]"]), trainer.stderr
    assert ended_run(uri, name).info.status == "FINISHED"


# -- the current run ---------------------------------------------------------------------------------------


def test_the_innermost_run_is_the_current_one(uri: str):
    assert current_run() is None
    with start_run("outer", tracking_uri=uri) as outer:
        assert current_run() is outer
        with start_run("inner", nested=True) as inner:
            assert current_run() is inner
        assert current_run() is outer
        late = start_run("late", nested=True)
        outer.end()
        assert current_run() is late
        late.end()
    assert current_run() is None


def test_processes_are_told_of_the_current_run_and_only_of_it(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGENTNN_RUN", "/of/the/process/that/started/this/one")
    with start_run("outer", tracking_uri=uri) as outer:
        assert os.environ["AGENTNN_RUN"] == str(outer.folder.path)
        with start_run("inner", nested=True) as inner:
            assert os.environ["AGENTNN_RUN"] == str(inner.folder.path)
        assert os.environ["AGENTNN_RUN"] == str(outer.folder.path)
    assert os.environ["AGENTNN_RUN"] == "/of/the/process/that/started/this/one"
    assert current_run() is None


def test_a_run_that_could_not_start_is_not_the_current_one(tmp_path: Path):
    with pytest.raises(StoreUnavailable):
        start_run(tracking_uri=f"sqlite:///{tmp_path}/missing/mlflow.db")
    assert current_run() is None
    assert "AGENTNN_RUN" not in os.environ


# -- a store that is down ----------------------------------------------------------------------------------


def test_a_store_that_is_down_lets_training_start_log_and_end(down: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "agentnn"):
        run = start_run("down", tracking_uri=down)
        run.log_metric("loss", 0.5)
        with pytest.raises(StoreUnavailable, match="is not in the store yet") as refused:
            _ = run.run_id
        assert run.flush(timeout=0.2) is False
        run.end()
    assert "its server runs" in refused.value.hint
    assert any(re.match(r"3 records of the run 'down' wait .*agentnn run sync$", said) for said in caplog.messages)


def test_a_strict_run_says_at_its_end_that_the_store_is_down(down: str):
    run = start_run("down and strict", tracking_uri=down, strict=True)
    with pytest.raises(StoreUnavailable, match="2 records of the run 'down and strict' wait"):
        run.end()
    assert run.ended
    assert current_run() is None


def test_many_runs_wait_for_a_store_that_is_down_no_longer_than_one(down: str):
    outer = start_run("outer", tracking_uri=down)
    started = time.monotonic()
    for _ in range(20):
        run = start_run("inner", nested=True)
        run.log_metric("loss", 0.5)
        run.end()
    outer.end()
    assert time.monotonic() - started < 35  # a wait of 2 s each would be 42


# -- no run ------------------------------------------------------------------------------------------------


def test_a_null_run_takes_all_that_a_run_takes_and_does_nothing(tmp_path: Path, state_dir: Path):
    before = sorted(state_dir.rglob("*"))
    null = NullRun()
    with null as run:
        assert run is null
        run.log_metric("loss", 0.5, 1)
        run.log_metrics({"loss": 0.5}, step=2)
        run.log_params({"lr": 0.1})
        run.set_tags({"a": 1})
        run.log_artifact(tmp_path / "not there")
        run.log_text("x", "../out")
        assert run.flush() is True
        assert current_run() is None
    null.end("FAILED", "whatever")
    null.log_metric("after its end", 1)
    assert (null.run_id, null.uuid, null.name) == ("", "", "")
    assert not (null.ended or null.is_owned or null.strict)
    assert sorted(state_dir.rglob("*")) == before


def test_a_null_run_has_every_logging_method_of_a_run_and_no_other():
    methods = [name for name, _ in inspect.getmembers(ActiveRun, inspect.isfunction) if not name.startswith("_")]
    assert {"log_metric", "log_params", "log_model", "log_figure", "set_tag", "end"} <= set(methods)
    for name in methods:
        assert callable(getattr(NullRun(), name)), name
    properties = [name for name, _ in inspect.getmembers(ActiveRun, lambda one: isinstance(one, property))]
    for name in properties:
        assert not getattr(NullRun(), name), name
    for name in ("log_everything", "_append", "__fspath__"):
        with pytest.raises(AttributeError, match=name):
            getattr(NullRun(), name)


def test_a_null_run_does_not_come_between_a_run_and_its_name(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as run, NullRun():
        assert current_run() is run
    assert len(runs_called(uri, name)) == 1
    assert MlflowClient(uri).get_run(run.run_id).info.status == "FINISHED"
