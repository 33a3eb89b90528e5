"""Where agentnn keeps what is this machine's own: ``$AGENTNN_STATE_DIR``, ``$XDG_STATE_HOME/agentnn`` or
``~/.local/state/agentnn``. Everything in it is private to the user, whatever the umask: folders 0700, files 0600.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agentnn.errors import StoreUnavailable

STATE_VARIABLE = "AGENTNN_STATE_DIR"


def state_directory() -> Path:
    """The folder of everything; it may not be there yet."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named).absolute()
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "agentnn"


def cache_directory() -> Path:
    """The folder of what can be had again at any time; it may not be there yet.

    It is ``cache`` in ``$AGENTNN_STATE_DIR`` where that is set, ``$XDG_CACHE_HOME/agentnn`` or ``~/.cache/agentnn``.
    """
    if os.environ.get(STATE_VARIABLE):
        return state_directory() / "cache"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "agentnn"


def make_private_folder(path: Path) -> None:
    """Make a folder that only the user may enter, and those above it that are missing.

    Raises:
        StoreUnavailable: It can't be made.
    """
    try:
        missing = [one for one in (path, *path.parents) if not one.is_dir()]
        for one in reversed(missing):
            with suppress(FileExistsError):
                one.mkdir(mode=0o700)
    except OSError as error:
        raise StoreUnavailable(
            f"there is no place for what this machine keeps: {path}: {error.strerror}",
            hint=f"make the folder, or set {STATE_VARIABLE} to one that you may write to",
        ) from error


def open_private(path: Path, flags: int) -> int:
    """Open a file that only the user may read; a file descriptor."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
