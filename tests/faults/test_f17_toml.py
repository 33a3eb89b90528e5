"""F17: a damaged file among TOML runs. The good runs are there, the bad one is named, and nothing crashes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli.support import in_process
from folders_of_runs import ids_of, write_run

from agentnn.sdk.project_frame import load_frame
from agentnn.stores.toml.index.index import Index

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
DAMAGES = {
    "no TOML": b"lr = = 1\n",
    "cut": b'[model]\nname = "CN',
    "twice": b"lr = 1\nlr = 2\n",
    "no text": b"lr = '\xff\xfe'\n",
    "binary": bytes(range(256)) * 4,
    "zeros": b"\0" * 100,
    "deep": b"a = " + b"[" * 5000,
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("p/good", "p/bad", "q/other"):
        write_run(tmp_path / "base", name)
    return tmp_path / "base"


@pytest.mark.parametrize("file", ["config.toml", "metrics.toml"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_good_runs_are_there_and_the_bad_one_is_named(base: Path, file: str, damage: bytes) -> None:
    bad = base / "p" / "bad" / file
    bad.write_bytes(damage)
    index = Index(base)
    for _ in range(2):
        [unreadable] = index.refresh()
        assert unreadable.path == bad
        assert f"p/bad/{file}" in unreadable.problem
        assert ids_of(index.path) == ["good", "other"]
        frame, again = load_frame(base)
        assert again == (unreadable,)
        assert sorted(frame["run_id"]) == ["good", "other"]
    assert bad.read_bytes() == damage
    write_run(base, "p/bad")
    assert index.refresh() == ()
    assert ids_of(index.path) == ["bad", "good", "other"]
    assert len(load_frame(base)[0]) == 3


def test_the_command_line_names_it_and_shows_the_rest(base: Path) -> None:
    (base / "p" / "bad" / "metrics.toml").write_text("loss = \n")
    ran = in_process("--tracking-uri", f"toml:{base}", "run", "list", "-o", "id")
    assert sorted(ran.stdout.split()) == ["good", "other"]
    assert "p/bad/metrics.toml" in ran.stderr
    assert ran.returncode == 0


def test_a_damaged_project_file_costs_only_what_it_says(base: Path) -> None:
    (base / "p" / "project.toml").write_text("name = \n")
    index = Index(base)
    [unreadable] = index.refresh()
    assert unreadable.path == base / "p" / "project.toml"
    assert ids_of(index.path) == ["bad", "good", "other"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "loop"])
def test_what_is_no_file_is_no_config(base: Path, kind: str) -> None:
    config = base / "p" / "bad" / "config.toml"
    config.unlink()
    if kind == "folder":
        config.mkdir()
    elif kind == "pipe":
        os.mkfifo(config)
    else:
        config.symlink_to("nowhere" if kind == "dangling link" else config)
    index = Index(base)
    named = [one.path for one in index.refresh()]
    assert named == ([config] if kind in ("folder", "pipe") else [])
    assert ids_of(index.path) == ["good", "other"]


def as_nobody(base: Path, code: str) -> str:
    """What a program prints that a user runs to whom permissions apply; root ignores them."""
    become = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})" if os.geteuid() == 0 else ""
    head = (
        "import os, sys, sqlite3, json, pandas, rtoml, tomllib, pyarrow; from pathlib import Path\n"
        "from agentnn.stores.toml.index import index, rows, runs; from agentnn.stores.toml.text import documents\n"
        "from agentnn.sdk.project_frame import load_frame\n"
        f"base = Path({str(base)!r}); Index = index.Index\n{become}\n"
    )
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def open_base(base: Path) -> Path:
    """The folder, where every user may read it."""
    for one in (base, *base.parents):
        if one.name.startswith("pytest-") or "pytest" in one.as_posix():
            one.chmod(0o755)
    return base


def test_a_file_that_may_not_be_read_is_named(open_base: Path) -> None:
    (open_base / "p" / "bad" / "config.toml").chmod(0)
    code = "print([(one.path.relative_to(base).as_posix(), one.problem) for one in load_frame(base)[1]])"
    expected = [("p/bad/config.toml", "p/bad/config.toml can't be read: Permission denied")]
    assert as_nobody(open_base, code) == str(expected)


def test_a_run_that_may_not_be_entered_is_named(open_base: Path) -> None:
    folder = open_base / "p" / "bad"
    folder.chmod(0)
    (open_base / "q").chmod(0)
    try:
        code = "frame, bad = load_frame(base); print(list(frame.run_id), [str(one.path) for one in bad])"
        said = as_nobody(open_base, code)
    finally:
        folder.chmod(0o755)
        (open_base / "q").chmod(0o755)
    assert said == str(["good"]) + " " + str([str(folder), str(open_base / "q")])


def test_where_nothing_may_be_written_the_index_lives_elsewhere(open_base: Path, tmp_path: Path) -> None:
    open_base.chmod(0o555)
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    code = (
        f"os.environ['AGENTNN_STATE_DIR'] = {str(state)!r}\n"
        "for _ in range(2):\n    one = Index(base); one.refresh(); print(one.path)\nprint(len(load_frame(base)[0]))\n"
    )
    *paths, rows = as_nobody(open_base, code).split()
    assert rows == "3"
    assert len(set(paths)) == 1
    assert paths[0].startswith(f"{state}/indexes/")
    assert sorted(one.name for one in open_base.iterdir()) == ["p", "q"]


def test_a_frame_needs_no_place_for_an_index(open_base: Path, tmp_path: Path) -> None:
    open_base.chmod(0o555)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    code = f"os.environ['AGENTNN_STATE_DIR'] = {str(closed / 'x')!r}\nprint(len(load_frame(base)[0]))\n"
    assert as_nobody(open_base, code) == "3"
