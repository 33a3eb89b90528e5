"""What ``diagnose`` finds in a store, what it repairs, and what it leaves alone."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import NEW_YEAR, Rows, execute, fingerprint
from faults.trainers import store_folder
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from waiting_runs import WaitingRun, dead_process, living_process

from agentnn import ModelManager
from agentnn.errors import AgentNNWarning, NotFoundError, StoreUnavailable
from agentnn.tracking.journal.process_identity import ProcessIdentity
from agentnn.tracking.journal.state import read_json
from agentnn.tracking.sending.sender_control import is_sender_running
from agentnn.tracking.upkeep.store_checks import nested_in_themselves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentnn.tracking.upkeep.findings import Diagnosis

RUNNING: dict[str, Any] = {"status": "RUNNING", "end_time": None}
MISSING = "f" * 32


def elsewhere(silent_s: float) -> dict[str, str]:
    """The tags of a run of another machine whose process has said that it lives a while ago."""
    process = ProcessIdentity.from_json(living_process())
    assert process is not None
    heartbeat = str(int((time.time() - silent_s) * 1000))
    return {"agentnn.process": replace(process, host="gpu-2").to_json(), "agentnn.heartbeat": heartbeat}


def of(process: str) -> dict[str, str]:
    """The tags of a run that a process has started."""
    return {"agentnn.process": process, "agentnn.run_uuid": "01a1"}


class Store:
    """Rows in a store, and what a look at it finds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = f"sqlite:///{path}"
        self.client = MlflowClient(self.uri)
        self._numbers = itertools.count(1)

    def run(self, name: str, tags: Mapping[str, str] | None = None, **more: Any) -> str:
        """The id of a new run."""
        run_id = f"{next(self._numbers):032x}"
        with Rows(self.path) as rows:
            rows.run(run_id, name, tags=tags, **more)
        return run_id

    def look(self, *runs: str, fix: bool = False) -> Diagnosis:
        """A diagnosis."""
        with ModelManager(self.uri) as manager:
            return manager.diagnose(fix=fix, runs=runs)

    def found(self, *runs: str, fix: bool = False) -> list[tuple[str, str | None, bool]]:
        """The checks that found something, the names of the runs, and whether it was repaired."""
        return sorted((one.check, one.run, one.fixed) for one in self.look(*runs, fix=fix).findings)

    def status(self, run_id: str) -> str:
        """A run's status, as MLflow's own client says."""
        return str(self.client.get_run(run_id).info.status)


@pytest.fixture
def store(database: Path) -> Store:
    """An empty store."""
    return Store(database)


def test_a_store_that_is_in_order_gives_no_findings(store: Store):
    store.run("finished", metrics={"loss": 1.0})
    store.run("failed", status="FAILED")
    store.run("training", of(living_process()), **RUNNING)
    assert store.look().findings == ()
    assert store.look().remaining == ()


def test_the_diagnosis_names_the_store_the_state_folder_and_the_versions(store: Store):
    import mlflow

    look = store.look()
    assert (look.store, look.store_source, look.mlflow) == (store.uri, "option", mlflow.__version__)
    assert look.state_folder == store_folder(store.uri).path
    assert execute_one(store.path, "SELECT version_num FROM alembic_version") == look.schema


def execute_one(path: Path, statement: str) -> Any:
    """The one value that a statement gives."""
    with Rows(path) as rows:
        return rows.execute(statement)[0][0]


def test_a_look_changes_nothing_and_makes_nothing(store: Store, state_dir: Path):
    dead = of(dead_process())
    parent = store.run("parent", dead, **RUNNING)
    store.run("child", {**dead, "mlflow.parentRunId": MISSING}, metrics={"loss": math.nan}, **RUNNING)
    before = fingerprint(store.path.parent)
    assert len(store.look().findings) == 4
    assert fingerprint(store.path.parent) == before
    assert not state_dir.exists()
    assert store.status(parent) == "RUNNING"


# -- runs whose process is dead -------------------------------------------------------------------------


def test_the_run_of_a_dead_process_is_closed_at_its_last_metric_and_its_children_with_it(store: Store):
    dead = of(dead_process())
    parent = store.run("parent", dead, **RUNNING)
    child = store.run("child", {**dead, "mlflow.parentRunId": parent}, **RUNNING)
    store.client.log_metric(child, "loss", 0.5, timestamp=NEW_YEAR + 70_000, step=1)
    store.client.log_metric(child, "loss", 0.7, timestamp=NEW_YEAR + 60_000, step=2)

    assert store.found(fix=True) == [("dead-process", "child", True), ("dead-process", "parent", True)]

    runs = {run.info.run_name: run for run in store.client.search_runs(["0"])}
    assert {run.info.status for run in runs.values()} == {"FAILED"}
    assert (runs["child"].info.end_time, runs["parent"].info.end_time) == (NEW_YEAR + 70_000, NEW_YEAR)
    assert "it was killed, or the machine stopped" in runs["child"].data.tags["agentnn.end_reason"]
    assert store.found(fix=True) == []


