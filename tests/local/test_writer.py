"""Runs that are logged to a folder of TOML files: what plain ``tomllib`` reads there, and what is refused."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnn import ModelManager, start_run
from agentnn.errors import ConflictError, NotFoundError, UnsafeError, UsageError
from agentnn.records import Metric
from agentnn.settings import Settings
from agentnn.stores.run_writer import UUID_TAG
from agentnn.stores.toml.runs.artifact_names import artifact_names, stored_name
from agentnn.stores.toml.runs.run_documents import params_of
from agentnn.stores.toml.runs.typed_params import put_params
from agentnn.stores.toml.text.documents import parse, render
from agentnn.stores.toml.writing.writer import TomlWriter
from agentnn.tracking.journal.process_identity import ProcessIdentity, this_process
from agentnn.tracking.journal.state import StoreFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder of projects that is not there yet."""
    return tmp_path / "checkpoints"


@pytest.fixture
def uri(base: Path) -> str:
    return f"toml:{base}"


@pytest.fixture
def writer(uri: str) -> TomlWriter:
    return TomlWriter(Settings.load(uri))


def config_of(folder: Path) -> dict[str, object]:
    """What stands in a run's ``config.toml``, as the standard library reads it."""
    return tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))


def new_run(writer: TomlWriter, uuid: str = "ab") -> str:
    return writer.create_run(writer.ensure_experiment("demo"), "one", 1_767_225_600_000, {UUID_TAG: uuid})


# -- whole runs


