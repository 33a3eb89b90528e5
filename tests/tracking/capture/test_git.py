"""The state of the code, beside what git itself says of the same repository."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from agentnn.tracking.capture import git
from agentnn.tracking.capture.git import GitFailed, code_folder, read_commit, read_diff, read_git

if TYPE_CHECKING:
    from pathlib import Path


def ask_git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, as the working directory."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "code"
    folder.mkdir()
    ask_git(folder, "init", "--quiet")
    (folder / "train.py").write_text("epochs = 1\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "data.txt").write_text("a\n")
    ask_git(folder, "add", ".")
    ask_git(folder, "commit", "--quiet", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


def test_a_clean_work_tree(repository: Path):
    ask_git(repository, "remote", "add", "origin", "https://ada:s3cr3t@example.org/net.git")
    state = read_git(repository / "sub")
    assert state is not None
    assert state.root == ask_git(repository, "rev-parse", "--show-toplevel")
    assert state.commit == ask_git(repository, "rev-parse", "HEAD")
    assert (state.branch, state.dirty, state.untracked) == ("main", False, ())
    assert state.remote == "https://***@example.org/net.git"
    assert read_commit(repository) == (state.commit, "main")
    assert read_diff(repository) == ("", False)


def test_changes_and_unknown_files_are_told_apart(repository: Path):
    (repository / "new ünknown.py").touch()
    state = read_git(repository)
    assert state is not None
    assert (state.dirty, state.untracked) == (False, ("new ünknown.py",))
    (repository / "train.py").write_text("epochs = 2\n")
    ask_git(repository, "add", "train.py")
    (repository / "sub" / "data.txt").write_text("b\n")
    state = read_git(repository)
    assert state is not None
    assert state.dirty
    diff, is_cut = read_diff(repository / "sub")
    assert not is_cut
    assert diff.strip() == ask_git(repository, "diff", "HEAD")
    assert "+epochs = 2" in diff
    assert "+b" in diff


def test_a_diff_is_cut_where_it_is_too_long(repository: Path):
    (repository / "train.py").write_text("".join(f"epochs = {number}\n" for number in range(10_000)))
    diff, is_cut = read_diff(repository, most_bytes=1000)
    assert is_cut
    assert len(diff) == 1000


def test_files_whose_names_say_that_they_hold_secrets_are_not_in_the_diff(repository: Path):
    names = (".env", ".env.local", "server.pem", "sub/id_rsa", "my_credentials.json", "SECRETS.yaml", "plain.txt")
    for name in names:
        (repository / name).write_text("before\n")
    ask_git(repository, "add", "--force", ".")
    ask_git(repository, "commit", "--quiet", "-m", "second")
    for name in names:
        (repository / name).write_text("after\n")
    diff, _ = read_diff(repository)
    assert [line for line in diff.splitlines() if line.startswith("diff")] == ["diff --git a/plain.txt b/plain.txt"]


def test_before_the_first_commit_and_off_any_branch(repository: Path, tmp_path: Path):
    ask_git(repository, "checkout", "--quiet", "--detach")
    state = read_git(repository)
    assert state is not None
    assert (state.branch, state.commit) == (None, ask_git(repository, "rev-parse", "HEAD"))
    assert read_commit(repository) == (state.commit, None)
    empty = tmp_path / "empty"
    empty.mkdir()
    ask_git(empty, "init", "--quiet")
    state = read_git(empty)
    assert state is not None
    assert (state.commit, state.branch, state.dirty) == (None, "main" if state.branch == "main" else "master", False)
    assert read_commit(empty) == (None, None)


def test_outside_of_a_repository_and_without_git_there_is_no_state(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outside = tmp_path / "outside"
    outside.mkdir()
    assert read_git(outside) is None
    assert read_commit(outside) == (None, None)
    monkeypatch.setenv("PATH", str(outside))
    assert read_git(repository) is None
    assert read_commit(repository) == (None, None)


def test_nothing_that_a_repository_brings_along_is_run(repository: Path, tmp_path: Path):
    witness = tmp_path / "witness"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {witness}\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py diff=own\n")
    for key in ("core.fsmonitor", "diff.external", "diff.own.textconv", "diff.own.command", "core.pager"):
        ask_git(repository, "config", key, str(program))
    (repository / "train.py").write_text("epochs = 3\n")
    state = read_git(repository)
    assert state is not None
    assert state.dirty
    assert "+epochs = 3" in read_diff(repository)[0]
    assert not witness.exists()


def test_a_git_that_hangs_is_ended_with_what_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nsleep 600 &\necho $! > child\nsleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(GitFailed, match="took longer"):
        read_git(tmp_path, timeout_s=2.0)
    assert time.monotonic() - started < 60
    child = int((tmp_path / "child").read_text())
    assert not git_runs(child)


def git_runs(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, encoding="utf-8", check=False
        )
        if state.stdout.strip() in ("", "Z"):
            return False
        time.sleep(0.05)
    return True


def test_the_code_is_that_of_the_script_where_git_knows_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = sys.modules["__main__"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "__file__", str(repository / "train.py"), raising=False)
    assert code_folder() == repository
    (repository / "unknown.py").touch()
    monkeypatch.setattr(main, "__file__", str(repository / "unknown.py"), raising=False)
    assert code_folder() == tmp_path
    assert git.code_folder() == tmp_path
