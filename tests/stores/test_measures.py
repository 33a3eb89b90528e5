"""A store tells what it is and how large; what would make it faster is a command that does."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.support import NEW_YEAR, Rows
from mirrored_stores import SERVERS
from mlflow import MlflowClient

from agentnn import ModelManager
from agentnn.query.selection import BestQuery
from agentnn.settings import Settings
from agentnn.stores.measures import Advice, StoreMeasures, measure
from agentnn.stores.mlruns import measures as mlruns_measures
from agentnn.stores.opening import open_store
from agentnn.stores.sql import measures as sql_measures
from agentnn.stores.sql.best import VALUES_INDEX
from agentnn.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirrored_stores import Mirrors

VALUES = [0.5, 2.0, -1.0, 2.0, float("nan"), float("inf")]


@pytest.fixture(autouse=True)
def _even_a_few_runs_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_measures, "_MANY_RUNS", 2)
    monkeypatch.setattr(sql_measures, "_MANY_VALUES", 2)
    monkeypatch.setattr(mlruns_measures, "_MANY_RUNS", 2)


@pytest.fixture
def filled(database: Path) -> Path:
    with Rows(database) as rows:
        for number, value in enumerate(VALUES):
            rows.run(f"{number:032x}", f"run-{number}", start_time=NEW_YEAR + number, metrics={"sharpe": value})
    return database


def measures_of(uri: str) -> StoreMeasures:
    return measure(open_store(Settings(uri)))


def typed(advice: Advice) -> None:
    """Do as the advice says, at the shell of an environment that is active."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(  # noqa: S602 - as users do
        advice.command, shell=True, check=True, capture_output=True, timeout=60, env={**os.environ, "PATH": path}
    )


def ranking(uri: str) -> list[str]:
    with ModelManager(uri) as manager:
        found = manager.get_best_run("sharpe", "max", top=4)
        assert isinstance(found, list)
        return [run.run_id for run in found]


class TestSqlite:
    def test_it_counts_and_weighs(self, filled: Path) -> None:
        found = measures_of(f"sqlite:///{filled}")
        assert (found.reader, found.software) == (
            "SQLite tables, read directly", f"SQLite {sqlite3.sqlite_version}",
        )  # fmt: skip
        assert (found.experiments, found.runs, found.size_bytes) == (1, len(VALUES), filled.stat().st_size)
        with closing(sqlite3.connect(filled)) as connection:
            assert [found.schema] == [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]

    @pytest.mark.parametrize("has_program", [True, False])
    def test_the_commands_do_what_they_say(
        self, filled: Path, has_program: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not has_program:
            monkeypatch.setattr(shutil, "which", lambda _: None)
        elif shutil.which("sqlite3") is None:
            pytest.skip("there is no sqlite3 program")
        spaced = filled.with_name("it's my store.db")
        filled.rename(spaced)
        uri = f"sqlite:///{spaced}"
        before, ranked = measures_of(uri), ranking(uri)
        assert (before.analysed, before.indexes) == (False, ())
        assert [one.topic for one in before.advice] == ["statistics", "index"]
        for one in before.advice:
            typed(one)
        after = measures_of(uri)
        assert (after.analysed, after.indexes, after.advice) == (True, (VALUES_INDEX,), ())
        assert ranking(uri) == ranked

    def test_the_index_is_used(self, filled: Path) -> None:
        uri = f"sqlite:///{filled}"
        with closing(sqlite3.connect(filled)) as connection:
            connection.execute(f"CREATE INDEX {VALUES_INDEX} ON latest_metrics (key, value)")
        store = SqlStore(uri)
        connection = store._database._connection
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        store.best_runs(BestQuery("sharpe"))
        connection.set_trace_callback(None)
        [search] = [one for one in statements if "FROM latest_metrics m" in one]
        assert VALUES_INDEX in str(connection.execute(f"EXPLAIN QUERY PLAN {search}").fetchall())

    def test_mlflow_goes_on_with_the_index(self, filled: Path) -> None:
        with closing(sqlite3.connect(filled)) as connection:
            connection.execute(f"CREATE INDEX {VALUES_INDEX} ON latest_metrics (key, value)")
        client = MlflowClient(f"sqlite:///{filled}")
        client.log_metric(f"{0:032x}", "sharpe", 9.0, step=1)
        [first, *_] = client.search_runs(["0"], order_by=["metrics.sharpe DESC"], filter_string="metrics.sharpe < 100")
        assert first.info.run_id == f"{0:032x}" == ranking(f"sqlite:///{filled}")[0]

    def test_a_small_store_gets_no_advice(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        assert measures_of(f"sqlite:///{filled}").advice == ()


@pytest.mark.parametrize("kind", SERVERS)
class TestDatabaseServers:
    def test_the_commands_do_what_they_say(self, kind: str, filled: Path, mirrors: Mirrors) -> None:
        program = "psql" if kind == "postgresql" else "mysql"
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} program")
        mirror = mirrors.of(kind, filled)
        before, ranked = measures_of(mirror.uri), ranking(mirror.uri)
        assert (before.experiments, before.runs) == (1, len(VALUES))
        assert before.software is not None
        assert before.software.startswith(("PostgreSQL 1", "MariaDB 1", "MySQL "))
        assert before.size_bytes
        assert "index" in [one.topic for one in before.advice]
        try:
            for one in before.advice:
                typed(one)
            after = measures_of(mirror.uri)
            assert (after.analysed, after.indexes, after.advice) == (True, (VALUES_INDEX,), ())
            assert ranking(mirror.uri) == ranked
        finally:
            with mirror.writing() as cursor:
                cursor.execute(f"DROP INDEX {VALUES_INDEX}" + (" ON latest_metrics" if kind == "mysql" else ""))


def test_a_server_says_its_version(make_store: Callable[[str], str]) -> None:
    import mlflow

    found = measures_of(make_store("server"))
    assert (found.reader, found.software) == ("MLflow server, over REST", f"MLflow {mlflow.__version__}")


def test_a_folder_of_runs_is_to_be_migrated(make_store: Callable[[str], str], tmp_path: Path) -> None:
    uri = make_store("mlruns")
    client = MlflowClient(uri)
    for value in (1.0, 3.0, 2.0):
        run = client.create_run("0")
        client.log_metric(run.info.run_id, "sharpe", value)
        client.set_terminated(run.info.run_id)
    found = measures_of(uri)
    assert (found.reader, found.experiments, found.runs) == ("mlruns folder, read directly", 1, 3)
    [advice] = found.advice
    assert advice.topic == "migrate"
    typed(advice)
    assert ranking(f"sqlite:///{tmp_path}/mlflow.db") == ranking(uri)


def test_a_folder_of_toml_runs_counts_them(make_store: Callable[[str], str], tmp_path: Path) -> None:
    uri = make_store("toml")
    for name in ("one", "two"):
        folder = tmp_path / "store-0" / "project" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("lr = 0.1\n")
    found = measures_of(uri)
    assert (found.reader, found.experiments, found.runs) == ("TOML files, through an index", 1, 2)
