"""After whatever has been done to the files, the index says what one says that is made from nothing."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from folders_of_runs import ids_of, made_anew, tables_of, write_run
from pandas.testing import assert_frame_equal

from agentnn.sdk.project_frame import load_frame
from agentnn.stores.toml.index import scanning
from agentnn.stores.toml.index.index import Index

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = [
    "lr = 0.1\n", "lr = 0.2\n", "lr = 1\n", 'lr = "x"\n', "", "model = { name = 'CNN' }\nlr = 0.1\n", "loss = 1\n",
    "broken = = 1\n", "[_meta]\ncreated_at = 2025-01-01T00:00:00Z\nname = 'n'\n[_meta.tags]\nteam = 'a'\n",
    "[_meta]\ncreated_at = 2024-01-01T00:00:00Z\nparent_run_id = 'a'\nlifecycle_stage = 'deleted'\n",
    "a = { b = 1 }\n'a.b' = 2\n", "[[_meta.datasets]]\nname = 'd'\ndigest = '1'\n",
]  # fmt: skip
METRICS = ["loss = 0.1\n", "loss = 0.2\n", "loss = nan\n", "acc = [1]\n", "acc = inf\nloss = 2\n", "broken", ""]
RUNS = [f"{project}/{run}" for project in "pqs" for run in "abcd"]


class Edits:
    """Changes files as people and programs do, from a seed."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base = base
        self.random = random.Random(seed)

    def one(self) -> None:
        """Do one thing to one run."""
        act = self.random.choice(
            [self.write, self.write, self.write, self.in_place, self.replace, self.delete, self.move, self.project]
            + [self.drop, self.log, self.exchange, self.odd]
        )
        act(self.base / self.random.choice(RUNS))

    def write(self, run: Path) -> None:
        name = run.relative_to(self.base).as_posix()
        config = run / "config.toml"
        if config.is_file() or not config.exists():
            write_run(self.base, name, self.random.choice(CONFIGS), self.random.choice([None, *METRICS]))

    def in_place(self, run: Path) -> None:
        file = run / self.random.choice(["config.toml", "metrics.toml"])
        if file.is_file():
            before = file.stat()
            with file.open("r+") as opened:
                opened.write(opened.read().translate(str.maketrans("12", "21")))
            file.write_text(file.read_text()[: before.st_size])
            if self.random.random() < 0.5:
                os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    def replace(self, run: Path) -> None:
        if (run / "metrics.toml").is_file():
            (run / "new").write_text(self.random.choice(METRICS))
            (run / "new").replace(run / "metrics.toml")

    def delete(self, run: Path) -> None:
        shutil.rmtree(run if self.random.random() < 0.8 else run.parent, ignore_errors=True)

    def drop(self, run: Path) -> None:
        file = run / self.random.choice(["config.toml", "metrics.toml"])
        if file.is_file():
            file.unlink()

    def move(self, run: Path) -> None:
        target = self.base / self.random.choice(RUNS)
        if run.is_dir() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            run.rename(target)

    def exchange(self, run: Path) -> None:
        other = self.base / self.random.choice(RUNS)
        if run.is_dir() and other.is_dir() and run != other:
            run.rename(self.base / ".between")
            other.rename(run)
            (self.base / ".between").rename(other)

    def project(self, run: Path) -> None:
        if run.parent.is_dir():
            texts = ["name = 'x'\n", "name = 'y'\n[tags]\nk = 'v'\n", "lifecycle_stage = 'deleted'\n", "broken", None]
            text = self.random.choice(texts)
            file = run.parent / "project.toml"
            file.unlink(missing_ok=True) if text is None else file.write_text(text)

    def log(self, run: Path) -> None:
        if run.is_dir():
            step = self.random.randrange(5)
            with (run / "history.jsonl").open("a") as file:
                file.write(f'{{"step": {step}, "time": {step}, "metrics": {{"loss": 0.5}}}}\n')

    def odd(self, run: Path) -> None:
        if not run.exists():
            kind = self.random.randrange(3)
            run.mkdir(parents=True)
            if kind == 0:
                (run / "config.toml").mkdir()
            elif kind == 1:
                (run / "config.toml").symlink_to("nowhere")
            else:
                os.mkfifo(run / "config.toml")