def test_a_process_with_the_number_of_a_dead_one_is_another_process(store: Store):
    identity = ProcessIdentity.from_json(living_process())
    assert identity is not None
    run = store.run("recycled", of(replace(identity, started="1").to_json()), **RUNNING)
    assert store.found(fix=True) == [("dead-process", "recycled", True)]
    assert store.status(run) == "FAILED"


def test_the_process_decides_on_its_own_machine_whatever_the_heartbeat_says(store: Store):
    store.run("slow", {**of(living_process()), "agentnn.heartbeat": str(NEW_YEAR)}, **RUNNING)
    store.run("killed", {**of(dead_process()), "agentnn.heartbeat": str(int(time.time() * 1000))}, **RUNNING)
    assert store.found() == [("dead-process", "killed", False)]


def test_a_run_from_before_the_machine_was_started_again_is_dead_once_it_is_silent(store: Store):
    """Two machines may bear one name: what still shows signs of life is another machine's."""
    identity = ProcessIdentity.from_json(living_process())
    assert identity is not None
    earlier = of(replace(identity, boot="00000000-0000-0000-0000-000000000000").to_json())
    lives = store.run("lives", {**earlier, "agentnn.heartbeat": str(int(time.time() * 1000))}, **RUNNING)
    store.run("died", earlier, **RUNNING)
    assert store.found(fix=True) == [("dead-process", "died", True)]
    assert store.status(lives) == "RUNNING"


def test_a_silent_run_of_another_machine_is_only_proposed_until_it_is_named(store: Store):
    silent = store.run("silent", elsewhere(181), **RUNNING)
    store.run("lives", elsewhere(100), **RUNNING)
    assert store.found(fix=True) == [("dead-process", "silent", False)]
    assert f"agentnn run doctor {silent} --fix" in store.look().findings[0].repair
    assert store.status(silent) == "RUNNING"
    assert store.found("silent", "lives", fix=True) == [("dead-process", "silent", True)]
    assert store.status(silent) == "FAILED"


def test_a_metric_is_a_sign_of_life_too(store: Store):
    run = store.run("silent", elsewhere(181), **RUNNING)
    store.client.log_metric(run, "loss", 1.0, timestamp=int(time.time() * 1000))
    assert store.found(run, fix=True) == []


def test_a_run_that_agentnn_did_not_start_is_closed_only_when_it_is_named(store: Store):
    foreign = store.run("foreign", **RUNNING)
    store.run("other", **RUNNING)
    store.run("young", **{**RUNNING, "start_time": int(time.time() * 1000)})
    (notice,) = store.look(fix=True).findings
    assert (notice.check, notice.severity, notice.fixed) == ("foreign-runs", "notice", False)
    assert "2 runs that agentnn did not start" in notice.problem
    assert store.look().remaining == ()
    assert store.found("foreign", "young", fix=True) == [("dead-process", "foreign", True)]
    assert [run.info.run_name for run in store.client.search_runs(["0"], "attributes.status = 'RUNNING'")] == [
        "young",
        "other",
    ]
    assert "no sign of life since 2026-01-01" in store.client.get_run(foreign).data.tags["agentnn.end_reason"]


def test_a_nested_run_that_agentnn_did_not_start_is_proposed_when_its_parent_died(store: Store):
    parent = store.run("parent", of(dead_process()), **RUNNING)
    child = store.run("child", {"mlflow.parentRunId": parent}, **RUNNING)
    expected = [("dead-process", "child", False), ("dead-process", "parent", True)]
    assert store.found(fix=True) == expected
    assert store.found(fix=True) == expected[:1]
    assert store.status(child) == "RUNNING"
    assert store.found("parent", fix=True) == [("dead-process", "child", True)]
    assert store.status(child) == "FAILED"


def test_a_run_that_ended_between_the_look_and_the_repair_is_left_as_it_is(store: Store):
    run = store.run("ends", of(dead_process()), **RUNNING)
    with ModelManager(store.uri) as manager:
        (finding,) = manager.diagnose().findings
        store.client.set_terminated(run, "FINISHED")
        assert finding.repaired().fixed
    assert store.status(run) == "FINISHED"
    assert "agentnn.end_reason" not in store.client.get_run(run).data.tags


