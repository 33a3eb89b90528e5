"""The code of a commit in a folder of its own, for as long as it is needed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError, NotFoundError
from agentnn.tracking.capture.git import Git, GitFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "agentnn-code-"
_CHECKOUT_TIMEOUT_S = 300.0
_SHORT = 12


def has_commit(folder: Path, commit: str) -> bool:
    """Whether the repository of a folder holds a commit."""
    try:
        Git(folder).ask("cat-file", "-e", f"{commit}^{{commit}}")
    except (GitFailed, OSError):
        return False
    return True


@contextmanager
def checked_out(root: Path, commit: str, diff: str = "") -> Iterator[Path]:
    """A temporary work tree of a repository at a commit; it is gone afterwards, whatever happens.

    Neither the user's work tree nor his branches change. What a process that was killed has left is removed by the
    next one.

    Args:
        root: A folder of the repository.
        commit: The commit.
        diff: Changes to make to it.

    Raises:
        NotFoundError: git can't check it out.
        CorruptDataError: The changes don't fit the commit.
    """
    remove_left_over(root)
    scratch = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    tree = scratch / "tree"
    try:
        _ask(
            root, "worktree", "add", "--quiet", "--detach", str(tree), commit, failed=f"{commit[:_SHORT]} was not made"
        )
        if diff:
            (scratch / "changes.diff").write_text(diff, encoding="utf-8", errors="surrogateescape")
            try:
                Git(tree).ask("apply", "--whitespace=nowarn", str(scratch / "changes.diff"))
            except GitFailed as error:
                raise CorruptDataError(
                    f"the changes that were recorded don't fit the commit {commit[:_SHORT]}",
                    hint="secrets were struck out of them, or they were cut; --here takes today's code",
                ) from error
        yield tree
    finally:
        _remove(root, tree)
        shutil.rmtree(scratch, ignore_errors=True)


def remove_left_over(root: Path) -> None:
    """Remove the work trees of processes that were killed."""
    with suppress(GitFailed, OSError):
        listed, _ = Git(root).ask("worktree", "list", "--porcelain")
        for line in listed.splitlines():
            tree = Path(line.removeprefix("worktree "))
            name = tree.parent.name
            if line.startswith("worktree ") and name.startswith(_PREFIX) and not _is_alive(name):
                _remove(root, tree)
                shutil.rmtree(tree.parent, ignore_errors=True)


def _remove(root: Path, tree: Path) -> None:
    with suppress(GitFailed, OSError):
        Git(root).ask("worktree", "remove", "--force", str(tree))
    shutil.rmtree(tree, ignore_errors=True)
    with suppress(GitFailed, OSError):
        Git(root).ask("worktree", "prune")


def _is_alive(name: str) -> bool:
    pid = name.removeprefix(_PREFIX).partition("-")[0]
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def _ask(root: Path, *arguments: str, failed: str) -> None:
    try:
        Git(root, _CHECKOUT_TIMEOUT_S).ask(*arguments)
    except (GitFailed, OSError) as error:
        raise NotFoundError(
            f"a work tree of the commit {failed}: {error}",
            hint="check with git worktree list; --here takes today's code",
        ) from error
