"""F13: a read-only file or directory, a missing one, a directory as a database, a writer beside us."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cli.support import ADA, BOB, READS, Rows, agentnn, environment, error_and_hint, fill, fingerprint, in_process

from agentnn import ModelManager

if TYPE_CHECKING:
    from collections.abc import Sequence

UNPRIVILEGED = 65534
WITHOUT_ARTIFACTS = [one for one in READS if "artifacts" not in one]


def as_nobody(*commands: Sequence[str], cwd: Path) -> list[tuple[int, str, str]]:
    """Run commands as a user to whom permissions apply; root ignores them. Their exit codes, and what they wrote.

    The interpreter may lie where that user can't go, so everything is loaded before root becomes nobody.
    """
    code = (
        "import csv, difflib, encodings.idna, io, json, os, pkgutil, sqlite3, sys, traceback, importlib\n"
        "from contextlib import redirect_stderr, redirect_stdout\n"
        "import dotenv, rich.table, agentnn.cli\n"
        "for one in ('agentnn.cli.app', 'agentnn.cli.tables', 'agentnn.cli.pictures', 'agentnn.stores.sql.store',\n"
        "            'agentnn.stores.sql.registry', 'agentnn.stores.opening', 'agentnn.query.filters'):\n"
        "    importlib.import_module(one)\n"
        "agentnn.cli.app.commands_for()\n"
        "if os.getuid() == 0:\n"
        "    os.setgroups([])\n"
        f"    os.setgid({UNPRIVILEGED})\n"
        f"    os.setuid({UNPRIVILEGED})\n"
        "answers = []\n"
        f"for command in {list(map(list, commands))!r}:\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with redirect_stdout(out), redirect_stderr(err):\n"
        "        code = agentnn.cli.app.run_command(command)\n"
        "    answers.append((code, out.getvalue(), err.getvalue()))\n"
        "print(json.dumps(answers))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return [(code, out, err) for code, out, err in json.loads(ran.stdout)]


def as_we_are(*commands: Sequence[str], cwd: Path) -> list[tuple[int, str, str]]:
    """The same as whoever runs the tests."""
    answers = [in_process(*command, cwd=cwd) for command in commands]
    return [(one.returncode, one.stdout, one.stderr) for one in answers]


@pytest.fixture
def shared(template_database: Path):
    """A filled store in a folder that everybody may enter; pytest's own are for one user."""
    folder = Path(tempfile.mkdtemp(prefix="agentnn-shared-", dir="/tmp"))
    folder.chmod(0o755)
    path = folder / "mlflow.db"
    shutil.copyfile(template_database, path)
    fill(path)
    path.chmod(0o644)
    yield path
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_file_in_a_read_only_directory_is_read(shared: Path):
    expected = as_we_are(*WITHOUT_ARTIFACTS, cwd=shared.parent)
    shared.chmod(0o444)
    shared.parent.chmod(0o555)
    before = fingerprint(shared.parent)
    assert as_nobody(*WITHOUT_ARTIFACTS, cwd=shared.parent) == expected
    assert {code for code, _, _ in expected} == {0}
    assert fingerprint(shared.parent) == before


def test_a_read_only_database_in_wal_mode_is_read(shared: Path):
    commands = WITHOUT_ARTIFACTS[:5]
    expected = as_we_are(*commands, cwd=shared.parent)
    with closing(sqlite3.connect(shared)) as connection:
        assert connection.execute("PRAGMA journal_mode = wal").fetchone() == ("wal",)
    shared.chmod(0o444)
    shared.parent.chmod(0o555)
    before = fingerprint(shared.parent)
    assert list(before) == ["mlflow.db"]
    assert as_nobody(*commands, cwd=shared.parent) == expected
    assert {code for code, _, _ in expected} == {0}
    assert fingerprint(shared.parent) == before


def test_a_file_that_may_not_be_read_is_4(shared: Path):
    shared.chmod(0o600)
    [(code, out, err)] = as_nobody(("run", "list"), cwd=shared.parent)
    error, hint = error_and_hint(err)
    assert (code, out) == (4, "")
    assert error.endswith("mlflow.db can't be read: Permission denied")
    assert "permissions" in hint


def test_a_directory_that_may_not_be_entered_is_4(shared: Path):
    uri = f"sqlite:///{shared}"
    shared.parent.chmod(0o700)
    [(code, out, err)] = as_nobody(("--tracking-uri", uri, "run", "list"), cwd=Path("/tmp"))
    error, _ = error_and_hint(err)
    assert (code, out) == (4, "")
    assert "Permission denied" in error