def test_a_run_is_a_folder_that_anybody_can_read(base: Path, uri: str):
    with start_run("first", experiment="my/exp", tracking_uri=uri, tags={"team": "quant"}) as run:
        run.log_params({"lr": 1e-5, "model": {"layers": 3, "dropout": None}, "sizes": [1, 2], "version": "1.10"})
        for step in range(3):
            run.log_metrics({"loss": 1 / (step + 1), "val/loss": 2.0}, step)
        run.log_text("hello", "notes/hello.txt")
        run.log_text("mine", "config.toml")
    folder = base / "my%2Fexp" / run.run_id
    config = config_of(folder)
    meta = config.pop("_meta")
    assert config == {
        "lr": 1e-5, "model": {"layers": 3}, "sizes": [1, 2], "version": "1.10", "_none": ["model.dropout"],
    }  # fmt: skip
    assert isinstance(meta, dict)
    assert {key: meta[key] for key in ("run_id", "project", "name", "status")} == {
        "run_id": run.run_id, "project": "my/exp", "name": "first", "status": "FINISHED",
    }  # fmt: skip
    assert meta["created_at"] <= meta["ended_at"]
    assert meta["tags"]["team"] == "quant"
    metrics = tomllib.loads((folder / "metrics.toml").read_text())
    assert metrics == {"loss": 1 / 3, "val/loss": 2.0}
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [(line["step"], line["metrics"]["loss"]) for line in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert (folder / "notes" / "hello.txt").read_text() == "hello"
    manager = ModelManager(uri)
    assert b"".join(manager.read_artifact(run.run_id, "config.toml")) == b"mine", "ours gives way to the user's"
    assert tomllib.loads((base / "my%2Fexp" / "project.toml").read_text())["name"] == "my/exp"


def test_a_finished_run_is_recorded_in_one_call_and_found(uri: str):
    manager = ModelManager(uri)
    run_id = manager.track_run("past", {"lr": 0.1}, {"sharpe": 1.5}, {"team": "a"})
    (run,) = manager.list_runs(filter="params.lr = 0.1 AND metrics.sharpe > 1 AND tags.team = 'a'")
    assert (run.run_id, run.name, run.status, run.params) == (run_id, "past", "FINISHED", {"lr": "0.1"})


DELIVERED = """
import sys
executable, sys.executable = sys.executable, ""  # so that no sender of its own is started
from agentnn import start_run
from agentnn.settings import Settings
from agentnn.tracking.journal.state import StoreFolder
from agentnn.tracking.sending.turns import Sender
from agentnn.tracking.sending.sender_control import with_absolute_uris

run = start_run("one", tracking_uri=sys.argv[1])
run.log_params({"lr": 0.1})
run.log_metric("loss", 0.5, 0)
run.log_text("x", "x.txt")
run.end(wait=False)
settings = with_absolute_uris(Settings.load(sys.argv[1]))
sender = Sender(StoreFolder.of(settings), settings)
while sender.deliver():
    pass
print(run.find_run_id())
print(sorted({"mlflow", "sqlalchemy", "pandas", "numpy", "torch", "wandb"} & set(sys.modules)))
"""


def test_the_sender_of_such_a_store_needs_no_mlflow(base: Path, uri: str):
    ran = subprocess.run([sys.executable, "-c", DELIVERED, uri], capture_output=True, text=True, timeout=60, check=True)
    run_id, modules = ran.stdout.split("\n")[:2]
    assert modules == "[]"
    assert config_of(base / "Default" / run_id)["lr"] == 0.1


def test_a_run_goes_on_and_nests_like_any_other(base: Path, uri: str):
    with start_run("parent", tracking_uri=uri) as parent, start_run("child", nested=True) as child:
        child.log_metric("loss", 1.0, 0)
    with start_run(run_id=child.run_id, tracking_uri=uri) as again:
        again.log_metric("loss", 0.5, 1)
    run = ModelManager(uri).get_run(child.run_id)
    assert (run.parent_run_id, run.metrics["loss"], run.status) == (parent.run_id, 0.5, "FINISHED")
    meta = config_of(base / "Default" / child.run_id)["_meta"]
    assert isinstance(meta, dict)
    assert meta["parent_run_id"] == parent.run_id


def test_mlflow_itself_is_left_alone_and_that_is_said_once(uri: str, caplog: pytest.LogCaptureFixture):
    import mlflow

    before = mlflow.get_tracking_uri()
    for name in ("one", "two"):
        with caplog.at_level(logging.WARNING), start_run(name, tracking_uri=uri):
            assert mlflow.active_run() is None
            assert mlflow.get_tracking_uri() == before
    assert caplog.text.count("it can't write to") == 1


# -- exactly once


def test_a_run_that_is_made_twice_is_one(writer: TomlWriter, base: Path):
    """F11: the answer to the making was lost."""
    made = {new_run(writer) for _ in range(2)}
    (run_id,) = made
    assert writer.find_runs_by_uuid("demo", "ab") == [run_id]
    assert writer.find_runs_by_uuid("demo", "cd") == []
    assert len(run_id) == 32
    assert len(list(base.glob("demo/*/config.toml"))) == 1


def test_a_changed_param_is_refused_by_name_and_nothing_of_its_batch_is_kept(writer: TomlWriter, base: Path):
    """F20."""
    run_id = new_run(writer)
    writer.log_batch(run_id, params={"lr": "0.1", "model.layers": "2"})
    before = (base / "demo" / run_id / "config.toml").read_bytes()
    with pytest.raises(ConflictError, match=r"the param 'model.layers' is '2' already"):
        writer.log_batch(run_id, [Metric("loss", 1.0, 0, 1)], {"new": "1", "model.layers": "3"}, {"tag": "x"})
    assert (base / "demo" / run_id / "config.toml").read_bytes() == before
    assert writer.history(run_id, "loss") == []
    writer.log_batch(run_id, params={"lr": "0.1"})
    assert writer.params(run_id) == {"lr": "0.1", "model.layers": "2"}


def test_a_deleted_run_takes_nothing_more(writer: TomlWriter, uri: str, tmp_path: Path):
    """F22."""
    run_id = new_run(writer)
    writer.delete_run(run_id)
    file = tmp_path / "x.txt"
    file.write_text("x")
    for write in (
        lambda: writer.log_batch(run_id, [Metric("loss", 1.0, 0, 1)]),
        lambda: writer.log_batch(run_id, tags={"a": "b"}),
        lambda: writer.put_file(run_id, file, "x.txt"),
        lambda: writer.terminate(run_id, "FINISHED", 1),
        lambda: writer.reopen(run_id),
    ):
        with pytest.raises(ConflictError, match="is deleted"):
            write()
    with pytest.raises(ConflictError, match="is deleted"):
        start_run(run_id=run_id, tracking_uri=uri)
    with pytest.raises(NotFoundError):
        writer.log_batch("0" * 32, tags={"a": "b"})


def _log_a_hundred(arguments: tuple[str, int]) -> str:
    uri, number = arguments
    writer = TomlWriter(Settings.load(uri))
    run_id = new_run(writer)
    for step in range(12):
        points = [Metric(f"m{number}", float(step), step, step), Metric("shared", float(number), step, number)]
        writer.log_batch(run_id, points, {f"p{number}.{step}": str(step)}, {f"t{number}": str(step)})
    return run_id


def test_eight_processes_write_one_run_of_a_new_store_and_nothing_is_lost(uri: str, base: Path):
    """F01 and F02."""
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        (run_id,) = set(pool.map(_log_a_hundred, [(uri, number) for number in range(8)]))
    assert [one.name for one in base.iterdir() if one.is_dir()] == ["demo"]
    writer = TomlWriter(Settings.load(uri))
    assert len(writer.params(run_id)) == 8 * 12
    for number in range(8):
        assert [point.step for point in writer.history(run_id, f"m{number}")] == list(range(12))
    assert len(writer.history(run_id, "shared")) == 8 * 12
    config = config_of(base / "demo" / run_id)
    assert config["p3"] == {str(step): step for step in range(12)}
    metrics = tomllib.loads((base / "demo" / run_id / "metrics.toml").read_text())
    assert metrics == {**{f"m{number}": 11.0 for number in range(8)}, "shared": 7.0}


# -- names and values

_KEY = st.text(st.sampled_from("ab._/ é\"'\n#=[]"), min_size=1, max_size=6) | st.sampled_from(("_meta.a", "a.b", "a"))
_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(("None", "True", "1", "-0", "1e-05", "nan", "inf", "1e400", "[1, 2]", "[]", "{}", '[{"a": 1}]',
                     "[null]", "9223372036854775808", "007", "1.0", "1.10", "[NaN]", '{"a": 1}')),
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.integers() | st.floats(allow_nan=False) | st.text(max_size=2)).map(json.dumps),
)  # fmt: skip


