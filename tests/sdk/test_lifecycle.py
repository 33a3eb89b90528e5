"""Deleting, restoring and tagging on every store; what may go wrong on SQLite; and what MLflow's client does there."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import ADA, BOB, CYD, DEE, EVE, Rows, environment, fill, fingerprint
from mlflow import MlflowClient
from mlflow.entities import ViewType

from agentnn import ModelManager
from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable, UsageError
from agentnn.settings import Settings
from agentnn.stores.run_changes import open_run_changes
from agentnn.stores.sql.run_changes import SqlRunChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNPRIVILEGED = 65534
PARENT = "mlflow.parentRunId"


@pytest.fixture
def filled(database: Path, uri: str) -> str:
    fill(database)
    return uri


@pytest.fixture
def manager(filled: str) -> Iterator[ModelManager]:
    with ModelManager(filled) as opened:
        yield opened


def active(client: MlflowClient, experiment_id: str) -> set[str]:
    return {run.info.run_id for run in client.search_runs([experiment_id], run_view_type=ViewType.ACTIVE_ONLY)}


def tables(path: Path) -> dict[str, Any]:
    """What MLflow keeps of runs, whatever the time of a deletion."""
    runs = "run_uuid, name, status, start_time, end_time, lifecycle_stage, deleted_time IS NULL"
    with closing(sqlite3.connect(path)) as connection:
        return {
            "runs": sorted(connection.execute(f"SELECT {runs} FROM runs")),
            "tags": sorted(connection.execute("SELECT run_uuid, key, value FROM tags")),
        }


# -- every store -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "server", "mlruns"])
def test_runs_go_and_come_back_on_every_store(kind: str, make_store: Callable[[str], str]):
    uri = make_store(kind)
    client = MlflowClient(uri)
    experiment = client.create_experiment("alpha")
    top = client.create_run(experiment, run_name="top").info.run_id
    child = client.create_run(experiment, run_name="child", tags={PARENT: top}).info.run_id
    grandchild = client.create_run(experiment, run_name="grandchild", tags={PARENT: child}).info.run_id
    others = [client.create_run(experiment, run_name="m", tags={"old": "1"}).info.run_id for _ in range(21)]
    running = client.create_run(experiment, run_name="m").info.run_id
    for run_id in (top, child, grandchild, *others):
        client.set_terminated(run_id)
    everything = {top, child, grandchild, running, *others}

    with ModelManager(uri) as manager:
        plan = manager.delete_runs("top", dry_run=True)
        assert [run.run_id for run in plan.runs] == [top, child, grandchild]
        assert active(client, experiment) == everything
        assert manager.delete_runs("top").deleted
        assert active(client, experiment) == {running, *others}
        assert [run.run_id for run in manager.delete_runs(top).already_deleted] == [top]

        tagged = manager.tag_runs(filter="name = 'm'", tags={"new": "é", "mlflow.runName": "n"}, remove=["old"])
        assert {run.run_id for run in tagged} == {running, *others}
        found = client.get_run(others[0])
        assert (found.info.run_name, found.data.tags["new"], "old" in found.data.tags) == ("n", "é", False)
        with pytest.raises(ConflictError, match="deleted"):
            manager.tag_runs([running, top], {"new": "2"})
        assert client.get_run(running).data.tags["new"] == "é"

        many = manager.delete_runs(filter="name = 'n'")
        assert {run.run_id for run in many.runs} == set(others)
        assert [run.run_id for run in many.left_out] == [running]
        assert active(client, experiment) == {running}
        undo = many.undo[many.undo.index("--filter") + 1]
        back = manager.restore_runs(filter=undo)
        assert {run.run_id for run in back.runs} == set(others)
        assert "agentnn.deletion" not in client.get_run(others[0]).data.tags
        assert active(client, experiment) == {running, *others}

        orphan = manager.restore_runs(child)
        assert [run.run_id for run in orphan.deleted_parents] == [top]
        assert [run.run_id for run in orphan.children_left] == [grandchild]
        assert manager.restore_runs("top").restored
        assert manager.restore_runs(grandchild).restored
        assert active(client, experiment) == everything


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "server", "mlruns"])
def test_experiments_go_and_come_back_on_every_store(kind: str, make_store: Callable[[str], str]):
    uri = make_store(kind)
    client = MlflowClient(uri)
    with ModelManager(uri) as manager:
        made = manager.create_experiment("alpha", tags={"team": "quant"})
        assert client.get_experiment(made.experiment_id).name == "alpha"
        run_id = client.create_run(made.experiment_id).info.run_id
        with pytest.raises(ConflictError, match="already"):
            manager.create_experiment("alpha")
        assert manager.rename_experiment("alpha", "beta").name == "beta"
        assert dict(manager.tag_experiment("beta", {"owner": "ada"}, remove=["team", "never"]).tags) == {"owner": "ada"}

        (plan,) = manager.delete_experiments(["beta", made.experiment_id], dry_run=True)
        assert (plan.runs, plan.done) == (1, False)
        assert manager.delete_experiments("beta")[0].done
        assert client.get_experiment(made.experiment_id).lifecycle_stage == "deleted"
        with pytest.raises(ConflictError, match="deleted but still holds"):
            manager.create_experiment("beta")
        with pytest.raises(ConflictError) as refused:
            manager.restore_runs(run_id)
        assert refused.value.hint == "restore it: agentnn experiment restore beta"
        back = manager.restore_experiment("beta")
        assert (back.runs, back.experiment.lifecycle_stage) == (1, "active")
        assert active(client, made.experiment_id) == {run_id}


def test_a_name_that_another_holds_by_now_stands_in_the_way_of_restoring(make_store: Callable[[str], str]):
    uri = make_store("mlruns")  # where nothing but MLflow's manners keeps names apart
    with ModelManager(uri) as manager:
        first, second = manager.create_experiment("alpha"), manager.create_experiment("beta")
        manager.delete_experiments("alpha")
        described = Path(uri.removeprefix("file://"), second.experiment_id, "meta.yaml")
        described.write_text(described.read_text().replace("name: beta", "name: alpha"))
        with pytest.raises(ConflictError, match="another experiment is named 'alpha'"):
            manager.restore_experiment(first.experiment_id)
        described.write_text(described.read_text().replace("name: alpha", "name: beta"))
        assert manager.restore_experiment("alpha").done


@pytest.mark.parametrize("kind", ["server", "mlruns"])
def test_a_failure_in_the_middle_says_what_was_done(kind: str, make_store: Callable[[str], str]):
    uri = make_store(kind)
    client = MlflowClient(uri)
    ids = [client.create_run("0").info.run_id for _ in range(3)]
    with ModelManager(uri) as manager:
        runs = manager.list_runs(filter=f"run_id = '{ids[0]}'") + manager.list_runs(filter=f"run_id != '{ids[0]}'")
        lost = replace(runs[0], run_id="f" * 32)
        with pytest.raises(NotFoundError) as failed:
            open_run_changes(manager.settings).delete([runs[0], lost, *runs[1:]])
        done = 4 - len(failed.value.message.partition(" runs were deleted, not ")[2].split(", "))
        assert f"{done} of 4 runs were deleted, not {'f' * 32}" in failed.value.message
        assert 1 <= done <= 3
        assert len(active(client, "0")) == 3 - done
        manager.delete_runs(ids)
        assert active(client, "0") == set()


def test_a_server_that_is_gone_is_said():
    manager = ModelManager("http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable):
        manager.delete_runs(filter="metrics.loss > 1")


# -- as MLflow does it -------------------------------------------------------------------------------------


def test_the_tables_hold_what_mlflows_client_would_have_written(database: Path, manager: ModelManager, tmp_path: Path):
    twin = tmp_path / "twin.db"
    shutil.copyfile(database, twin)
    client = MlflowClient(f"sqlite:///{twin}")

    manager.delete_runs([ADA, BOB], keep_children=True)
    manager.restore_runs([BOB, EVE])
    manager.tag_runs([CYD, BOB], {"a": "1", "note": "narrow", "mlflow.runName": "renamed"}, remove=["none"])
    manager.tag_runs([BOB], remove=["note", "mlflow.runName"])
    manager.set_note(CYD, "a note")

    for run_id in (ADA, BOB):
        client.delete_run(run_id)
    for run_id in (BOB, EVE):
        client.restore_run(run_id)
    for run_id in (CYD, BOB):
        for key, value in {"a": "1", "note": "narrow", "mlflow.runName": "renamed"}.items():
            client.set_tag(run_id, key, value)
    client.delete_tag(BOB, "note")
    client.delete_tag(BOB, "mlflow.runName")
    client.set_tag(CYD, "mlflow.note.content", "a note")
    assert tables(database) == tables(twin)


def test_judgements_of_a_run_go_as_mlflow_lets_them_go(database: Path, manager: ModelManager):
    with Rows(database) as rows:
        for number, run_id in enumerate((ADA, BOB)):
            rows.insert(
                "assessments", assessment_id=f"a-{number}", trace_id="t", name="q", assessment_type="feedback",
                value="1", created_timestamp=1, last_updated_timestamp=1, source_type="HUMAN", valid=1,
                assessment_metadata=f'{{"mlflow.assessment.sourceRunId": "{run_id}"}}',
            )  # fmt: skip
    assert manager.delete_runs([BOB, DEE]).deleted
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT assessment_id FROM assessments").fetchall() == [("a-0",)]
    assert active(MlflowClient(f"sqlite:///{database}"), "1") == {ADA, CYD}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_either_kind_of_journal_is_written_and_nothing_is_left_beside(mode: str, database: Path, manager: ModelManager):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    assert len(manager.list_runs()) == 4  # the reader is open meanwhile
    manager.delete_runs(BOB)
    manager.tag_runs(ADA, {"a": "1"})
    assert {run.run_id for run in manager.list_runs()} == {ADA, CYD, DEE}
    assert manager.get_run(ADA).tags["a"] == "1"
    manager.close()
    assert [path.name for path in database.parent.iterdir() if path.name != database.name] == []


# -- what may go wrong -------------------------------------------------------------------------------------


def test_a_lock_held_too_long_changes_nothing(database: Path, manager: ModelManager):
    runs = manager.list_runs()
    changes = SqlRunChanges(manager.settings, lock_timeout_s=0.1)
    before = tables(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        for change in (changes.delete, changes.restore, lambda found: changes.tag(found, {"a": "1"})):
            with pytest.raises(StoreUnavailable, match="locked"):
                change(runs)
    assert tables(database) == before


def test_a_run_that_changed_meanwhile_undoes_the_whole(database: Path, manager: ModelManager, filled: str):
    runs = manager.list_runs()
    changes = SqlRunChanges(manager.settings)
    client = MlflowClient(filled)
    client.delete_run(BOB)
    before = tables(database)
    with pytest.raises(ConflictError) as refused:
        changes.tag(runs, {"a": "1"})
    assert refused.value.hint == f"agentnn run restore {BOB}"
    client.delete_experiment("1")
    client.restore_run(ADA)
    with pytest.raises(ConflictError, match="'alpha' is deleted"):
        changes.restore(runs)
    with pytest.raises(NotFoundError, match="not in the store any more"):
        changes.delete([*runs, replace(runs[0], run_id="f" * 32)])
    client.restore_experiment("1")
    client.delete_run(BOB)
    assert tables(database) == before


def test_a_deletion_keeps_the_time_of_an_earlier_one(database: Path, manager: ModelManager):
    runs = manager.list_runs()
    changes = SqlRunChanges(manager.settings)
    with Rows(database) as rows:
        rows.execute(f"UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = 7 WHERE run_uuid = '{BOB}'")
    changes.delete(runs, "mark")
    with closing(sqlite3.connect(database)) as connection:
        times = dict(connection.execute("SELECT run_uuid, deleted_time FROM runs").fetchall())
        marked = {row[0] for row in connection.execute("SELECT run_uuid FROM tags WHERE key = 'agentnn.deletion'")}
    assert times[BOB] == 7
    assert times[ADA] > 1_700_000_000_000
    assert marked == {ADA, CYD, DEE}


def test_a_run_of_another_workspace_is_not_there(database: Path, manager: ModelManager, filled: str):
    bob = manager.get_run(BOB)
    with Rows(database) as rows:
        rows.execute("UPDATE experiments SET workspace = 'team' WHERE experiment_id = 1")
    before = tables(database)
    changes = SqlRunChanges(manager.settings)
    for change in (changes.delete, changes.restore, lambda found: changes.tag(found, {"a": "1"})):
        with pytest.raises(NotFoundError):
            change([bob])
    with pytest.raises(NotFoundError):
        manager.delete_runs(BOB)
    assert tables(database) == before
    SqlRunChanges(Settings(filled, workspace="team")).delete([bob])
    assert tables(database) != before


def test_a_schema_that_is_not_known_is_left_to_mlflow(database: Path, manager: ModelManager):
    with Rows(database) as rows:
        rows.execute("ALTER TABLE runs DROP COLUMN deleted_time")
    before = fingerprint(database.parent)
    with pytest.raises(UsageError, match="deleted_time"):
        manager.delete_runs(BOB)
    assert fingerprint(database.parent) == before


@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
def test_a_read_only_file_is_left_alone(folder_mode: int, template_database: Path):
    """Root may write everything: another user tries it, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="agentnn-shared-", dir="/tmp"))
    try:
        path = folder / "mlflow.db"
        shutil.copyfile(template_database, path)
        fill(path)
        path.chmod(0o444)
        folder.chmod(folder_mode)
        code = (
            "import difflib, hashlib, importlib, io, json, os, sys, tempfile\n"
            "for one in ('cli.app', 'cli.lifecycle_views', 'stores.sql.store', 'stores.sql.registry',\n"
            "            'query.filters', 'stores.sql.run_changes', 'stores.destination', 'sdk.run_lifecycle'):\n"
            "    importlib.import_module(f'agentnn.{one}')\n"
            "sys.modules['agentnn.cli.app'].commands_for()\n"
            "if os.getuid() == 0:\n"
            f"    os.setgroups([]); os.setgid({UNPRIVILEGED}); os.setuid({UNPRIVILEGED})\n"
            "from agentnn.cli.app import run_command\n"
            "sys.exit(run_command(['run', 'delete', 'bob', '--yes']))\n"
        )
        before = fingerprint(folder)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
        assert "can't be written to" in done.stderr
        assert fingerprint(folder) == before
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_run_with_a_cycle_above_it_ends(database: Path, manager: ModelManager):
    with Rows(database) as rows:
        rows.insert("tags", run_uuid=ADA, key=PARENT, value=CYD)
        rows.insert("tags", run_uuid=BOB, key=PARENT, value="f" * 32)
    plan = manager.delete_runs([BOB, CYD], dry_run=True)
    assert [run.run_id for run in plan.runs] == [BOB, CYD, ADA]
    with pytest.raises(ConflictError):
        manager.tag_runs(BOB, {PARENT: BOB})
    assert manager.tag_runs(BOB, {PARENT: DEE})[0].parent_run_id == DEE


# -- what is asked -----------------------------------------------------------------------------------------


def test_an_age_may_be_a_timedelta_and_values_become_text(manager: ModelManager):
    assert manager.delete_runs(older_than=timedelta(days=36_500), dry_run=True).runs == ()
    assert len(manager.delete_runs(older_than=timedelta(hours=1), status="RUNNING", dry_run=True).runs) == 1
    assert manager.tag_runs([ADA], {"seed": 7})[0].tags["seed"] == "7"


@pytest.mark.parametrize("value", ["nul \0", "half \ud800"])
def test_text_that_no_store_keeps_is_refused(value: str, manager: ModelManager, database: Path):
    before = tables(database)
    with pytest.raises(UsageError):
        manager.tag_runs(ADA, {"a": value})
    with pytest.raises(UsageError):
        manager.set_note(ADA, value)
    with pytest.raises(UsageError):
        manager.create_experiment(value)
    assert tables(database) == before


def test_a_note_is_read_back(manager: ModelManager):
    assert manager.get_note("ada") == ""
    assert manager.set_note("ada", "wide").run_id == ADA
    assert manager.get_note(ADA) == "wide"
    manager.set_note(ADA, "")
    assert manager.get_note(ADA) == ""