def test_a_directory_above_that_may_not_be_entered_does_not_hinder_the_search_for_env_files(shared: Path):
    inner = shared.parent / "closed" / "open"
    inner.mkdir(parents=True)
    # The command starts inside, as a service does; the folder above is then closed to it.
    code = (
        "import os, sys, json, difflib, sqlite3, dotenv\n"
        "import agentnn.cli.app, agentnn.stores.sql.store, agentnn.stores.opening\n"
        "agentnn.cli.app.commands_for()\n"
        f"os.chmod({str(inner.parent)!r}, 0o600)\n"
        f"os.setgroups([]); os.setgid({UNPRIVILEGED}); os.setuid({UNPRIVILEGED})\n"
        f"sys.exit(agentnn.cli.app.run_command(['--tracking-uri', 'sqlite:///{shared}', 'run', 'list', '-o', 'id']))\n"
    )
    if os.getuid() != 0:
        pytest.skip("only root can become another user, who then may not enter a folder of root's")
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=inner,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    inner.parent.chmod(0o755)
    assert (ran.returncode, len(ran.stdout.split())) == (0, 4), ran.stderr


@pytest.mark.parametrize("command", WITHOUT_ARTIFACTS, ids=" ".join)
@pytest.mark.parametrize("where", ["missing/folder/mlflow.db", "missing.db", "folder"])
def test_what_is_no_file_is_4_at_once_and_nothing_is_made(command: tuple[str, ...], where: str, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    before = fingerprint(tmp_path)
    started = time.monotonic()
    ran = in_process("--tracking-uri", f"sqlite:///{tmp_path / where}", *command, cwd=tmp_path)
    took = time.monotonic() - started
    error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert fingerprint(tmp_path) == before
    assert took < 30  # three seconds are promised; MLflow alone tries for 103, however fast the machine


def _track(uri: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\n"
        "from agentnn import AgentNNError, ModelManager\n"
        "try:\n"
        f"    ModelManager({uri!r}).track_run('new', metrics={{'m': 1.0}})\n"
        "except AgentNNError as error:\n"
        "    print(error.exit_code, error, flush=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=90,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("sqlite:////proc/mlflow.db", 4),  # a directory in which not even root can make a file
        ("sqlite:////proc/nowhere/mlflow.db", 4),
        ("sqlite:///folder", 4),
        ("sqlite:////dev/null/mlflow.db", 4),
        ("sqlite:///garbage.db", 5),
    ],
)
def test_recording_where_nothing_can_be_written_fails_at_once(uri: str, code: int, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "garbage.db").write_bytes(b"garbage" * 1000)
    before = fingerprint(tmp_path)
    ran = _track(uri, tmp_path)  # MLflow alone tries for 103 s
    assert ran.stdout.startswith(f"{code} "), ran.stderr
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["with space.db", "per%cent.db", "hash#tag.db", "what?.db", "größe-日本.db", "a&b=c.db"]
)
def test_a_file_of_any_name_is_found_by_its_quoted_uri(name: str, filled: Path):
    filled.rename(filled.with_name(name))
    ran = agentnn("--tracking-uri", f"sqlite:///{quote(str(filled.with_name(name)))}", "run", "show", "ada", "-o", "id")
    assert (ran.returncode, ran.stdout) == (0, f"{ADA}\n"), ran.stderr


def test_a_link_to_a_database_is_followed(filled: Path):
    filled.rename(filled.with_name("real.db"))
    filled.symlink_to("real.db")
    assert agentnn("run", "show", "ada", "-o", "id", cwd=filled.parent).stdout == f"{ADA}\n"


def test_a_pipe_in_place_of_a_database_does_not_hang(tmp_path: Path):
    os.mkfifo(tmp_path / "mlflow.db")
    ran = agentnn("run", "list", cwd=tmp_path)
    error_and_hint(ran.stderr)
    assert ran.returncode in (2, 4, 5)
    assert stat.S_ISFIFO((tmp_path / "mlflow.db").stat().st_mode)


# -- a database in WAL mode, and others who write to it ----------------------------------------------------


