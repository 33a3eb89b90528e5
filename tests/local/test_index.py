"""The index beside a folder of projects: it says what the files say, whatever has happened to them or to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from folders_of_runs import ids_of, tables_of, write_run

from agentnn.errors import StoreUnavailable
from agentnn.stores.toml.index import scanning
from agentnn.stores.toml.index.index import Index, Unreadable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> float:
    """How long after a change a file counts as settled here: shorter, so that tests need not wait two seconds."""
    monkeypatch.setattr(scanning, "UNSETTLED_NS", 40_000_000)
    return 0.06


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of runs that were opened."""
    from agentnn.stores.toml.index import reading as index_reading

    opened: list[str] = []
    real = index_reading.read_file

    def noting(base_dir: Path, path: str) -> object:
        opened.append(path)
        return real(base_dir, path)

    monkeypatch.setattr(index_reading, "read_file", noting)
    return opened


def metric(path: Path, run_id: str, key: str = "loss") -> float | None:
    rows = [row for row in tables_of(path)["latest_metrics"] if row[:2] == (run_id, key)]
    return rows[0][2] if rows else None


# -- what it has in it ------------------------------------------------------------------------------


def test_runs_are_rows_of_mlflows_tables(base: Path) -> None:
    write_run(
        base,
        "demo/a",
        'lr = 0.1\n[model]\nname = "CNN"\n[_meta]\nname = "first"\nstatus = "FAILED"\nuser = "ada"\n'
        "created_at = 2025-01-01T00:00:00Z\nended_at = 2025-01-01T00:01:00.5Z\n",
        'loss = 0.5\nnote = "fine"\n[val]\nacc = 1\n',
    )
    index = Index(base)
    assert index.refresh() == ()
    assert index.path == base / ".agentnn-index.sqlite"
    tables = tables_of(index.path)
    assert tables["experiments"] == [("demo", "demo", str(base / "demo"), "active", None, None)]
    assert tables["runs"] == [
        ("a", "first", "ada", "FAILED", 1735689600000, 1735689660500, "active", str(base / "demo/a"), "demo")
    ]
    assert tables["params"] == [("a", "lr", "0.1"), ("a", "model.name", "CNN")]
    assert tables["latest_metrics"] == [("a", "loss", 0.5, 0), ("a", "val.acc", 1.0, 0)]
    assert ("a", "metrics.note", "fine") in tables["tags"]


def test_values_that_are_not_finite_are_kept_as_mlflow_keeps_them(base: Path) -> None:
    write_run(base, "p/r", "", "nan = nan\nup = inf\ndown = -inf\nhuge = 123456789012345678901234567890\n")
    index = Index(base)
    index.refresh()
    rows = {key: (value, flag) for _, key, value, flag in tables_of(index.path)["latest_metrics"]}
    largest = 1.7976931348623157e308
    assert rows == {"nan": (0.0, 1), "up": (largest, 0), "down": (-largest, 0), "huge": (1.2345678901234568e29, 0)}


def test_a_run_id_that_two_projects_have_is_told_apart(base: Path) -> None:
    write_run(base, "p/same", '[_meta]\nparent_run_id = "own"\n')
    write_run(base, "p/own")
    index = Index(base)
    index.refresh()
    assert ids_of(index.path) == ["own", "same"]
    write_run(base, "q/same", '[_meta]\nparent_run_id = "same"\n')
    index.refresh()
    assert ids_of(index.path) == ["own", "p/same", "q/same"]
    tags = tables_of(index.path)["tags"]
    assert ("q/same", "mlflow.parentRunId", "q/same") in tags
    assert ("p/same", "mlflow.parentRunId", "own") in tags
    shutil.rmtree(base / "p" / "same")
    index.refresh()
    assert ids_of(index.path) == ["own", "same"]
    assert metric(index.path, "same") == 0.5


def test_what_a_project_says_of_itself(base: Path) -> None:
    write_run(base, "p/r")
    text = 'name = "A / B"\nlifecycle_stage = "deleted"\ncreated_at = 2025-01-01T00:00:00Z\n[tags]\nteam = "x"\n'
    (base / "p" / "project.toml").write_text(text)
    index = Index(base)
    index.refresh()
    assert tables_of(index.path)["experiments"] == [("p", "A / B", str(base / "p"), "deleted", 1735689600000, None)]
    assert tables_of(index.path)["experiment_tags"] == [("p", "team", "x")]
    (base / "p" / "project.toml").unlink()
    index.refresh()
    assert tables_of(index.path)["experiments"] == [("p", "p", str(base / "p"), "active", None, None)]
    assert tables_of(index.path)["experiment_tags"] == []