@given(st.dictionaries(_KEY, _TEXT, max_size=8), st.data())
def test_params_come_back_as_they_were_logged(params: dict[str, str], data: st.DataObject):
    config: dict[str, object] = {"_meta": {"name": "x"}}
    cut = data.draw(st.integers(0, len(params)))
    keys = list(params)
    put_params(config, {key: params[key] for key in keys[:cut]})
    config = parse(render(config), "")
    put_params(config, params)
    document = render(config)
    assert params_of(parse(document, "")) == params
    assert tomllib.loads(document.decode())["_meta"] == {"name": "x"}


def test_a_name_that_is_a_value_and_the_beginning_of_others_stays_both(writer: TomlWriter, base: Path):
    run_id = new_run(writer)
    writer.log_batch(run_id, params={"model.layers": "3", "model.cell.size": "8"})
    writer.log_batch(run_id, params={"model": "lstm", "model.name": "m"})
    own = {key: value for key, value in config_of(base / "demo" / run_id).items() if key != "_meta"}
    assert own == {"model": "lstm", "model.layers": 3, "model.cell.size": 8, "model.name": "m"}
    with pytest.raises(UsageError, match="can't be called '_meta'"):
        writer.log_batch(run_id, params={"_meta": "x"})


def test_odd_values_and_names_are_kept(uri: str):
    """F18, F19, F21: a long param, what is not finite, and names that no other store takes as they are."""
    odd = {"loss %": 1.0, "../up": 2.0, "nul\0": 3.0, "🚀": 4.0, "a.b": 5.0, "a": 6.0}
    with start_run("odd", tracking_uri=uri) as run:
        run.log_params({"long": "ä" * 7000})
        run.log_metrics(odd, 2**62)
        for step, value in enumerate([0.5, float("nan"), float("inf"), float("-inf")]):
            run.log_metric("unsteady", value, step)
    manager = ModelManager(uri)
    stored = manager.get_run(run.run_id)
    assert stored.params["long"].endswith("[whole text: artifact agentnn/params/long.txt]")
    assert b"".join(manager.read_artifact(run.run_id, "agentnn/params/long.txt")).decode() == "ä" * 7000
    assert sorted(value for key, value in stored.metrics.items() if key != "unsteady") == list(range(1, 7))
    points = manager.get_metric_history(run.run_id, "unsteady")
    assert [str(point.value) for point in points] == ["0.5", "nan", "inf", "-inf"]
    assert json.loads(stored.tags["agentnn.non_finite"]) == ["unsteady"]
    assert not StoreFolder.of(run.settings).run(run.uuid).dead_letters.exists()


# -- files

