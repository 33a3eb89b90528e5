"""What is written straight to a database is what MLflow would have written: every table is compared, row by row."""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores.writer_requests import NOON, REQUESTS, Player

from agentnn.errors import ConflictError, NotFoundError, UsageError
from agentnn.records import Metric
from agentnn.settings import Settings
from agentnn.stores.mlflow.writer import MlflowWriter
from agentnn.stores.run_writer import open_writer
from agentnn.stores.sql.mlflow_tables import SchemaMismatch
from agentnn.stores.sql.sqlite_errors import StoreLocked
from agentnn.stores.sql.writer import SqlWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def tables(player: Player, database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, with the place of a run for its id, and no times of the clock."""
    found = {}
    with closing(sqlite3.connect(database)) as connection:
        for table in ("experiments", "runs", "metrics", "latest_metrics", "params", "tags", "experiment_tags"):
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [one[0] for one in cursor.description]
            rows = [_plain(dict(zip(names, row, strict=True)), player) for row in cursor]
            found[table] = sorted(rows, key=repr)
    return found


def _plain(row: dict[str, Any], player: Player) -> tuple[Any, ...]:
    for moment in ("creation_time", "last_update_time", "deleted_time"):
        if row.get(moment) is not None:
            row[moment] = "some time"
    return tuple(player.without_ids(value) if isinstance(value, str) else value for value in row.values())


@pytest.fixture(scope="module")
def two_stores(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Player]]:
    """The same empty database twice: one that is written straight, one that MLflow writes."""
    folder = tmp_path_factory.mktemp("two")
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, writer in (("ours", SqlWriter), ("mlflows", MlflowWriter)):
            database = folder / f"{name}.db"
            shutil.copyfile(template_database, database)
            made.append((database, Player(writer(Settings(f"sqlite:///{database}")))))
    return made


@given(requests=st.lists(REQUESTS, min_size=1, max_size=12))
@settings(max_examples=25)
def test_any_requests_leave_what_mlflow_leaves(
    two_stores: list[tuple[Path, Player]], requests: list[tuple[Any, ...]]
) -> None:
    (ours, us), (theirs, them) = two_stores
    us.first = them.first = len(us.runs)
    begin = [("ensure_experiment", "alpha"), ("create_run", 1, "first", {"team": "a"})]
    for request in [*begin, *requests]:
        assert us.play(request) == them.play(request), request
    assert tables(us, ours) == tables(them, theirs)


def test_what_was_written_is_read_back(two_stores: list[tuple[Path, Player]]) -> None:
    for _, player in two_stores:
        writer = player.writer
        experiment_id = writer.ensure_experiment("alpha")
        run_id = writer.create_run(experiment_id, "first", NOON, {"agentnn.run_uuid": "u-1"})
        writer.log_batch(run_id, [Metric("m", 1.0, 3, NOON), Metric("m", math.nan, 4, NOON)], {"lr": "0.1"})
        assert writer.experiment_of(run_id) == experiment_id
        assert writer.params(run_id) == {"lr": "0.1"}
        assert sorted((one.step, str(one.value)) for one in writer.history(run_id, "m")) == [(3, "1.0"), (4, "nan")]
        assert writer.find_runs_by_uuid(experiment_id, "u-1") == [run_id]
        assert writer.find_runs_by_uuid(experiment_id, "u-2") == []
        with pytest.raises(NotFoundError):
            writer.experiment_of("0" * 32)


@pytest.fixture
def writer(uri: str) -> SqlWriter:
    """Writes straight to a database of this test's own."""
    return SqlWriter(Settings(uri))


@pytest.fixture
def run_id(writer: SqlWriter) -> str:
    """A run in it."""
    return writer.create_run(writer.ensure_experiment("alpha"), "first", NOON, {})


def test_a_request_is_carried_out_whole_or_not_at_all(writer: SqlWriter, run_id: str) -> None:
    writer.log_batch(run_id, params={"lr": "0.1"})
    with pytest.raises(ConflictError, match="'lr'"):
        writer.log_batch(run_id, [Metric("m", 1.0, 0, NOON)], {"new": "1", "lr": "0.2"}, {"team": "b"})
    assert writer.history(run_id, "m") == []
    assert writer.params(run_id) == {"lr": "0.1"}


def test_what_is_too_long_and_what_is_deleted_is_refused(writer: SqlWriter, run_id: str) -> None:
    with pytest.raises(UsageError, match="6001 characters"):
        writer.log_batch(run_id, params={"note": "x" * 6001})
    with pytest.raises(UsageError, match="1 to 500"):
        writer.ensure_experiment("x" * 501)
    writer.delete_run(run_id)
    for request in (lambda: writer.log_batch(run_id, tags={"a": "b"}), lambda: writer.terminate(run_id, "FAILED", 1)):
        with pytest.raises(ConflictError, match="is deleted"):
            request()


def test_files_arrive_and_are_made_whole(writer: SqlWriter, run_id: str, tmp_path: Path) -> None:
    source = tmp_path / "plot.png"
    source.write_bytes(b"\x89PNG")
    writer.put_file(run_id, source, "figures/plot.png")
    [root] = {path.parent for path in tmp_path.rglob("figures")} or {tmp_path}
    assert (root / "figures" / "plot.png").read_bytes() == b"\x89PNG"


@pytest.fixture(autouse=True)
def _artifacts_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files of new experiments go below the working directory, as with MLflow."""
    monkeypatch.chdir(tmp_path)
    yield


def test_a_locked_database_is_waited_for_and_then_said(uri: str, database: Path) -> None:
    writer = SqlWriter(Settings(uri), lock_timeout_s=0.05)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked):
            writer.ensure_experiment("alpha")
        other.execute("ROLLBACK")
    assert writer.ensure_experiment("alpha") == "1"


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE runs ADD COLUMN colour TEXT", "ALTER TABLE tags RENAME COLUMN value TO text"],
)
def test_a_schema_that_is_not_known_is_left_to_mlflow(uri: str, database: Path, change: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(change)
    with pytest.raises(SchemaMismatch):
        SqlWriter(Settings(uri))


def test_another_workspace_is_left_to_mlflow(uri: str) -> None:
    with pytest.raises(SchemaMismatch):
        SqlWriter(Settings(uri, workspace="other"))


def test_the_door_opens_it_and_mlflow_stays_unloaded(uri: str) -> None:
    program = (
        "import sys; from agentnn.settings import Settings; from agentnn.stores.run_writer import open_writer\n"
        f"writer = open_writer(Settings({uri!r}))\n"
        "run = writer.create_run(writer.ensure_experiment('a'), 'b', 1, {})\n"
        "writer.log_batch(run, params={'lr': '1'}); writer.terminate(run, 'FINISHED', 2)\n"
        "print(type(writer).__name__, [one for one in ('mlflow', 'sqlalchemy', 'pandas') if one in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "SqlWriter []"


def test_the_door_makes_a_database_where_there_is_none(tmp_path: Path) -> None:
    database = tmp_path / "new.db"
    writer = open_writer(Settings(f"sqlite:///{database}"))
    assert writer.ensure_experiment("Default") == "0"