@pytest.mark.parametrize("seed", range(6))
def test_after_any_edits_it_is_as_if_made_anew(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "UNSETTLED_NS", 40_000_000)
    warnings.simplefilter("ignore")
    base = tmp_path / "base"
    base.mkdir()
    edits = Edits(base, seed)
    for _ in range(25):
        for _ in range(edits.random.randrange(1, 8)):
            edits.one()
        if edits.random.random() < 0.4:
            time.sleep(0.06)
        check(base)


def check(base: Path) -> None:
    index = Index(base)
    unreadable = set(index.refresh(histories=True))
    frame, of_frame = load_frame(base)
    expected, expected_frame, expected_unreadable = made_anew(base)
    if index.path.exists():
        assert tables_of(index.path, "metrics") == expected
    assert {*unreadable, *of_frame} == expected_unreadable
    assert_frame_equal(frame, expected_frame, check_exact=True)


# -- several processes ------------------------------------------------------------------------------

REFRESHING = """
import sys, time
from pathlib import Path
from agentnn.sdk.project_frame import load_frame
from agentnn.stores.toml.index.index import Index
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase
base, end = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
rounds = 0
while time.monotonic() < end or rounds < 3:
    index = Index(base)
    assert index.refresh() == ()
    database = ReadOnlyDatabase(index.path)
    rows = database.rows(
        "SELECT r.run_uuid, (SELECT count(*) FROM params p WHERE p.run_uuid = r.run_uuid), "
        "(SELECT count(*) FROM latest_metrics m WHERE m.run_uuid = r.run_uuid) FROM runs r"
    )
    assert all(params == 2 and metrics == 2 for _, params, metrics in rows), rows
    database.close()
    frame, unreadable = load_frame(base)
    assert unreadable == () and not frame.isna().any().any() and frame.run_id.is_unique
    assert (frame.a == frame.b).all() and (frame.x == frame.y).all()
    rounds += 1
print(rounds)
"""


def test_many_processes_refresh_while_runs_are_written(tmp_path: Path) -> None:
    base = tmp_path / "base"
    put(base, 0)
    four = [
        subprocess.Popen([sys.executable, "-c", REFRESHING, str(base), "4"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    number = 0
    while any(process.poll() is None for process in four):
        number += 1
        put(base, number % 60)
        time.sleep(0.002)
    assert [process.wait() for process in four] == [0] * 4
    assert sorted(one.name for one in base.iterdir()) == [".agentnn-index.sqlite", "p"]
    index = Index(base)
    index.refresh()
    assert len(ids_of(index.path)) == len(list((base / "p").iterdir()))
    check(base)


def put(base: Path, number: int) -> None:
    """Write a run whose files are never seen by half."""
    folder = base / "p" / f"r{number}"
    folder.mkdir(parents=True, exist_ok=True)
    value = random.random()
    texts: dict[str, Any] = {
        "metrics.toml": f"x = {value}\ny = {value}\n",
        "config.toml": f"a = {value}\nb = {value}\n",
    }
    for name, text in texts.items():
        (folder / f".{name}").write_text(text)
        (folder / f".{name}").replace(folder / name)


def test_a_process_that_dies_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    for number in range(300):
        write_run(tmp_path / "base", f"p/r{number}")
    base = tmp_path / "base"
    code = (
        "import sys; from pathlib import Path; from agentnn.stores.toml.index.index import Index; "
        "Index(Path(sys.argv[1])).refresh()"
    )
    for delay in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4):
        process = subprocess.Popen([sys.executable, "-c", code, str(base)])
        time.sleep(delay)
        process.kill()
        process.wait()
        index = Index(base)
        assert index.refresh() == ()
        assert len(ids_of(index.path)) == 300
        assert sorted(one.name for one in base.iterdir()) == [".agentnn-index.sqlite", "p"]
        index.discard()