# -- nested runs ----------------------------------------------------------------------------------------


def test_a_run_whose_parent_is_missing_is_taken_out_of_it(store: Store):
    run = store.run("orphan", {**of(living_process()), "mlflow.parentRunId": MISSING})
    assert store.found(fix=True) == [("orphan", "orphan", True)]
    tags = store.client.get_run(run).data.tags
    assert "mlflow.parentRunId" not in tags
    assert tags["agentnn.former_parent"] == MISSING
    assert store.found() == []


def test_runs_that_are_nested_in_themselves_are_taken_apart_and_what_hangs_on_them_stays(store: Store):
    ours = of(living_process())
    one, two, three = (f"{number:032x}" for number in (1, 2, 3))
    store.run("one", {**ours, "mlflow.parentRunId": two})
    store.run("two", {**ours, "mlflow.parentRunId": one})
    store.run("self", {**ours, "mlflow.parentRunId": three})
    under = store.run("under", {**ours, "mlflow.parentRunId": one})
    assert store.found(fix=True) == [("orphan", "one", True), ("orphan", "self", True), ("orphan", "two", True)]
    assert store.client.get_run(under).data.tags["mlflow.parentRunId"] == one
    assert store.found() == []


def test_a_nested_run_that_agentnn_did_not_start_is_taken_out_only_when_it_is_named(store: Store):
    run = store.run("foreign", {"mlflow.parentRunId": MISSING})
    assert store.found(fix=True) == [("orphan", "foreign", False)]
    assert store.client.get_run(run).data.tags["mlflow.parentRunId"] == MISSING
    assert store.found(run, fix=True) == [("orphan", "foreign", True)]


def test_the_child_of_a_deleted_run_is_reported_with_the_command(store: Store):
    parent = store.run("parent")
    child = store.run("child", {**of(living_process()), "mlflow.parentRunId": parent})
    store.run("deleted child", {"mlflow.parentRunId": MISSING}, lifecycle_stage="deleted")
    store.client.delete_run(parent)
    (finding,) = store.look(fix=True).findings
    assert (finding.check, finding.run_id, finding.is_fixable) == ("deleted-parent", child, False)
    assert f"agentnn run restore {parent}" in finding.repair


@given(st.dictionaries(st.integers(0, 12), st.integers(0, 12)))
def test_a_run_is_nested_in_itself_when_following_its_parents_comes_back_to_it(parents: dict[int, int]):
    def comes_back(start: int) -> bool:
        here = start
        for _ in parents:
            here = parents.get(here, -1)
            if here == start:
                return True
        return False

    texts = {str(child): str(parent) for child, parent in parents.items()}
    assert nested_in_themselves(texts) == {str(child) for child in parents if comes_back(child)}


# -- metrics, files, models -----------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [2, 60])
def test_metrics_that_are_not_finite_are_reported_a_line_a_run(store: Store, keys: int):
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.7976931348623157e308, "e": 0.0}
    run = store.run("odd")
    for key, value in values.items():
        store.client.log_metric(run, key, value)
    once = store.run("once", {"agentnn.non_finite": json.dumps(["loss"])}, metrics={"loss": 1.0})
    for number in range(keys):
        store.run(f"fine-{number}", metrics={f"m{number}": float(number)})
    deleted = store.run("deleted", metrics={"a": math.nan})
    store.client.delete_run(deleted)
    found = {one.run_id: one.problem for one in store.look(fix=True).findings}
    # MLflow keeps an infinity as the largest double, so that the two can't be told apart.
    assert found == {run: "NaN or infinite: a, b, c, d", once: "NaN or infinite: loss"}


def test_a_file_that_a_run_names_and_that_is_gone_is_reported(store: Store, tmp_path: Path):
    execute(store.path, f"UPDATE experiments SET artifact_location = '{tmp_path / 'artifacts'}'")
    run = store.client.create_run("0", run_name="tables").info.run_id
    store.client.log_table(run, {"a": [1]}, "kept.json")
    store.client.log_table(run, {"a": [1]}, "gone.json")
    store.client.create_run("0", run_name="without files")
    elsewhere = json.dumps([{"path": "far.json", "type": "table"}])
    store.run("far", {"mlflow.loggedArtifacts": elsewhere}, artifact_uri="s3://bucket/artifacts")
    odd = json.dumps([{"path": 5}, {"type": "table"}, "gone.json", None])
    store.run("of another program", {"mlflow.loggedArtifacts": odd}, artifact_uri=str(tmp_path))
    assert store.found() == [("foreign-runs", None, False)] or store.found() == []
    gone = next((tmp_path / "artifacts").rglob("gone.json"))
    gone.unlink()
    problems = {one.run: one.problem for one in store.look().findings if one.check == "artifacts"}
    assert problems == {"tables": f"not there: {gone}"}


