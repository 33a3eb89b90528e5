"""F15: somebody else's SQLite database. MLflow would make sixty tables in it; nothing is changed here."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli.support import READS, error_and_hint, execute, fingerprint, in_process

from agentnn import ModelManager
from agentnn.errors import NotAStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOREIGN = {
    "contacts": ["CREATE TABLE contacts (name TEXT, phone TEXT)", "INSERT INTO contacts VALUES ('Ada', '1815')"],
    "no tables": ["CREATE TABLE gone (x)", "DROP TABLE gone"],
    "optuna": [
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('v3.2.0.a')",
        "CREATE TABLE studies (study_id INTEGER, study_name TEXT)",
    ],
    "a table called runs": [
        "CREATE TABLE runs (kilometres REAL, day TEXT)",
        "INSERT INTO runs VALUES (10.5, 'Monday')",
    ],
    "tables called runs and experiments": [
        "CREATE TABLE runs (kilometres REAL, name TEXT)",
        "CREATE TABLE experiments (name TEXT, reagent TEXT)",
    ],
}


@pytest.fixture(params=FOREIGN)
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    execute(path, *FOREIGN[request.param])
    return path


@pytest.mark.parametrize("command", [READS[0], READS[2], READS[4], READS[8]], ids=" ".join)
def test_a_read_of_a_foreign_database_is_2_and_leaves_it_alone(command: Sequence[str], foreign: Path):
    before = fingerprint(foreign.parent)
    ran = in_process(*command, cwd=foreign.parent)
    assert (ran.returncode, ran.stdout) == (2, "")
    error, _ = error_and_hint("\n".join(line for line in ran.stderr.splitlines() if not line.startswith("note: ")))
    assert "mlflow.db" in error
    assert fingerprint(foreign.parent) == before


def test_recording_a_run_in_a_foreign_database_is_refused(foreign: Path):
    before = fingerprint(foreign.parent)
    with pytest.raises(NotAStoreError):
        ModelManager(f"sqlite:///{foreign}").track_run("new", metrics={"m": 1.0})
    assert fingerprint(foreign.parent) == before


def test_a_file_of_0_bytes_is_2_and_stays_empty(tmp_path: Path):
    (tmp_path / "mlflow.db").touch()
    ran = in_process("run", "list", cwd=tmp_path)
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "is empty" in error
    assert "quickstart" in hint
    assert [(one.name, one.stat().st_size) for one in tmp_path.iterdir()] == [("mlflow.db", 0)]


def test_a_store_with_tables_of_others_beside_its_own_is_a_store(filled: Path):
    execute(filled, "CREATE TABLE contacts (name TEXT)", "CREATE TABLE trials (trial_id INTEGER)")
    assert in_process("run", "list", cwd=filled.parent).returncode == 0


def test_views_and_triggers_of_a_foreign_database_are_not_run(tmp_path: Path):
    path = tmp_path / "mlflow.db"
    execute(path, "CREATE TABLE hits (n)", "INSERT INTO hits VALUES (0)", "CREATE VIEW runs AS SELECT n FROM hits")
    assert in_process("run", "list", cwd=tmp_path).returncode == 2
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT n FROM hits").fetchall() == [(0,)]
