"""The commit of the code that a run was started from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.records import COMMIT_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 10


def with_commit(tags: Mapping[str, str], source: str) -> dict[str, str]:
    """Tags, and the commit of the repository that a script lies in, where it lies in one.

    Args:
        tags: What is there; a commit among them stays.
        source: The script, or its folder; empty when it is not known.
    """
    commit = _commit_of(Path(source)) if source and COMMIT_TAG not in tags else None
    return {**tags, COMMIT_TAG: commit} if commit else dict(tags)


def _commit_of(source: Path) -> str | None:
    git = shutil.which("git")
    if git is None or not source.exists():
        return None
    folder = source.absolute().parent if source.is_file() else source.absolute()
    command = [git, "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
