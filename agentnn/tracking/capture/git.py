"""The code that runs: commit, branch, what was changed since, as git itself says.

git is asked without anything that a repository could bring along: no pager, no external diff, no hook, no prompt.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 10.0
"""How long git may take for all answers together."""

MOST_DIFF_BYTES = 1 << 20
_MOST_STATUS_BYTES = 4 << 20
_MOST_UNTRACKED = 100
_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"),
    *("-c", "diff.external=", "--no-pager", "--no-optional-locks"),
)
_SECRET_FILES = (".env*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc")
_MORE_SECRET_FILES = (".pgpass", ".npmrc", ".pypirc", "*credential*", "*secret*")


@dataclass(frozen=True, slots=True)
class GitState:
    """A work tree.

    Attributes:
        root: The folder that holds it.
        commit: The commit's hash; ``None`` before the first one.
        branch: The branch; ``None`` where none is checked out.
        dirty: Whether a file under version control differs from the commit.
        remote: The address of ``origin`` without password; ``None`` without one.
        untracked: Files and folders that git neither knows nor ignores, at most 100.
    """

    root: str
    commit: str | None
    branch: str | None
    dirty: bool
    remote: str | None
    untracked: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "untracked": list(self.untracked)}


class GitFailed(Exception):
    """git was too slow, or answered with an error; the text says which."""


class Git:
    """Asks git about one folder, all answers within one limit of time.

    Args:
        folder: Any folder of a work tree.
        timeout_s: For all answers together.
    """

    def __init__(self, folder: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._folder = folder
        self._deadline = time.monotonic() + timeout_s

    def ask(self, *arguments: str, most_bytes: int = _MOST_STATUS_BYTES) -> tuple[str, bool]:
        """What git prints, and whether it was cut.

        Raises:
            GitFailed: It took too long, or failed.
            OSError: There is no git.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise GitFailed(f"git {arguments[0]} was not asked, the time was used up")
        process = subprocess.Popen(
            ["git", *_SAFE, *arguments],
            cwd=self._folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that what git has started ends with it
        )
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            _kill(process)

        timer = threading.Timer(left, give_up)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            data = process.stdout.read(most_bytes + 1)
            if len(data) > most_bytes:
                _kill(process)
            code = process.wait()
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
        if is_late.is_set():
            raise GitFailed(f"git {arguments[0]} took longer than {left:.0f} s")
        if code and len(data) <= most_bytes:
            raise GitFailed(f"git {arguments[0]} ended with {code}")
        return data[:most_bytes].decode("utf-8", errors="replace"), len(data) > most_bytes


def code_folder() -> Path:
    """Where the code lies: the script's folder where git knows the script, otherwise the working directory."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main and Path(main).is_file():
        script = Path(main).absolute()
        with suppress(GitFailed, OSError):
            Git(script.parent, 2.0).ask("ls-files", "--error-unmatch", "--", script.name)
            return script.parent
    return Path.cwd()


def read_git(folder: Path | None = None, *, timeout_s: float = TIMEOUT_S) -> GitState | None:
    """The state of the work tree of a folder; ``None`` where there is none, or no git.

    Args:
        folder: That of the code by default; see :func:`code_folder`.
        timeout_s: For all answers of git together.

    Raises:
        GitFailed: git took too long.
    """
    git = Git(folder or code_folder(), timeout_s)
    try:
        root, _ = git.ask("rev-parse", "--show-toplevel")
    except OSError:
        return None
    except GitFailed as error:
        if "ended with" in str(error):
            return None
        raise
    status, _ = git.ask("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal")
    try:
        remote = redact(git.ask("config", "--get", "remote.origin.url")[0].strip())
    except GitFailed:
        remote = ""
    return _state(root.rstrip("\n"), status.split("\0"), remote or None)


def read_commit(folder: Path | None = None, *, timeout_s: float = 2.0) -> tuple[str | None, str | None]:
    """Commit and branch alone, which cost nothing however large the work tree is."""
    git = Git(folder or code_folder(), timeout_s)
    try:
        commit = git.ask("rev-parse", "--verify", "HEAD")[0].strip()
        branch = git.ask("rev-parse", "--abbrev-ref", "HEAD")[0].strip()
    except (OSError, GitFailed):
        return None, None
    return commit, branch if branch != "HEAD" else None


def read_diff(folder: Path, *, timeout_s: float = TIMEOUT_S, most_bytes: int = MOST_DIFF_BYTES) -> tuple[str, bool]:
    """How the work tree differs from its commit, secrets included, and whether that was cut.

    Files whose names say that they hold secrets are left out, as is what is in files that are not text.

    Raises:
        GitFailed: git took too long, or there is no commit yet.
    """
    left_out = [f":(top,exclude,icase,glob)**/{name}" for name in (*_SECRET_FILES, *_MORE_SECRET_FILES)]
    options = (
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--submodule=short",
        "--src-prefix=a/",
        "--dst-prefix=b/",
    )
    return Git(folder, timeout_s).ask("diff", "HEAD", *options, "--", ":(top)", *left_out, most_bytes=most_bytes)


def _state(root: str, entries: Sequence[str], remote: str | None) -> GitState:
    told = dict(one[2:].split(" ", 1) for one in entries if one.startswith("# ") and " " in one[2:])
    commit, branch = told.get("branch.oid"), told.get("branch.head")
    untracked = tuple(one[2:] for one in entries if one.startswith("? "))
    return GitState(
        root=root,
        commit=None if commit in (None, "(initial)") else commit,
        branch=None if branch in (None, "(detached)") else branch,
        dirty=any(one[:2] in ("1 ", "2 ", "u ") for one in entries),
        remote=remote,
        untracked=untracked[:_MOST_UNTRACKED],
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End git and what it has started, where any of it still runs."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
