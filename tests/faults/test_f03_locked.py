"""F03: another process holds the SQLite lock. A read waits a little, then says so."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli.support import ADA, EXECUTABLE, READS, agentnn, environment, error_and_hint

from agentnn import ModelManager
from agentnn.stores.sql.sqlite_errors import LOCK_TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path


def test_a_read_of_a_locked_store_is_4_by_the_deadline(filled: Path):
    with closing(sqlite3.connect(filled, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        waiting = [
            subprocess.Popen(
                [str(EXECUTABLE), *command],
                cwd=filled.parent,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            for command in READS[::3]
        ]
        answers = [(*process.communicate(timeout=60), process.returncode) for process in waiting]
        took = time.monotonic() - started
    for out, err, code in answers:
        error, hint = error_and_hint(err)
        assert (out, code) == ("", 4)
        assert f"mlflow.db is locked by another process; gave up after {LOCK_TIMEOUT_S:g} s" in error
        assert hint == "try again when it is done"
    assert took < 35


def test_a_read_waits_for_a_lock_that_is_given_up_in_time(filled: Path):
    with closing(sqlite3.connect(filled, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(1.5, writer.execute, ["COMMIT"])
        release.start()
        ran = agentnn("run", "best", "-m", "sharpe", "-o", "id", cwd=filled.parent)
        release.join()
    assert (ran.returncode, ran.stdout) == (0, f"{ADA}\n")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_reader_never_holds_up_a_writer(mode: str, filled: Path):
    with closing(sqlite3.connect(filled, isolation_level=None, timeout=0)) as writer:
        writer.execute(f"PRAGMA journal_mode = {mode}")
        manager = ModelManager(f"sqlite:///{filled}")
        runs = manager.iter_runs()
        first = next(runs)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE runs SET name = 'renamed'")
        writer.execute("COMMIT")
        assert first.name == "dee"
        assert len(list(runs)) == 3
        assert {run.name for run in manager.list_runs()} == {"renamed"}
