"""F01: processes that start together on a store that is not there yet. One makes it, and none of them notices."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_runs, kept_steps, wait_until
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from real_stores import PostgresCluster

pytestmark = pytest.mark.slow

TRAINERS, WRITERS = 8, 4

TRAIN = """
import sys
from agentnn import start_run

sys.stdin.readline()
with start_run(sys.argv[1], strict=True) as run:
    for step in range(10):
        run.log_metric("loss", 1 / (step + 1), step)
"""

WRITE = """
import sys
from agentnn.settings import Settings
from agentnn.stores.mlflow.writer import MlflowWriter

import mlflow.store.tracking.sqlalchemy_store
sys.stdin.readline()
writer = MlflowWriter(Settings.load())
experiment_id = writer.ensure_experiment("together")
print(writer.create_run(experiment_id, "first", 1_767_225_600_000, {}))
print(experiment_id)
"""


WRITE_TOGETHER = """
import os, sys, traceback
from agentnn.settings import Settings
from agentnn.stores.mlflow.writer import MlflowWriter

import mlflow.store.tracking.sqlalchemy_store

def write():
    writer = MlflowWriter(Settings.load())
    experiment_id = writer.ensure_experiment("together")
    run_id = writer.create_run(experiment_id, "first", 1_767_225_600_000, {})
    os.write(1, f"{run_id} {experiment_id}\\n".encode())

def fork():
    pid, code = os.fork(), 1
    if pid == 0:
        try:
            write()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid

children = [fork() for _ in range(int(sys.argv[1]))]
sys.exit(max(os.waitpid(pid, 0)[1] for pid in children) != 0)
"""
"""Writers as forks of one process that has loaded MLflow and opened nothing, since loading takes seconds."""


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URI of a store that is not there yet: no file, or an empty database."""
    if request.param == "sqlite":
        (tmp_path / "store").mkdir()
        yield f"sqlite:///{tmp_path}/store/mlflow.db"
        return
    postgres: PostgresCluster = request.getfixturevalue("postgres")
    like = postgres.create_store(str(tmp_path))
    postgres.execute("CREATE DATABASE fresh")
    uri = f"{like.rpartition('/')[0]}/fresh"
    yield uri
    for one in (uri, like):
        postgres.drop_store(one)


def schema(uri: str) -> tuple[list[str], set[str]]:
    """The schema's revisions, and the tables."""
    engine = create_engine(uri, poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version"))
        return [row[0] for row in found], set(inspect(connection).get_table_names())


def assert_whole(uri: str, template: Path, folder: Path) -> None:
    """One schema, as MLflow alone makes it, and nothing beside the file but artifacts."""
    assert schema(uri) == schema(f"sqlite:///{template}")
    if uri.startswith("sqlite"):
        assert {path.name for path in (folder / "store").iterdir()} - {"mlruns"} == {"mlflow.db"}


def test_trainers_that_start_together_on_a_fresh_store_all_succeed(fresh: str, template_database: Path, tmp_path: Path):
    names = [f"trainer-{number}" for number in range(TRAINERS)]
    with ExitStack() as stack:
        trainers = [stack.enter_context(Trainer(TRAIN, name, uri=fresh, cwd=tmp_path)) for name in names]
        for trainer in trainers:
            trainer.go_on()
        assert [(trainer.wait(), trainer.stderr) for trainer in trainers] == [(0, "")] * TRAINERS
    runs = kept_runs(fresh)
    assert sorted(run.info.run_name for run in runs) == names
    for run in runs:
        assert run.info.status == "FINISHED"
        assert kept_steps(fresh, run.info.run_id, "loss") == list(range(10))
    assert_whole(fresh, template_database, tmp_path)


def test_writers_that_are_made_together_on_a_fresh_store_all_work(fresh: str, template_database: Path, tmp_path: Path):
    """As the senders of several machines are, or of several containers."""
    with Trainer(WRITE_TOGETHER, str(WRITERS), uri=fresh, cwd=tmp_path) as writers:
        assert writers.wait() == 0, writers.stderr
    runs, experiments = zip(*(line.split() for line in writers.lines), strict=True)
    [experiment_id] = set(experiments)
    assert {run.info.run_id for run in kept_runs(fresh, experiment_id)} == set(runs)
    assert len(set(runs)) == WRITERS
    assert_whole(fresh, template_database, tmp_path)


def test_a_process_that_is_killed_while_it_makes_the_store_leaves_no_half_of_one(
    template_database: Path, tmp_path: Path
):
    folder = tmp_path / "store"
    folder.mkdir()
    uri = f"sqlite:///{folder}/mlflow.db"
    for moment in (0.0, 0.2):
        with Trainer(WRITE, uri=uri, cwd=tmp_path) as writer:
            writer.go_on()
            wait_until(lambda: [path for path in folder.glob(".*/mlflow.db") if path.stat().st_size], "the first table")
            time.sleep(moment)
            writer.kill()
        assert not (folder / "mlflow.db").exists()
        assert [path.name.startswith(".mlflow.db.") for path in folder.iterdir()] == [True]
    with Trainer(WRITE, uri=uri, cwd=tmp_path) as writer:
        writer.go_on()
        assert writer.wait() == 0, writer.stderr
    assert_whole(uri, template_database, tmp_path)