def test_histories_are_only_there_when_they_were_asked_for(base: Path) -> None:
    folder = write_run(base, "p/r", metrics="loss = 0.25\nacc = 0.5\n")
    lines = [
        '{"step": 1, "time": 2000, "metrics": {"loss": 0.25}}',
        '{"step": 0, "time": 1000, "metrics": {"loss": "NaN"}}',
    ]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    index = Index(base)
    index.refresh()
    assert tables_of(index.path, "metrics")["metrics"] == []
    index.refresh(histories=True)
    written = (folder / "metrics.toml").stat().st_mtime_ns // 1_000_000
    assert sorted(tables_of(index.path, "metrics")["metrics"]) == [
        ("r", "acc", 0.5, 0, 0, written),
        ("r", "loss", 0.0, 1, 0, 1000),
        ("r", "loss", 0.25, 0, 1, 2000),
    ]
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"step": 2, "time": 3000, "metrics": {"loss": "-Infinity"}}\n')
    index.refresh(histories=True)
    assert len(tables_of(index.path, "metrics")["metrics"]) == 4


def test_data_sets_are_inputs(base: Path) -> None:
    data = '[[_meta.datasets]]\nname = "prices"\ndigest = "d1"\ntags = { "mlflow.data.context" = "training" }\n'
    write_run(base, "p/a", data)
    write_run(base, "p/b", data)
    index = Index(base)
    index.refresh()
    tables = tables_of(index.path)
    assert [row[1:] for row in tables["datasets"]] == [("prices", "d1")]
    assert sorted(row[3] for row in tables["inputs"]) == ["a", "b"]
    assert {row[1:] for row in tables["input_tags"]} == {("mlflow.data.context", "training")}
    for run in ("a", "b"):
        write_run(base, f"p/{run}")
    index.refresh()
    assert not any(tables_of(index.path)[name] for name in ("datasets", "inputs", "input_tags"))


def test_hidden_folders_and_folders_without_a_config_are_no_runs(base: Path) -> None:
    write_run(base, "p/r")
    write_run(base, ".hidden/r2")
    write_run(base, "p/.hidden")
    (base / "p" / "empty").mkdir()
    (base / "notes.txt").write_text("x")
    (base / "p" / "notes.txt").write_text("x")
    index = Index(base)
    assert index.refresh() == ()
    assert ids_of(index.path) == ["r"]


def test_odd_names_are_names(base: Path) -> None:
    names = ["ü %2F", "a'b\"c", "-rf", "x\ny", "a.b", "名前", "%", "_", "con fig"]
    for name in names:
        write_run(base, f"{name}/{name} run")
    write_run(base, "\udcff\udcfe/no text")
    index = Index(base)
    index.refresh()
    assert sorted(ids_of(index.path)) == sorted(f"{name} run" for name in names)


def test_links_are_followed_and_loops_end(base: Path, tmp_path: Path) -> None:
    outside = write_run(tmp_path / "elsewhere", "q/far")
    write_run(base, "p/r")
    (base / "linked").symlink_to(outside.parent)
    (base / "p" / "alias").symlink_to(outside)
    (base / "loop").symlink_to(base)
    (base / "self").symlink_to(base / "self")
    (base / "p" / "again").symlink_to(base / "p")
    (base / "dangling").symlink_to(base / "nowhere")
    index = Index(base)
    assert index.refresh() == ()
    assert ids_of(index.path) == ["alias", "far", "r"]


# -- seeing what has changed ------------------------------------------------------------------------


def test_nothing_is_read_when_nothing_has_changed(base: Path, settled: float, read: list[str]) -> None:
    for name in ("p/a", "p/b", "q/c"):
        write_run(base, name)
    time.sleep(settled)
    Index(base).refresh()
    assert len(read) == 6
    before = (base / ".agentnn-index.sqlite").stat()
    read.clear()
    Index(base).refresh()
    Index(base).refresh()
    assert read == []
    after = (base / ".agentnn-index.sqlite").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_only_what_has_changed_is_read(base: Path, settled: float, read: list[str]) -> None:
    for name in ("p/a", "p/b", "q/c"):
        write_run(base, name)
    time.sleep(settled)
    index = Index(base)
    index.refresh()
    read.clear()
    write_run(base, "p/b", metrics="loss = 0.25\n")
    time.sleep(settled)
    index.refresh()
    assert sorted(read) == ["p/b/config.toml", "p/b/metrics.toml"]
    assert metric(index.path, "b") == 0.25


