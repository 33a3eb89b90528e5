"""F16: a schema newer or older than known. Reads that still fit work; nothing is ever migrated by us."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
from contextlib import closing, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import (
    ADA,
    BOB,
    CYD,
    READS,
    Rows,
    agentnn,
    artifacts_of_ada,
    error_and_hint,
    execute,
    fill,
    fingerprint,
)

from agentnn import ModelManager
from agentnn.cli.app import run_command
from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OLDEST = "97727af70f4d"
"""The last migration before MLflow 2.0 (2022-08)."""


def _script_and_config(uri: str) -> tuple[Any, Any]:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    config = _get_alembic_config(uri)
    return ScriptDirectory.from_config(config), config


def _revisions() -> list[str]:
    """Every revision from MLflow 2.0 to the installed one, the oldest first."""
    script, _ = _script_and_config("sqlite://")
    newest_first = [one.revision for one in script.walk_revisions()]
    return newest_first[newest_first.index(OLDEST) :: -1]


REVISIONS = _revisions()


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same filled store at every revision, each made by MLflow's own migrations."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.tracking.dbmodels.initial_models import Base

    folder = tmp_path_factory.mktemp("schemas")
    growing = folder / "growing.db"
    uri = f"sqlite:///{growing}"
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    engine.dispose()
    _, config = _script_and_config(uri)
    for revision in REVISIONS:
        command.upgrade(config, revision)
        if revision == OLDEST:
            fill(growing)
        shutil.copyfile(growing, folder / f"{revision}.db")
    return folder


def ask(path: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command in process; its exit code and what it wrote to both streams."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(["--tracking-uri", f"sqlite:///{path}", *arguments])
    return code, out.getvalue(), err.getvalue()


def answer(path: Path, *arguments: str) -> Any:
    """A command's answer as JSON; it must succeed, and say nothing of another way to read the file."""
    code, out, err = ask(path, *arguments, "-o", "json")
    assert code == 0, err
    assert "MLflow's own client" not in err
    return json.loads(out)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tables_of(path: Path) -> list[tuple[Any, ...]]:
    """How a database is built: its tables, indexes and revision."""
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return [*schema, *connection.execute("SELECT version_num FROM alembic_version")]


def test_there_are_revisions_to_look_at():
    assert REVISIONS[0] == OLDEST
    assert len(REVISIONS) > 20


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_read_works_at_every_schema_from_mlflow_2_on(revision: str, schemas: Path):
    path = schemas / f"{revision}.db"
    before = digest(path)
    assert [one["name"] for one in answer(path, "experiment", "list")] == ["alpha", "Default"]
    shown = answer(path, "experiment", "show", "alpha")
    assert (shown["tags"], shown["runs"]) == ({"team": "quant"}, 3)
    runs = answer(path, "run", "list", "-e", "alpha", "--sort", "metrics.loss")
    assert [one["run_id"] for one in runs] == [BOB, ADA, CYD]
    assert runs[1]["params"] == {"lr": "0.001", "layers": "2", "optimizer": "adam"}
    assert runs[2]["non_finite"] == ["loss", "sharpe"]
    best = answer(path, "run", "best", "-m", "sharpe")
    assert (best["run_id"], best["best"]["value"], best["best"]["excluded"]["nan"]) == (ADA, 1.25, 1)
    assert answer(path, "run", "show", "bob")["tags"]["note"] == "wide"
    assert [point["value"] for point in answer(path, "run", "history", "ada", "-m", "loss")] == [0.9, 0.5, 0.25]
    [model] = answer(path, "model", "list")
    assert (model["name"], model["latest_version"], model["stages"]) == ("net", 2, {"Production": 1})
    assert [one["version"] for one in answer(path, "model", "versions", "net")] == [2, 1]
    assert answer(path, "run", "show", "models:/net/Production")["run_id"] == BOB
    assert digest(path) == before


