"""Where a study is kept, and where it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest

from agentnn.errors import CorruptDataError, StoreUnavailable, UsageError
from agentnn.settings import Settings
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.storage import open_storage, place_of, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_stores import PostgresCluster

PASSWORD_WORDS = ("c0rrect", "horse", "%2Fof", "%25ada")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_optuna():
        yield


@pytest.fixture
def settings(uri: str) -> Settings:
    return Settings.load(uri)


def test_by_default_a_study_has_a_private_file_among_those_of_its_store(settings: Settings, state_dir: Path):
    storage = open_storage(None, "a/b: study", settings)
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "x")
    path = Path(place_of(None, "a/b: study", settings))
    assert path.is_relative_to(state_dir)
    assert path.name.startswith("a-b-study-")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert place_of(None, "a/b? study", settings) != str(path)  # though it would be called the same
    assert place_of(None, "x", Settings.load("sqlite:///elsewhere.db")) != place_of(None, "x", settings)
    assert "x" in [one.study_name for one in open_storage(None, "a/b: study", settings).get_all_studies()]


def test_a_line_that_broke_off_is_left_out(settings: Settings, tmp_path: Path):
    path = tmp_path / "studies" / "mine.journal"
    minimise = [optuna.study.StudyDirection.MINIMIZE]
    open_storage(str(path), "x", settings).create_new_study(minimise, "one")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    storage = open_storage(str(path), "x", settings)
    storage.create_new_study(minimise, "two")
    names = [one.study_name for one in open_storage(path.as_uri(), "x", settings).get_all_studies()]
    assert names == ["one", "two"]


def test_a_file_of_another_kind_is_said_and_stays(settings: Settings, tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\nit rains\n")
    with pytest.raises(CorruptDataError, match="can't be read as the journal of a study"):
        open_storage(str(path), "x", settings)
    assert path.read_text() == "dear diary\nit rains\n"
    with pytest.raises(UsageError, match="is a folder"):
        open_storage(str(tmp_path), "x", settings)


def test_a_writer_that_is_killed_holds_no_lock(settings: Settings, tmp_path: Path):
    path = tmp_path / "mine.journal"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from agentnn.training.hpo.storage import _KernelLock\n"
        "_KernelLock(Path(sys.argv[1])).acquire()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    done = threading.Event()

    def write() -> None:
        open_storage(str(path), "x", settings).create_new_study([optuna.study.StudyDirection.MINIMIZE], "one")
        done.set()

    threading.Thread(target=write, daemon=True).start()
    assert done.wait(20)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_mlflows_own_database_is_refused_and_stays_as_it_is(
    kind: str, settings: Settings, uri: str, request: pytest.FixtureRequest
):
    if kind == "sqlite":
        with pytest.raises(UsageError, match="is MLflow's own; a study needs one of its own") as refused:
            open_storage(uri, "x", settings)
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        store = cluster.with_password(cluster.create_store("/nowhere"))
        with pytest.raises(UsageError, match="is MLflow's own; a study needs one of its own") as refused:
            open_storage(store.replace("+psycopg", ""), "x", settings)
        tables = cluster.execute("SELECT tablename FROM pg_tables", database=store.rpartition("/")[2])
        assert ("studies",) not in tables
        cluster.drop_store(store)
    assert not any(word in str(refused.value) for word in PASSWORD_WORDS)


def test_a_database_that_cant_be_reached_is_said_without_its_password(settings: Settings):
    url = "postgresql://ada:c0rrect%40horse%2Fof%25ada@127.0.0.1:9/studies"
    with pytest.raises(StoreUnavailable) as refused:
        open_storage(url, "x", settings)
    assert "postgresql://***@127.0.0.1:9/studies can't be used" in refused.value.message
    assert refused.value.__cause__ is None
    assert not any(word in refused.value.message for word in (*PASSWORD_WORDS, "ada"))
    assert place_of(url, "x", settings) == "postgresql://***@127.0.0.1:9/studies"


def test_an_unknown_database_is_wrong_use(settings: Settings):
    with pytest.raises(UsageError, match="names no database that is known"):
        open_storage("oracel://host/x", "x", settings)


def test_two_drivers_may_make_the_same_database_at_once(settings: Settings, postgres: PostgresCluster):
    postgres.execute("CREATE DATABASE fresh_studies")
    url = f"postgresql://agentnn@127.0.0.1:{postgres.port}/fresh_studies"
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(open_storage(url, "x", settings))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(found) == 4
    [row] = postgres.execute("SELECT count(*) FROM alembic_version", database="fresh_studies")
    assert row == (1,)


def test_what_a_storage_says_later_is_an_error_of_ours_too():
    from sqlalchemy.exc import OperationalError

    with (
        pytest.raises(StoreUnavailable, match="server closed the connection") as refused,
        storage_errors("pg://u:pw@h/x"),
    ):
        raise OperationalError("SELECT secret", {}, Exception("server closed the connection"))
    assert "pw" not in refused.value.message
    assert os.environ.get("PGPASSWORD") is None
