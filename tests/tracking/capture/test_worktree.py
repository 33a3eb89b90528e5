"""A commit in a folder of its own: as it was, and gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentnn.errors import CorruptDataError, NotFoundError
from agentnn.tracking.capture.worktree import checked_out, has_commit, remove_left_over


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of one file, and a change that is not committed."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    for text in ("first\n", "second\n"):
        (root / "code.py").write_text(text)
        git(root, "add", "code.py")
        git(root, "commit", "--quiet", "-m", text.strip())
    (root / "code.py").write_text("third\n")
    (root / "untracked.txt").write_text("mine\n")
    return root


def state(root: Path) -> tuple[str, ...]:
    return git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD"), git(root, "worktree", "list")


def test_the_code_is_that_of_the_commit_and_the_users_stays(repository: Path):
    before = state(repository)
    commit = git(repository, "rev-parse", "HEAD~1")
    with checked_out(repository, commit) as tree:
        assert (tree / "code.py").read_text() == "first\n"
        assert not (tree / "untracked.txt").exists()
        (tree / "code.py").write_text("spoilt\n")
    assert not tree.parent.exists()
    assert state(repository) == before
    assert (repository / "code.py").read_text() == "third\n"


def test_it_is_gone_after_an_error_too(repository: Path):
    before = state(repository)
    with pytest.raises(RuntimeError, match="in training"), checked_out(repository, "HEAD") as tree:
        raise RuntimeError("in training")
    assert not tree.parent.exists()
    assert state(repository) == before


def test_changes_are_made_to_it(repository: Path):
    diff = git(repository, "diff", "HEAD") + "\n"
    with checked_out(repository, "HEAD", diff) as tree:
        assert (tree / "code.py").read_text() == "third\n"
    with (
        pytest.raises(CorruptDataError, match="don't fit the commit"),
        checked_out(repository, git(repository, "rev-parse", "HEAD~1"), diff),
    ):
        pass
    outside = diff.replace("b/code.py", "b/../../outside.py").replace("a/code.py", "a/../../outside.py")
    with pytest.raises(CorruptDataError, match="don't fit"), checked_out(repository, "HEAD", outside):
        pass


def test_no_hook_of_the_repository_runs(repository: Path, tmp_path: Path):
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    with checked_out(repository, "HEAD"):
        pass
    assert not (tmp_path / "ran").exists()


def test_what_a_killed_process_left_is_removed_by_the_next(repository: Path):
    before = state(repository)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from agentnn.tracking.capture.worktree import checked_out\n"
        "with checked_out(Path(sys.argv[1]), 'HEAD') as tree:\n"
        "    print(tree, flush=True)\n"
        "    os._exit(9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(repository)], capture_output=True, text=True, check=False
    )
    tree = Path(killed.stdout.strip())
    assert tree.is_dir()
    assert state(repository) != before
    with checked_out(repository, "HEAD") as mine:
        remove_left_over(repository)
        assert mine.is_dir(), "that of a living process stays"
    assert not tree.parent.exists()
    assert state(repository) == before


def test_what_is_not_there_is_said(repository: Path, tmp_path: Path):
    commit = git(repository, "rev-parse", "HEAD")
    assert has_commit(repository, commit)
    assert not has_commit(repository, "0" * 40)
    assert not has_commit(tmp_path, commit)
    with pytest.raises(NotFoundError, match="was not made"), checked_out(repository, "0" * 40):
        pass