def test_versions_without_a_run_or_without_files_are_reported(store: Store, tmp_path: Path):
    execute(store.path, f"UPDATE experiments SET artifact_location = '{tmp_path / 'artifacts'}'")
    client = store.client
    runs = {name: client.create_run("0", run_name=name).info.run_id for name in ("kept", "deleted", "erased")}
    for run_id in runs.values():
        client.set_terminated(run_id)
    model = client.create_logged_model("0", name="net", source_run_id=runs["kept"])
    folder = tmp_path / "model"
    folder.mkdir()
    client.create_registered_model("net")
    sources = [
        (str(folder), "kept"),
        (str(folder), "deleted"),
        (str(folder), "erased"),
        (str(tmp_path / "gone"), "kept"),
        (f"runs:/{runs['kept']}/model", "kept"),
        (f"models:/{model.model_id}", "kept"),
    ]
    with Rows(store.path) as rows:
        for number, (source, name) in enumerate(sources, start=1):
            rows.version("net", number, runs[name], source=source)
    client.delete_run(runs["deleted"])
    execute(store.path, f"DELETE FROM tags WHERE run_uuid = '{runs['erased']}'")
    execute(store.path, f"DELETE FROM runs WHERE run_uuid = '{runs['erased']}'")

    found = sorted((one.model, one.check) for one in store.look(fix=True).findings)
    assert found == [
        ("net/2", "deleted-run"),
        ("net/3", "deleted-run"),
        ("net/4", "artifacts"),
        ("net/5", "artifacts"),
        ("net/6", "artifacts"),
    ]
    shutil.copytree(folder, model.artifact_location)
    shutil.copytree(folder, client.get_run(runs["kept"]).info.artifact_uri + "/model")
    assert [one.model for one in store.look("kept").findings] == ["net/4"]


# -- the store itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "command"), [("acf3f17fdcc7", "mlflow db upgrade"), ("0123456789ab", "pip install --upgrade mlflow")]
)
def test_a_schema_that_mlflow_would_not_open_is_reported_with_the_command(store: Store, revision: str, command: str):
    run = store.run("dead", of(dead_process()), **RUNNING)
    execute(store.path, f"UPDATE alembic_version SET version_num = '{revision}'")
    schema, dead = store.look().findings
    assert (schema.check, dead.run_id) == ("schema", run)
    assert revision in schema.problem
    assert command in schema.repair
    fixed = {one.check: one.fixed for one in store.look(fix=True).findings}  # the tables of runs are as we know them
    assert fixed == {"schema": False, dead.check: True}
    assert execute_one(store.path, "SELECT version_num FROM alembic_version") == revision


def test_a_schema_that_nobody_can_read_is_the_one_finding(store: Store):
    execute(store.path, "UPDATE alembic_version SET version_num = '0123456789ab'")
    execute(store.path, "ALTER TABLE runs RENAME status TO s")
    with pytest.warns(AgentNNWarning, match="not known here"):
        look = store.look()
    assert [one.check for one in look.findings] == ["schema"]
    assert look.error is None


