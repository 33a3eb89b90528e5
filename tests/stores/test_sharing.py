"""One manager, many users: threads, forked processes, a file that is exchanged under it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agentnn import ModelManager
from agentnn.errors import AgentNNError

if TYPE_CHECKING:
    from pathlib import Path

STRESS = """
import sqlite3, sys, threading, time
from agentnn import ModelManager
path = sys.argv[1]
manager = ModelManager(f"sqlite:///{path}")
end = time.monotonic() + 2
failures = []

def read():
    while time.monotonic() < end:
        try:
            assert len(manager.list_runs(limit=5)) == 5
        except Exception as error:
            failures.append(repr(error))

def write():
    while time.monotonic() < end:
        connection = sqlite3.connect(path, timeout=60)
        with connection:
            connection.execute("UPDATE runs SET user_id = ?", (str(time.monotonic()),))
        connection.close()
        time.sleep(0.005)

threads = [threading.Thread(target=read) for _ in range(4)] + [threading.Thread(target=write)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(failures), failures[:2])
"""


def add_runs(database: Path, count: int, *, first: int = 0) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for number in range(first, first + count):
            connection.execute(
                "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, experiment_id, user_id) "
                "VALUES (?, ?, 'FINISHED', ?, 'active', 0, 'u')",
                (f"{number:032x}", f"run-{number}", number),
            )


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_threads_share_a_manager_beside_a_writer(database: Path, journal: str) -> None:
    add_runs(database, 20)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    done = subprocess.run(
        [sys.executable, "-c", STRESS, str(database)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "0 []\n"), done.stderr


def test_threads_that_read_do_not_lock_a_writer_out(database: Path) -> None:
    add_runs(database, 20)
    manager = ModelManager(f"sqlite:///{database}")
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            manager.list_runs(limit=20)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            for number in range(50):
                with connection:
                    connection.execute("UPDATE runs SET user_id = ?", (str(number),))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {run.user for run in manager.list_runs()} == {"49"}


def test_a_forked_process_opens_the_file_for_itself(uri: str, database: Path) -> None:
    add_runs(database, 3)
    manager = ModelManager(uri)
    assert len(manager.list_runs()) == 3
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def ask() -> None:
        answers.put((os.getpid(), len(manager.list_runs())))

    child = context.Process(target=ask)
    child.start()
    pid, count = answers.get(timeout=60)
    child.join(30)
    assert (pid, count) == (child.pid, 3)
    assert len(manager.list_runs()) == 3


def test_a_file_that_was_exchanged_is_opened_anew(uri: str, database: Path, tmp_path: Path) -> None:
    manager = ModelManager(uri)
    assert manager.list_runs() == []
    other = tmp_path / "other.db"
    shutil.copyfile(database, other)
    add_runs(other, 4)
    other.replace(database)
    assert len(manager.list_runs()) == 4


def test_a_manager_stays_with_its_store_when_the_working_directory_changes(
    database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_runs(database, 2)
    monkeypatch.chdir(database.parent)
    manager = ModelManager("sqlite:///mlflow.db")
    assert len(manager.list_runs()) == 2
    monkeypatch.chdir("/")
    assert len(manager.list_runs()) == 2


def test_a_closed_manager_leaves_no_file_open_and_answers_again(uri: str, database: Path) -> None:
    def opened() -> int:
        return sum(
            os.path.realpath(f"/proc/self/fd/{number}") == str(database)  # noqa: PTH118
            for number in os.listdir("/proc/self/fd")  # noqa: PTH208
        )

    add_runs(database, 1)
    with ModelManager(uri) as manager:
        manager.list_runs()
        manager.list_models()
        assert opened() == 2
    assert opened() == 0
    assert len(manager.list_runs()) == 1
    manager.close()


def test_a_manager_that_was_used_can_be_sent_to_another_process(uri: str, database: Path) -> None:
    add_runs(database, 2)
    manager = ModelManager(uri)
    manager.list_runs()
    assert len(pickle.loads(pickle.dumps(manager)).list_runs()) == 2


def test_a_file_that_is_gone_is_said_to_be(uri: str, database: Path) -> None:
    manager = ModelManager(uri)
    manager.list_runs()
    database.unlink()
    with pytest.raises(AgentNNError, match="there is no store"):
        manager.list_runs()
    assert not database.exists()