_NAME = st.text(st.sampled_from("%2E63.aconfig"), min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
_OURS = st.sampled_from(("config.toml", "metrics.toml", "history.jsonl", "origin.toml", ".lock", "%63onfig.toml"))


@given(st.sets(_NAME | _OURS, max_size=8))
def test_names_of_files_are_told_apart_and_come_back(names: set[str]):
    stored = {stored_name(name) for name in names}
    assert len(stored) == len(names)
    assert not stored & {"config.toml", "metrics.toml", "history.jsonl", "origin.toml"}
    assert not any(one.startswith(".") for one in stored)
    folder = {*stored, "config.toml", "metrics.toml", "history.jsonl", "origin.toml", ".lock"}
    assert artifact_names(folder, is_foreign=True).keys() == names
    assert artifact_names(folder, is_foreign=False).keys() == names | {"config.toml", "metrics.toml"}
    assert stored_name("sub/.hidden") == "sub/.hidden"


@pytest.mark.parametrize("target", ["../up", "/etc/x", "a/../../up", "link/x", "a\\b"])
def test_no_file_gets_out_of_the_run(target: str, writer: TomlWriter, base: Path, tmp_path: Path):
    """A07."""
    run_id = new_run(writer)
    (tmp_path / "outside").mkdir()
    (base / "demo" / run_id / "link").symlink_to(tmp_path / "outside")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UnsafeError):
        writer.put_file(run_id, file, target)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["checkpoints", "file", "outside"]
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_where_a_folder_is_is_refused_and_not_tried_for_ever(writer: TomlWriter, tmp_path: Path):
    run_id = new_run(writer)
    file = tmp_path / "file"
    file.write_text("x")
    writer.put_file(run_id, file, "a/b")
    for target in ("a", "a/b/c"):
        with pytest.raises(ConflictError):
            writer.put_file(run_id, file, target)


# -- upkeep


def test_a_trainer_that_was_killed_is_closed_by_run_doctor(writer: TomlWriter, uri: str, base: Path):
    """F04, where no journal is left that would tell the sender."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    here = this_process()
    process = ProcessIdentity(here.host, here.boot, dead.pid, "1").to_json()
    run_id = writer.create_run(
        writer.ensure_experiment("demo"), "one", 1_767_225_600_000, {UUID_TAG: "ab", "agentnn.process": process}
    )
    manager = ModelManager(uri)
    (finding,) = manager.diagnose().findings
    assert (finding.check, finding.run_id) == ("dead-process", run_id)
    (fixed,) = manager.diagnose(fix=True).findings
    assert fixed.fixed
    meta = config_of(base / "demo" / run_id)["_meta"]
    assert isinstance(meta, dict)
    assert meta["status"] == "FAILED"
    assert "ended without closing the run" in meta["tags"]["agentnn.end_reason"]
    assert manager.diagnose().findings == ()


TRAINER = """
import itertools, sys, time
from agentnn import start_run

run = start_run("killed", tracking_uri=sys.argv[1])
print(run.uuid, flush=True)
for step in itertools.count():
    run.log_metrics({"loss": 1 / (step + 1)}, step)
    if step % 50 == 0:
        run.log_param(f"p{step}", step)
    print(step, flush=True)
    time.sleep(0.002)
"""


def _lines_of_killed_trainer(uri: str, base: Path, *, sender_too: bool) -> Sequence[str]:
    """What a trainer had acknowledged when it was killed, some time after its run was seen in the store."""
    before = len(list(base.glob("*/*/history.jsonl")))
    with subprocess.Popen([sys.executable, "-c", TRAINER, uri], stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        lines = [trainer.stdout.readline().strip()]
        while len(lines) < 100 or len(list(base.glob("*/*/history.jsonl"))) == before:
            lines.append(trainer.stdout.readline().strip())
        if sender_too:
            pid = json.loads(StoreFolder.of(Settings.load(uri)).status.read_text())["pid"]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        trainer.kill()
        return [*lines, *trainer.stdout.read().split()]


def test_trainers_and_senders_are_killed_and_every_acknowledged_point_is_there_once(uri: str, base: Path):
    """F09."""
    acknowledged = [_lines_of_killed_trainer(uri, base, sender_too=number % 2 == 0) for number in range(4)]
    manager = ModelManager(uri)
    manager.sync_runs()
    for uuid, *steps in acknowledged:
        (run,) = manager.list_runs(filter=f"tags.agentnn.run_uuid = '{uuid}'")
        assert run.status == "FAILED"
        found = [point.step for point in TomlWriter(Settings.load(uri)).history(run.run_id, "loss")]
        assert found in (list(range(len(steps))), list(range(len(steps) + 1)))
        assert run.metrics["loss"] == 1 / len(found)
        assert {f"p{step}": str(step) for step in range(0, len(steps), 50)}.items() <= run.params.items()
