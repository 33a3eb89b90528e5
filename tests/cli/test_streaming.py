"""Big answers come as they are read: in little memory, with no lock that lasts, and they can be ended at any time."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cli.support import EXECUTABLE, NEW_YEAR, agentnn, environment

from agentnn.cli.kept_runs import KeptRuns
from agentnn.query.runs import RunQuery
from agentnn.records import Run
from agentnn.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = 30_000
MIB = 1024  # in the kernel's KiB

PEAK = """
import resource, subprocess, sys

process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
lines = sum(1 for _ in process.stdout)
assert process.wait() == 0
print(lines, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small process between, since a child's peak counts the memory of the one that forked it."""

ENDLESS = """
import sys
from pathlib import Path
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase

database = ReadOnlyDatabase(Path(sys.argv[1]), lock_timeout_s=600)
print("open", flush=True)
input()
try:
    print("ready", flush=True)
    database.rows(sys.argv[2])
except KeyboardInterrupt:
    print("heard")
print(len(database.rows("SELECT 1")), flush=True)
"""
NUMBERS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"


def id_of(number: int) -> str:
    return f"{number * 7919 % 2**32:08x}{number:024x}"


def insert_runs(connection: sqlite3.Connection, numbers: range) -> None:
    """Runs with two metrics, two params and two tags each; a run that starts later has a greater number."""
    connection.executemany(
        "INSERT INTO runs (run_uuid, name, experiment_id, status, lifecycle_stage, start_time, end_time, user_id, "
        "artifact_uri, source_type, source_name, entry_point_name, source_version) VALUES "
        "(?, ?, 0, 'FINISHED', 'active', ?, ?, 'ada', '/data', 'LOCAL', '', '', '')",
        [(id_of(n), f"run-{n}", NEW_YEAR + n * 1000, NEW_YEAR + n * 1000 + 500) for n in numbers],
    )
    connection.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, 0, 0, 0, ?)",
        [(key, n / 7, id_of(n)) for n in numbers for key in ("loss", "sharpe_ratio")],
    )
    for table in ("params", "tags"):
        connection.executemany(
            f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)",
            [(f"{table}-{k}", f"{n % 50}", id_of(n)) for n in numbers for k in range(2)],
        )


@pytest.fixture(scope="module")
def many(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many runs, which nobody changes."""
    path = tmp_path_factory.mktemp("many") / "mlflow.db"
    shutil.copy(template_database, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        insert_runs(connection, range(RUNS))
    return path


@pytest.fixture
def growing(many: Path, tmp_path: Path) -> Path:
    """A copy of it, which is changed while it is read."""
    return shutil.copy(many, tmp_path / "mlflow.db")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def begin(many: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(EXECUTABLE), *arguments],
        env=environment({"MLFLOW_TRACKING_URI": f"sqlite:///{many}"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=many.parent,
    )


def listed(many: Path, output: str, *arguments: str) -> str:
    done = agentnn("run", "list", "-o", output, *arguments, env={"MLFLOW_TRACKING_URI": f"sqlite:///{many}"})
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- memory -------------------------------------------------------------------------------------------------


def peak(many: Path, *arguments: str) -> tuple[int, int]:
    """How many lines a command prints, and its peak memory in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(EXECUTABLE), *arguments],
        env=environment({"MLFLOW_TRACKING_URI": f"sqlite:///{many}"}),
        check=True,
        capture_output=True,
        text=True,
    )
    lines, kibibytes = done.stdout.split()
    return int(lines), int(kibibytes)


