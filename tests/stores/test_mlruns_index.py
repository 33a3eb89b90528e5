"""The index of a large folder of runs: never wrong, whatever happens to the files or to it, and never in the way."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from generated_stores import NOON, ExperimentSpec, RunSpec, StoreSpec, points, run_id
from mlruns_stores import write_mlruns_run, write_mlruns_store

from agentnn.errors import UnreadableWarning
from agentnn.query.filters import parse_filter, parse_order
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import AGGREGATES, BestQuery
from agentnn.settings import Settings
from agentnn.stores.mlruns import index as run_index
from agentnn.stores.mlruns.store import MlrunsStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTLED_S = 0.03
RUNS = 12


@pytest.fixture(autouse=True)
def _small_folders_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index, "_MANY_RUNS", 1)
    monkeypatch.setattr(run_index, "_FEW_FILES", 1)
    monkeypatch.setattr(run_index, "_NEW_SHARE", 1000)
    monkeypatch.setattr(run_index, "UNSETTLED_NS", int(SETTLED_S * 1e9))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what this machine keeps."""
    monkeypatch.setenv("AGENTNN_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path, state: Path) -> Path:
    """A folder of runs whose files have been left alone for long enough."""
    runs = tuple(
        RunSpec(run_id(number), number % 2, f"r{number}", "FINISHED" if number % 3 else "RUNNING",
                start_time=NOON + number, params={"lr": str(number % 4)}, tags={"team/x": f"t{number}"},
                metrics={"m": points(number, number / 2), "n": points(1.0)} if number else {})
        for number in range(RUNS)
    )  # fmt: skip
    store = StoreSpec((ExperimentSpec(0, "Default"), ExperimentSpec(1, "one")), runs)
    write_mlruns_store(tmp_path / "store", store)
    time.sleep(SETTLED_S)
    return tmp_path / "store"


def opened(folder: Path, cache_mb: float = 64) -> MlrunsStore:
    return MlrunsStore(Settings(str(folder), registry_uri=str(folder), cache_mb=cache_mb))


def index_of(state: Path) -> Path:
    [path] = (state / "indexes").iterdir()
    return path


def answers(store: MlrunsStore) -> list[Any]:
    """What a store says to questions of all kinds."""
    found: list[Any] = []
    for view in ("active", "all"):
        query = RunQuery(view=view)  # type: ignore[arg-type]
        found.append(list(store.search_runs(query)))
        found.append(list(store.search_runs(query._replace(limit=4))))
        for text in ("metrics.m > 2", "params.lr = '3'", "tags.`team/x` LIKE '%t1%'", "name != 'r5'"):
            found.append([run.run_id for run in store.search_runs(query._replace(filter=parse_filter(text)))])
        found.append(
            list(store.search_runs(query._replace(order_by=(OrderBy(*parse_order("metrics.m DESC")),), limit=3)))
        )
        found.append(store.count_runs(query))
        found += [store.best_runs(BestQuery("m", "max", one, query, 2, tally=True)) for one in AGGREGATES]
        found.append(store.best_runs(BestQuery("m", scope=query)))
        found.append(store.best_runs(BestQuery("m", "min", scope=query, include_children=False)))
    return found


def same(folder: Path) -> list[Any]:
    """The answers, which an index has to leave as they are without it; warnings are told of either way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadableWarning)
        found = answers(opened(folder))
        assert found == answers(opened(folder, cache_mb=0))
    return found


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files of runs that have been opened."""
    paths: list[str] = []
    real = os.open

    def seen(path: Any, *arguments: Any, **named: Any) -> int:
        if "/store/" in str(path):
            paths.append(str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", seen)
    return paths


def test_a_second_question_opens_nothing_but_what_it_gives_back(folder: Path, opens: list[str]) -> None:
    counted = BestQuery("m", top=0, tally=True)
    for question in (
        lambda: opened(folder).best_runs(counted),
        lambda: opened(folder).best_runs(counted._replace(aggregate="mean", include_children=False)),
        lambda: opened(folder).count_runs(RunQuery(filter=parse_filter("params.lr = '3' AND tags.`team/x` != 'x'"))),
    ):
        question()
        assert len(opens) > RUNS
        opens.clear()
        question()
        assert len({run for path in opens for run in map(run_id, range(RUNS)) if run in path}) <= 1
        opens.clear()


# --- whatever happens to the files


def appended(folder: Path) -> None:
    with (folder / "1" / run_id(5) / "metrics" / "m").open("a") as file:
        file.write(f"{NOON} 99.5 7\n")


def rewritten_with_the_same_size_and_time(folder: Path) -> None:
    file = folder / "1" / run_id(5) / "metrics" / "m"
    before = file.stat()
    file.write_text(file.read_text().replace("5.0", "9.0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def replaced_by_another_file(folder: Path) -> None:
    file = folder / "0" / run_id(4) / "params" / "lr"
    file.with_name("new").write_text("3")
    file.with_name("new").replace(file)


def ended(folder: Path) -> None:
    meta = folder / "1" / run_id(3) / "meta.yaml"
    meta.write_text(meta.read_text().replace("status: 1", "status: 3"))


def deleted(folder: Path) -> None:
    meta = folder / "0" / run_id(8) / "meta.yaml"
    meta.write_text(meta.read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted"))


def gone(folder: Path) -> None:
    shutil.rmtree(folder / "1" / run_id(11))


def added(folder: Path) -> None:
    write_mlruns_run(folder / "0" / run_id(90), RunSpec(run_id(90), 0, "new", metrics={"m": points(1000)}))


def damaged(folder: Path) -> None:
    (folder / "0" / run_id(10) / "meta.yaml").write_bytes(b"\0" * 9)
    os.utime(folder / "0" / run_id(10) / "meta.yaml", (1, 1))
    (folder / "1" / run_id(9) / "metrics" / "m").write_text("x y z\n")


def a_metric_more(folder: Path) -> None:
    (folder / "0" / run_id(0) / "metrics" / "m").write_text(f"{NOON} 50 0\n")


def a_metric_less(folder: Path) -> None:
    (folder / "0" / run_id(10) / "metrics" / "m").unlink()


def moved_to_the_trash(folder: Path) -> None:
    (folder / "1").rename(folder / ".trash" / "1")


def swapped(folder: Path) -> None:
    one, other = (folder / "1" / run_id(number) / "metrics" / "m" for number in (5, 7))
    one.rename(one.with_name("@"))
    other.rename(one)
    one.with_name("@").rename(other)


CHANGES = (appended, rewritten_with_the_same_size_and_time, replaced_by_another_file, ended, deleted, gone, added,
           damaged, a_metric_more, a_metric_less, moved_to_the_trash, swapped)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_at_once(folder: Path, change: Callable[[Path], None]) -> None:
    before = same(folder)
    change(folder)
    after = same(folder)
    assert after != before
    time.sleep(SETTLED_S)
    assert same(folder) == same(folder) == after


def test_many_changes_in_a_row(folder: Path) -> None:
    chance = random.Random(3)
    for turn in range(10):
        run = folder / str(turn % 2) / run_id(2 * chance.randrange(6) + turn % 2)
        if not (run / "meta.yaml").exists():
            continue
        with (run / "metrics" / "m").open("w" if chance.random() < 0.5 else "a") as file:
            file.write(f"{NOON} {chance.randrange(10, 99)} {chance.randrange(3)}\n")
        same(folder)


def test_what_was_written_just_now_is_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index, "UNSETTLED_NS", 3600 * 10**9)
    same(folder)
    with closing(sqlite3.connect(index_of(folder.parent / "state"))) as database:
        assert database.execute("SELECT runs FROM columns").fetchall() == []


def test_a_file_that_changes_while_it_is_read_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "1" / run_id(5) / "metrics" / "m"
    real = os.open
    changes = iter([f"{NOON} 777 0\n"])

    def slow(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path) == str(file) and (text := next(changes, None)):
            file.write_text(text)  # after its status was asked for
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", slow)
    opened(folder).best_runs(BestQuery("m", tally=True))
    file.write_text(f"{NOON} 778 0\n")
    assert opened(folder).best_runs(BestQuery("m")).candidates[0].value == 778


# --- whatever happens to the index


def test_it_is_private_and_leaves_the_folder_alone(folder: Path, state: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    same(folder)
    assert stat.S_IMODE(index_of(state).stat().st_mode) == 0o600
    assert stat.S_IMODE(index_of(state).parent.stat().st_mode) == 0o700
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_may_have_any_name(folder: Path, state: Path) -> None:
    same(folder.rename(folder.with_name(os.fsdecode(b"caf\xe9 'store'"))))
    with closing(sqlite3.connect(index_of(state))) as database:
        assert database.execute("SELECT count(*) > 0 FROM columns").fetchall() == [(1,)]


def test_without_a_cache_there_is_none(folder: Path, state: Path) -> None:
    answers(opened(folder, cache_mb=0))
    assert not state.exists()


def test_few_runs_have_no_index_but_for_large_files(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch, opens: list[str]
) -> None:
    monkeypatch.setattr(run_index, "_MANY_RUNS", 1000)
    answers(opened(folder))
    assert not state.exists()
    large = folder / "1" / run_id(5) / "metrics" / "m"
    large.write_text("".join(f"{NOON} 0.5 {step}\n" for step in range(60_000)))
    time.sleep(SETTLED_S)
    question = BestQuery("m", tally=True, top=0)
    first = opened(folder).best_runs(question)
    opens.clear()
    assert opened(folder).best_runs(question) == first
    assert str(large) not in opens


def test_garbage_is_thrown_away(folder: Path, state: Path) -> None:
    right = same(folder)
    path = index_of(state)
    whole = path.read_bytes()
    for damage in (b"", b"garbage" * 999, whole[: len(whole) // 2], whole[:9000] + os.urandom(4096) + whole[13096:]):
        path.write_bytes(damage)
        assert same(folder) == right
    for statement in (  # what SQLite does not see
        "UPDATE columns SET said = replace(said, '5', '6')",
        "UPDATE columns SET signatures = zeroblob(8)",
        "UPDATE columns SET runs = '[]', checksum = 0",
        "UPDATE columns SET said = NULL",
        "PRAGMA user_version = 7",
        "DROP TABLE columns",
    ):
        with closing(sqlite3.connect(path)) as database:
            database.execute(statement)
            database.commit()
        assert same(folder) == right, statement


@pytest.mark.parametrize("obstacle", ["a file where the folder would be", "a folder", "another database"])
def test_where_there_is_no_place_the_files_are_read(folder: Path, state: Path, obstacle: str) -> None:
    right = answers(opened(folder, cache_mb=0))
    if obstacle == "a file where the folder would be":
        state.write_text("")
    else:
        same(folder)
        path = index_of(state)
        path.unlink()
        if obstacle == "a folder":
            path.mkdir()
        else:
            with closing(sqlite3.connect(path)) as database:
                database.execute("CREATE TABLE theirs (x)")
                database.commit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answers(opened(folder)) == right
    if obstacle == "another database":
        with closing(sqlite3.connect(index_of(state))) as database:
            assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_one_that_is_held_is_not_waited_for(folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index, "_LOCK_TIMEOUT_S", 0.01)
    right = same(folder)
    with closing(sqlite3.connect(index_of(state), isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert answers(opened(folder)) == right


def test_it_does_not_grow_without_end(folder: Path, state: Path) -> None:
    for number in range(40):
        store = opened(folder, cache_mb=0.004)
        store.count_runs(RunQuery(filter=parse_filter(f"metrics.m > {number} AND params.lr != 'x' AND name != 'y'")))
        store.best_runs(BestQuery("m", aggregate=AGGREGATES[number % 5]))
        with closing(sqlite3.connect(index_of(state))) as database:
            sizes = database.execute("SELECT length(runs) + length(signatures) + length(said) FROM columns").fetchall()
        assert 0 < sum(size for (size,) in sizes) <= 4000
    assert index_of(state).stat().st_size < 40_000


def test_many_ask_while_one_writes(folder: Path) -> None:
    done = threading.Event()

    def ask() -> int:
        asked = 0
        while not done.is_set() or not asked:
            store = opened(folder)
            store.best_runs(BestQuery("m", tally=True))
            assert len(list(store.search_runs(RunQuery(filter=parse_filter("metrics.m > 0"))))) == RUNS - 1
            asked += 1
        return asked

    with ThreadPoolExecutor(6) as pool:
        answered = [pool.submit(ask) for _ in range(6)]
        for step in range(1, 30):
            with (folder / "0" / run_id(2) / "metrics" / "m").open("a") as file:
                file.write(f"{NOON} {step} {step}\n")
            time.sleep(0.01)
        done.set()
        assert all(one.result() for one in answered)
    same(folder)