def test_a_rewrite_in_place_of_the_same_size_and_time_is_seen(base: Path, settled: float) -> None:
    file = write_run(base, "p/r", metrics="loss = 0.5\n") / "metrics.toml"
    time.sleep(settled)
    index = Index(base)
    index.refresh()
    status = file.stat()
    with file.open("r+") as opened:
        opened.write("loss = 0.7\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns, file.stat().st_ino) == (
        status.st_size, status.st_mtime_ns, status.st_ino,
    )  # fmt: skip
    index.refresh()
    assert metric(index.path, "r") == 0.7


def test_rewrites_faster_than_the_clock_of_the_file_system_are_seen(base: Path) -> None:
    """Two writes in the same tick leave the same times; a file that was just written is therefore read again."""
    file = write_run(base, "p/r", metrics="loss = 0.00\n") / "metrics.toml"
    index = Index(base)
    for number in range(30):
        with file.open("r+") as opened:
            opened.write(f"loss = 0.{number:02}\n")
        index.refresh()
        assert metric(index.path, "r") == number / 100


def test_a_clock_that_goes_back_hides_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from a clock that is an hour behind, all files come from the future: none is trusted."""
    file = write_run(base, "p/r", metrics="loss = 0.1\n") / "metrics.toml"
    real = time.time_ns
    monkeypatch.setattr(scanning.time, "time_ns", lambda: real() - 3_600_000_000_000)
    index = Index(base)
    for number in range(2, 6):
        index.refresh()
        with file.open("r+") as opened:
            opened.write(f"loss = 0.{number}\n")
        index.refresh()
        assert metric(index.path, "r") == number / 10


def test_replaced_renamed_moved_and_deleted(base: Path, settled: float) -> None:
    for name in ("p/a", "p/b", "q/c"):
        write_run(base, name)
    time.sleep(settled)
    index = Index(base)
    index.refresh()
    other = base / "p" / "a" / "new"
    other.write_text("loss = 0.9\n")
    os.utime(other, ns=(0, (base / "p/a/metrics.toml").stat().st_mtime_ns))
    other.replace(base / "p" / "a" / "metrics.toml")
    (base / "p" / "b").rename(base / "q" / "b2")
    (base / "q" / "c" / "metrics.toml").unlink()
    index.refresh()
    assert {row[0]: row[8] for row in tables_of(index.path)["runs"]} == {"a": "p", "b2": "q", "c": "q"}
    assert [metric(index.path, run) for run in ("a", "b2", "c")] == [0.9, 0.5, None]
    (base / "q").rename(base / "z")
    index.refresh()
    assert {row[0]: row[8] for row in tables_of(index.path)["runs"]} == {"a": "p", "b2": "z", "c": "z"}
    assert [row[0] for row in tables_of(index.path)["experiments"]] == ["p", "z"]
    shutil.rmtree(base / "z")
    shutil.rmtree(base / "p")
    index.refresh()
    assert not any(tables_of(index.path).values())


def test_two_runs_that_change_places_are_seen(base: Path, settled: float) -> None:
    write_run(base, "p/a", metrics="loss = 0.1\n")
    write_run(base, "p/b", metrics="loss = 0.2\n")
    time.sleep(settled)
    index = Index(base)
    index.refresh()
    (base / "p" / "a").rename(base / "p" / "t")
    (base / "p" / "b").rename(base / "p" / "a")
    (base / "p" / "t").rename(base / "p" / "b")
    index.refresh()
    assert [metric(index.path, run) for run in ("a", "b")] == [0.2, 0.1]


def test_a_folder_that_was_moved_names_its_runs_anew(
    base: Path, tmp_path: Path, settled: float, read: list[str]
) -> None:
    write_run(base, "p/r")
    time.sleep(settled)
    Index(base).refresh()
    read.clear()
    moved = tmp_path / "moved"
    base.rename(moved)
    index = Index(moved)
    index.refresh()
    assert read == []
    assert [row[7] for row in tables_of(index.path)["runs"]] == [str(moved / "p" / "r")]
    assert [row[2] for row in tables_of(index.path)["experiments"]] == [str(moved / "p")]


def test_an_index_that_was_copied_with_its_folder_is_not_believed(base: Path, tmp_path: Path, settled: float) -> None:
    file = write_run(base, "p/r") / "metrics.toml"
    time.sleep(settled)
    Index(base).refresh()
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    with (copy / "p" / "r" / "metrics.toml").open("r+") as opened:
        opened.write("loss = 0.7\n")
    shutil.copystat(file, copy / "p" / "r" / "metrics.toml")
    index = Index(copy)
    index.refresh()
    assert metric(index.path, "r") == 0.7


# -- the file itself --------------------------------------------------------------------------------


def test_reading_leaves_one_private_file(base: Path) -> None:
    write_run(base, "p/r")
    mask = os.umask(0)
    try:
        Index(base).refresh(histories=True)
    finally:
        os.umask(mask)
    assert sorted(one.name for one in base.iterdir()) == [".agentnn-index.sqlite", "p"]
    assert stat.S_IMODE((base / ".agentnn-index.sqlite").stat().st_mode) == 0o600
    assert sorted(one.name for one in (base / "p" / "r").iterdir()) == ["config.toml", "metrics.toml"]


def test_where_there_is_nothing_nothing_is_made(base: Path, tmp_path: Path) -> None:
    (base / "empty").mkdir()
    index = Index(base)
    assert index.refresh() == ()
    assert [one.name for one in base.iterdir()] == ["empty"]
    assert not index.path.exists()
    with pytest.raises(StoreUnavailable, match="there is no store at"):
        Index(tmp_path / "missing").refresh()
    assert not (tmp_path / "missing").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        Index(tmp_path / "file").refresh()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"garbage" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096)),
        lambda path: _run_sql(path, "PRAGMA user_version = 999"),
        lambda path: _run_sql(path, "DROP TABLE params"),
        lambda path: _run_sql(path, "DELETE FROM seen"),
        lambda path: path.with_name(path.name + "-journal").write_bytes(b"left behind"),
    ],
    ids=[
        "empty",
        "garbage",
        "cut",
        "cut short",
        "overwritten",
        "another format",
        "a table less",
        "forgetful",
        "journal",
    ],
)
def test_a_damaged_index_is_made_again(base: Path, damage: object) -> None:
    for number in range(30):
        write_run(base, f"p/r{number}", "".join(f"key{n} = {n}\n" for n in range(20)))
    index = Index(base)
    index.refresh()
    expected = tables_of(index.path)
    damage(index.path)  # type: ignore[operator]
    write_run(base, "p/r0", "".join(f"key{n} = {n}\n" for n in range(20)))
    again = Index(base)
    assert again.refresh() == ()
    before, after = (
        {table: [row[:4] + row[5:] for row in rows] if table == "runs" else rows for table, rows in one.items()}
        for one in (expected, tables_of(again.path))
    )
    assert before == after  # but for when r0 was written
    assert sorted(one.name for one in base.iterdir()) == [".agentnn-index.sqlite", "p"]


def _run_sql(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def test_another_programs_database_stays_as_it_is(base: Path, tmp_path: Path) -> None:
    write_run(base, "p/r")
    theirs = base / ".agentnn-index.sqlite"
    _run_sql(theirs, "CREATE TABLE theirs (x)")
    before = theirs.read_bytes()
    index = Index(base)
    index.refresh()
    assert theirs.read_bytes() == before
    assert index.path != theirs
    assert ids_of(index.path) == ["r"]


def test_a_directory_with_the_indexs_name_is_left_alone(base: Path) -> None:
    write_run(base, "p/r")
    (base / ".agentnn-index.sqlite").mkdir()
    index = Index(base)
    index.refresh()
    assert ids_of(index.path) == ["r"]
    assert (base / ".agentnn-index.sqlite").is_dir()


def test_discarding_makes_it_new(base: Path) -> None:
    write_run(base, "p/r")
    index = Index(base)
    index.refresh()
    index.discard()
    assert not index.path.exists()
    index.refresh()
    assert ids_of(index.path) == ["r"]


def test_unreadable_files_are_named(base: Path) -> None:
    write_run(base, "p/good")
    write_run(base, "p/bad", config="lr = = 1\n")
    index = Index(base)
    [bad] = index.refresh()
    assert isinstance(bad, Unreadable)
    assert bad.path == base / "p" / "bad" / "config.toml"
    assert "line 1" in bad.problem
    assert index.refresh() == (bad,)
    write_run(base, "p/bad")
    assert index.refresh() == ()
    assert ids_of(index.path) == ["bad", "good"]