def _wal(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute("PRAGMA journal_mode = wal").fetchone() == ("wal",)
    return connection


@pytest.mark.parametrize("command", READS[:5], ids=" ".join)
def test_nothing_is_made_beside_a_database_in_wal_mode(command: tuple[str, ...], filled: Path):
    _wal(filled).close()
    before = fingerprint(filled.parent)
    assert list(before) == ["mlflow.db"]
    assert agentnn(*command, cwd=filled.parent).returncode == 0
    assert fingerprint(filled.parent) == before


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_a_live_writer_has_committed_is_read_and_what_it_has_not_is_not(mode: str, filled: Path):
    with closing(sqlite3.connect(filled, isolation_level=None)) as writer:
        writer.execute(f"PRAGMA journal_mode = {mode}")
        writer.execute(f"UPDATE runs SET name = 'committed' WHERE run_uuid = '{ADA}'")
        writer.execute(f"UPDATE tags SET value = 'committed' WHERE run_uuid = '{ADA}' AND key = 'mlflow.runName'")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(f"UPDATE runs SET name = 'not yet' WHERE run_uuid = '{BOB}'")
        writer.execute(f"UPDATE tags SET value = 'not yet' WHERE run_uuid = '{BOB}' AND key = 'mlflow.runName'")
        names = set(filled.parent.iterdir())
        ran = agentnn("run", "list", "-e", "alpha", "--columns", "name", cwd=filled.parent)
        assert ran.stdout.split() == ["name", "cyd", "bob", "committed"]
        assert set(filled.parent.iterdir()) == names
        writer.execute("COMMIT")
    ran = agentnn("run", "list", "-e", "alpha", "--columns", "name", cwd=filled.parent)
    assert ran.stdout.splitlines() == ["name", "cyd", "not yet", "committed"]


def _new_run(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("BEGIN")
    connection.execute(
        "INSERT INTO runs (run_uuid, name, experiment_id, status, lifecycle_stage, start_time) "
        "VALUES (?, ?, 0, ?, ?, ?)",
        (f"{number:032x}", f"late-{number}", "FINISHED", "active", 2_000_000_000_000 + number),
    )
    connection.execute(
        "INSERT INTO latest_metrics (run_uuid, key, value, is_nan, step, timestamp) VALUES (?, 'sharpe', ?, 0, 0, 0)",
        (f"{number:032x}", 1000 + number),
    )
    connection.execute("COMMIT")


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("writer_stays", [True, False])
def test_a_long_lived_manager_sees_what_is_committed_later(mode: str, writer_stays: bool, filled: Path):
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    manager = ModelManager(f"sqlite:///{filled}")
    assert manager.get_best_run("sharpe").name == "ada"
    writer = sqlite3.connect(filled, isolation_level=None)
    for number in range(1, 6):
        _new_run(writer, number)
        assert manager.get_best_run("sharpe").name == f"late-{number}"
        assert manager.list_runs(limit=1)[0].name == f"late-{number}"
        assert manager.list_experiments()[0].name == "alpha"
        if not writer_stays:
            writer.close()
            assert len(manager.list_runs("Default")) == number + 1
            writer = sqlite3.connect(filled, isolation_level=None)
    writer.close()


def test_a_long_lived_manager_sees_a_store_that_was_put_in_the_place_of_the_old_one(filled: Path):
    _wal(filled).close()
    manager = ModelManager(f"sqlite:///{filled}")
    assert manager.get_run("ada").run_id == ADA
    other = filled.with_name("other.db")
    shutil.copyfile(filled, other)
    with Rows(other) as rows:
        rows.run("9" * 32, "restored")
    other.replace(filled)
    assert manager.get_run("restored").run_id == "9" * 32


def test_a_manager_reads_beside_mlflow_itself(filled: Path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{filled}"
    manager, client = ModelManager(uri), MlflowClient(uri)
    for number in range(3):
        run = client.create_run("0", run_name=f"beside-{number}")
        client.log_metric(run.info.run_id, "beside", number)
        assert manager.get_run("@last").run_id == run.info.run_id
        client.set_terminated(run.info.run_id)
        assert manager.get_best_run("beside").best.value == number


def test_the_rows_of_a_writer_that_died_in_wal_mode_are_read_and_nothing_is_lost(filled: Path, tmp_path: Path):
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with closing(_wal(filled)) as writer:
        _new_run(writer, 7)
        for suffix in ("", "-wal"):  # as a crash leaves them: the last commit is in the log only
            shutil.copyfile(f"{filled}{suffix}", crashed / f"mlflow.db{suffix}")
    kept = {name: (crashed / name).read_bytes() for name in ("mlflow.db", "mlflow.db-wal")}
    ran = agentnn("run", "best", "-m", "sharpe", "--columns", "name", cwd=crashed)
    assert ran.stdout.split() == ["name", "late-7"]
    assert {name: (crashed / name).read_bytes() for name in kept} == kept


def test_a_writer_that_died_in_the_middle_of_a_write_is_4_and_the_journal_stays(filled: Path):
    code = (
        "import os, sqlite3\n"
        f"c = sqlite3.connect({str(filled)!r}, isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('CREATE TABLE big (x)')\n"
        "c.executemany('INSERT INTO big VALUES (?)', [('x' * 1000,)] * 2000)\n"
        "c.execute(\"UPDATE runs SET name = 'half'\")\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (filled.parent / "mlflow.db-journal").exists()
    before = fingerprint(filled.parent)
    ran = agentnn("run", "list", cwd=filled.parent)
    error, hint = error_and_hint(ran.stderr)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "in the middle of a write" in error
    assert hint
    assert fingerprint(filled.parent) == before