@pytest.mark.parametrize(
    ("arguments", "header", "more_mib"),
    [
        (["-o", "jsonl"], 0, 25),
        (["-o", "id", "--sort", "metrics.loss DESC"], 0, 25),
        (["-o", "csv", "--columns", "run_id,metrics.loss"], 1, 25),
        (["-o", "tsv"], 1, 50),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_memory_does_not_grow_with_the_answer(many: Path, arguments: list[str], header: int, more_mib: int):
    _, small = peak(many, "run", "list", "-n", "1", *arguments)
    lines, large = peak(many, "run", "list", "-n", "0", *arguments)
    assert lines == RUNS + header
    assert large - small < more_mib * MIB


# -- what is read -------------------------------------------------------------------------------------------


class Onlooker:
    """Notes when the ids of all runs are asked for."""

    def __init__(self, store: SqlStore) -> None:
        self.asked_for_all = False
        self._each = store._database.each
        store._database.each = self  # type: ignore[method-assign]

    def __call__(self, *arguments: object) -> None:
        self.asked_for_all = True
        self._each(*arguments)  # type: ignore[arg-type]


def test_the_newest_runs_come_before_the_others_are_looked_for(many: Path):
    store = SqlStore(f"sqlite:///{many}")
    onlooker = Onlooker(store)
    runs = store.search_runs(RunQuery())
    first = [next(runs).run_id for _ in range(1000)]
    assert first == [id_of(number) for number in range(RUNS - 1, RUNS - 1001, -1)]
    assert not onlooker.asked_for_all
    assert [run.run_id for run in runs] == [id_of(number) for number in range(RUNS - 1001, -1, -1)]
    assert onlooker.asked_for_all
    store.close()


def test_a_writer_is_not_held_up_and_no_run_comes_twice_or_gets_lost(growing: Path):
    store = SqlStore(f"sqlite:///{growing}")
    runs = store.search_runs(RunQuery())
    seen = [next(runs).run_id for _ in range(700)]
    with closing(sqlite3.connect(growing, timeout=0)) as connection:
        with connection:  # before the others are looked for
            insert_runs(connection, range(RUNS, RUNS + 50))
            connection.execute("DELETE FROM runs WHERE run_uuid = ?", (id_of(5),))
        seen += [next(runs).run_id for _ in range(700)]
        with connection:  # in the middle of them
            insert_runs(connection, range(RUNS + 50, RUNS + 100))
            connection.execute("DELETE FROM runs WHERE run_uuid = ?", (id_of(6),))
        connection.execute("VACUUM")
    seen += [run.run_id for run in runs]
    assert len(set(seen)) == len(seen)
    assert set(seen) == {id_of(number) for number in range(RUNS)} - {id_of(5), id_of(6)}
    store.close()


def test_runs_that_began_together_or_at_no_known_time_come_once_each(growing: Path):
    with closing(sqlite3.connect(growing)) as connection, connection:
        connection.execute("UPDATE runs SET start_time = ?", (NEW_YEAR,))
        connection.execute("UPDATE runs SET start_time = NULL WHERE name LIKE 'run-1%'")
    for view in ("started", "unknown"):
        if view == "unknown":
            with closing(sqlite3.connect(growing)) as connection, connection:
                connection.execute("UPDATE runs SET start_time = NULL")
        with closing(SqlStore(f"sqlite:///{growing}")) as store:
            seen = [run.run_id for run in store.search_runs(RunQuery())]
        assert len(seen) == RUNS
        assert set(seen) == {id_of(number) for number in range(RUNS)}


def test_a_limit_above_what_is_read_at_once(many: Path):
    assert listed(many, "id", "-n", "12345").splitlines() == [id_of(RUNS - 1 - place) for place in range(12345)]


# -- formats ------------------------------------------------------------------------------------------------


def test_json_that_is_written_record_by_record_is_the_same_text(many: Path):
    lines = [json.loads(line) for line in listed(many, "jsonl", "-n", "1500").splitlines()]
    assert listed(many, "json", "-n", "1500") == json.dumps(lines, ensure_ascii=False, indent=2) + "\n"
    assert listed(many, "json", "-n", "1", "--view", "deleted") == "[]\n"


def test_runs_that_wait_in_a_file_come_back_as_they_were(many: Path):
    with closing(SqlStore(f"sqlite:///{many}")) as store:
        runs = list(store.search_runs(RunQuery(limit=7777)))
    odd = Run("odd", "été \udc80 \0", "0", "Default", "FINISHED", metrics={"x": float("inf")})
    kept = KeptRuns(iter([*runs, odd]))
    assert list(kept) == [*runs, odd]
    assert list(kept) == [*runs, odd]
    assert list(KeptRuns([])) == []


def test_no_room_for_the_runs_that_wait_is_an_error_that_says_what_to_do(many: Path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))

    done = agentnn(
        "run", "list", "-n", "0", env={"MLFLOW_TRACKING_URI": f"sqlite:///{many}"}, preexec_fn=small_files
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: a temporary file for many runs can't be written: File too large\nhint: ")


# -- the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["jsonl", "json", "id", "tsv", "csv", "md", "auto"])
def test_a_closed_pipe_ends_it_with_0(many: Path, started: list[subprocess.Popen[str]], output: str):
    process = begin(many, "run", "list", "-n", "0", "-o", output)
    started.append(process)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("arguments", [["run", "best", "-m", "sharpe_ratio", "--no-tally"], ["run", "list", "-n", "0"]])
def test_a_pipe_that_was_closed_before_anything_was_written(
    many: Path, started: list[subprocess.Popen[str]], arguments: list[str]
):
    process = begin(many, *arguments)
    started.append(process)
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("output", ["jsonl", "json", "csv"])
def test_ctrl_c_while_it_prints_ends_it_with_130(many: Path, started: list[subprocess.Popen[str]], output: str):
    process = begin(many, "run", "list", "-n", "0", "-o", output)
    started.append(process)
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)  # the pipe is full, or soon will be
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "question",
    [
        f"{NUMBERS} SELECT count(*) FROM c",
        f"{NUMBERS} SELECT x FROM c WHERE x < 0",
        f"{NUMBERS} SELECT count(*) FROM c WHERE number_of(x || '') < 0",
        f"{NUMBERS} SELECT count(*) FROM c WHERE regexp('^0', x || '')",
    ],
    ids=["one step", "no row", "a number in a text", "a regular expression"],
)
def test_ctrl_c_is_heard_while_sqlite_works(many: Path, started: list[subprocess.Popen[str]], question: str):
    process = ask(many, question)
    started.append(process)
    go_on(process)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert (said, errors, process.returncode) == ("heard\n1\n", "", 0)


def test_ctrl_c_is_heard_while_a_writer_holds_the_database(growing: Path, started: list[subprocess.Popen[str]]):
    process = ask(growing, "SELECT 1 FROM runs")
    started.append(process)
    with closing(sqlite3.connect(growing, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        go_on(process)
        time.sleep(0.2)  # it waits by now; heard sooner, it says the same
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "heard\n"
        connection.execute("ROLLBACK")
    # Not communicate(), which does not know what readline() has read ahead.
    said, errors = process.stdout.read(), process.stderr.read()
    assert (said, errors, process.wait(timeout=60)) == ("1\n", "", 0)


def ask(path: Path, question: str) -> subprocess.Popen[str]:
    """A process that has opened a store, and waits to be told to put its question."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path), question],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "open\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