def test_a_store_that_can_not_be_read_is_a_finding_with_its_error(tmp_path: Path):
    look = Store.look(missing := _Elsewhere(f"sqlite:///{tmp_path}/none.db"))
    assert [one.check for one in look.findings] == ["store"]
    assert isinstance(look.error, StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        Store.look(missing, "anything")


class _Elsewhere(Store):
    """A store that is not there."""

    def __init__(self, uri: str) -> None:
        self.uri = uri


def test_a_name_that_no_run_has_is_an_error(store: Store):
    with pytest.raises(NotFoundError, match="nothing"):
        store.look("nothing")


@pytest.mark.parametrize("kind", ["sqlite", "mlruns"])  # the others are read as mlruns is, by MLflow's client
def test_it_finds_and_repairs_the_same_in_every_kind_of_store(kind: str, make_store: Callable[[str], str]):
    uri = make_store(kind)
    client = MlflowClient(uri)
    dead = of(dead_process())
    parent = client.create_run("0", start_time=NEW_YEAR, tags=dead, run_name="parent").info.run_id
    child = client.create_run("0", start_time=NEW_YEAR, tags={**dead, "mlflow.parentRunId": parent}, run_name="child")
    client.log_metric(child.info.run_id, "loss", math.nan, timestamp=NEW_YEAR + 5000)
    orphan = client.create_run("0", tags={**of(living_process()), "mlflow.parentRunId": MISSING}, run_name="orphan")
    lives = client.create_run("0", start_time=NEW_YEAR, tags=of(living_process()), run_name="lives").info.run_id

    with ModelManager(uri) as manager:
        found = [(one.check, one.run, one.fixed) for one in manager.diagnose(fix=True).findings]

    assert sorted(found) == [
        ("dead-process", "child", True),
        ("dead-process", "parent", True),
        ("non-finite", "child", False),
        ("orphan", "orphan", True),
    ]
    statuses = {run.info.run_name: run.info.status for run in client.search_runs(["0"])}
    assert statuses == {"parent": "FAILED", "child": "FAILED", "orphan": "RUNNING", "lives": "RUNNING"}
    assert client.get_run(child.info.run_id).info.end_time == NEW_YEAR + 5000
    assert client.get_run(orphan.info.run_id).data.tags["agentnn.former_parent"] == MISSING
    assert "agentnn.end_reason" not in client.get_run(lives).data.tags


# -- what waits on this machine -------------------------------------------------------------------------


def test_what_waits_is_found_and_delivered_by_the_repair(store: Store):
    dead = dead_process()
    ended = WaitingRun(store.uri, "ended", process=dead)
    ended.end()
    killed = WaitingRun(store.uri, "killed", process=dead)
    killed.append("params", {"values": {"lr": "0.1"}})
    killed.append("params", {"values": {"lr": "0.2"}})
    WaitingRun(store.uri, "training", process=living_process())

    found = {one.run: one for one in store.look().findings}
    assert {name: one.check for name, one in found.items()} == {
        "ended": "waiting",
        "killed": "dead-process",
        "training": "waiting",
    }
    assert all(one.is_fixable for one in found.values())
    assert found["ended"].problem == "2 records wait on this machine"
    assert store.found("killed") == [("dead-process", "killed", False)]

    assert store.found(fix=True) == [
        ("dead-process", "killed", True),
        ("refused", "killed", False),
        ("waiting", "ended", True),
        ("waiting", "training", True),
    ]
    statuses = {run.info.run_name: run.info.status for run in store.client.search_runs(["0"])}
    assert statuses == {"ended": "FINISHED", "killed": "FAILED", "training": "RUNNING"}
    (refused,) = store.look(fix=True).findings
    assert "params.lr" in refused.problem
    assert "--discard" in refused.repair


def test_a_trainer_that_was_killed_with_its_sender_is_closed_with_all_that_it_logged(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/fresh.db"  # the sender dies before it has made the store
    script = (
        "import os, sys\n"
        "from agentnn import start_run\n"
        f"parent = start_run('parent', tracking_uri={uri!r})\n"
        "child = start_run('child', nested=True)\n"
        "for step in range(200): child.log_metric('loss', 1 / (step + 1), step)\n"
        "print(os.getpid(), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert trainer.stdout
        assert int(trainer.stdout.readline()) == trainer.pid
    finally:
        trainer.kill()
        trainer.wait()
    kill_senders(uri)

    with ModelManager(uri) as manager:
        found = [(one.check, one.run, one.fixed) for one in manager.diagnose(fix=True).findings]
    client = MlflowClient(uri)
    assert sorted(found) == [("dead-process", "child", True), ("dead-process", "parent", True)]
    runs = {run.info.run_name: run for run in client.search_runs(["0"])}
    assert {run.info.status for run in runs.values()} == {"FAILED"}
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["parent"].info.run_id
    history = client.get_metric_history(runs["child"].info.run_id, "loss")
    assert [point.step for point in history] == list(range(200))
    assert runs["child"].info.end_time == history[-1].timestamp
    assert str(trainer.pid) in runs["parent"].data.tags["agentnn.end_reason"]


def kill_senders(uri: str) -> None:
    """Kill the sender of a store, and one that steps into its place."""
    store, deadline, free_since = store_folder(uri), time.monotonic() + 60, time.monotonic()
    while time.monotonic() < min(deadline, free_since + 0.5):
        pid = read_json(store.status).get("pid")
        if pid is None or is_sender_running(store):
            free_since = time.monotonic()
            with suppress(TypeError, ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