@pytest.mark.parametrize("command", READS, ids=" ".join)
@pytest.mark.parametrize("revision", [REVISIONS[0], REVISIONS[len(REVISIONS) // 2]])
def test_every_command_works_on_an_old_schema(command: Sequence[str], revision: str, schemas: Path, tmp_path: Path):
    path = tmp_path / "old.db"
    shutil.copyfile(schemas / f"{revision}.db", path)
    artifacts_of_ada(path, tmp_path / "artifacts").mkdir(parents=True)
    if "net@champion" in command:
        command = [one.replace("@champion", "/2") for one in command]
    code, out, err = ask(path, *command)
    assert (code, out != "") == (0, True), err


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_filter_on_data_sets_finds_none_where_there_are_none(revision: str, schemas: Path):
    path = schemas / f"{revision}.db"
    assert answer(path, "run", "list", "-f", "datasets.name = 'prices'") == []
    assert len(answer(path, "run", "list", "-f", "datasets.name IS NULL", "-e", "alpha")) == 3


@pytest.mark.parametrize("revision", [one for one in REVISIONS if one != REVISIONS[-1]][::6])
def test_recording_a_run_at_an_older_schema_works_and_never_migrates_it(revision: str, schemas: Path, tmp_path: Path):
    path = tmp_path / "mlflow.db"
    shutil.copyfile(schemas / f"{revision}.db", path)
    before = tables_of(path)
    manager = ModelManager(f"sqlite:///{path}")
    run_id = manager.track_run("new", {"lr": 0.1}, {"sharpe": 2.0}, experiment="alpha")
    assert manager.get_best_run("sharpe").run_id == run_id
    assert tables_of(path) == before


def test_recording_a_run_works_at_the_newest_schema(schemas: Path, tmp_path: Path):
    path = tmp_path / "mlflow.db"
    shutil.copyfile(schemas / f"{REVISIONS[-1]}.db", path)
    manager = ModelManager(f"sqlite:///{path}")
    run_id = manager.track_run("new", metrics={"sharpe": 2.0}, experiment="alpha")
    assert manager.get_best_run("sharpe").run_id == run_id


@pytest.fixture
def future(schemas: Path, tmp_path: Path) -> Path:
    """A store of an MLflow that does not exist yet: columns and tables that nobody here knows, an unknown revision."""
    path = tmp_path / "mlflow.db"
    shutil.copyfile(schemas / f"{REVISIONS[-1]}.db", path)
    execute(path, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    for table in ("runs", "experiments", "latest_metrics", "metrics", "params", "tags", "registered_models"):
        execute(path, f"ALTER TABLE {table} ADD COLUMN quantum_state TEXT DEFAULT 'up'")
    execute(
        path, "CREATE TABLE dreams (run_uuid TEXT, dream TEXT)", "DROP INDEX IF EXISTS index_latest_metrics_run_uuid"
    )
    return path


@pytest.mark.parametrize("command", [one for one in READS if "artifacts" not in one], ids=" ".join)
def test_a_future_schema_reads_as_long_as_the_columns_stand(command: Sequence[str], future: Path, schemas: Path):
    before = fingerprint(future.parent)
    if "net@champion" in command:
        command = [one.replace("@champion", "/2") for one in command]
    known = ask(schemas / f"{REVISIONS[-1]}.db", *command)
    assert known[0] == 0
    assert ask(future, *command) == known
    assert fingerprint(future.parent) == before


def test_a_run_is_not_recorded_in_a_future_schema_and_the_hint_is_to_upgrade_mlflow(future: Path):
    before = fingerprint(future.parent)
    with pytest.raises(UsageError, match="has schema ffffffffffff") as caught:
        ModelManager(f"sqlite:///{future}").track_run("new")
    assert "mlflow db upgrade" not in caught.value.hint  # it can't: the database is ahead of the installed MLflow
    assert "pip install" in caught.value.hint
    assert fingerprint(future.parent) == before


REQUIRED = [
    ("runs", "status", ("run", "list")),
    ("runs", "start_time", ("run", "best", "-m", "sharpe")),
    ("runs", "lifecycle_stage", ("run", "list")),
    ("latest_metrics", "is_nan", ("run", "best", "-m", "sharpe")),
    ("metrics", "step", ("run", "history", ADA, "-m", "loss")),
    ("params", "value", ("run", "show", ADA)),
    ("tags", "key", ("run", "list")),
    ("experiments", "name", ("experiment", "list")),
    ("experiment_tags", "value", ("experiment", "list")),
    ("registered_models", "description", ("model", "list")),
    ("model_versions", "current_stage", ("model", "versions", "net")),
    ("model_version_tags", "value", ("model", "versions", "net")),
    ("registered_model_aliases", "alias", ("model", "list")),
    ("registered_model_tags", "value", ("model", "list")),
]


@pytest.mark.parametrize(("table", "column", "command"), REQUIRED, ids=[f"{one[0]}.{one[1]}" for one in REQUIRED])
@pytest.mark.parametrize("age", ["known", "future"])
def test_a_column_that_is_needed_and_gone_is_said_to_be(
    table: str, column: str, command: Sequence[str], age: str, schemas: Path, tmp_path: Path
):
    path = tmp_path / "mlflow.db"
    shutil.copyfile(schemas / f"{REVISIONS[-1]}.db", path)
    with Rows(path) as rows:
        rows.execute("PRAGMA legacy_alter_table = ON")
        rows.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "{column}_v2"')
        if age == "future":
            rows.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = fingerprint(tmp_path)
    code, out, err = ask(path, *command)
    assert fingerprint(tmp_path) == before
    # A database that bears the installed MLflow's revision and lacks its column was tampered with: that is damage.
    assert code in ((2,) if age == "future" else (2, 5)), err
    assert out == ""
    notes = [line for line in err.splitlines() if not line.startswith("note: ")]
    error_and_hint("\n".join(notes))
    assert column in err


@pytest.mark.parametrize("table", ["params", "tags", "latest_metrics", "model_versions", "registered_model_tags"])
@pytest.mark.parametrize("age", ["known", "future"])
def test_a_table_that_is_needed_and_gone_is_not_made_anew(table: str, age: str, schemas: Path, tmp_path: Path):
    path = tmp_path / "mlflow.db"
    shutil.copyfile(schemas / f"{REVISIONS[-1]}.db", path)
    execute(path, f'ALTER TABLE "{table}" RENAME TO "{table}_v2"')
    if age == "future":
        execute(path, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = fingerprint(tmp_path)
    command = ("model", "list") if "model" in table else ("run", "list")
    code, out, err = ask(path, *command)
    assert fingerprint(tmp_path) == before
    assert code in ((2,) if age == "future" else (2, 5)), err
    assert out == ""
    assert table in err


def test_an_unknown_schema_is_two_lines_for_a_user_too(future: Path):
    execute(future, "ALTER TABLE runs RENAME COLUMN status TO state")
    ran = agentnn("run", "list", cwd=future.parent)
    assert (ran.returncode, ran.stdout) == (2, "")
    said = [line for line in ran.stderr.splitlines() if not line.startswith("note: ")]
    error_and_hint("\n".join(said))
    assert "runs.status" in ran.stderr
