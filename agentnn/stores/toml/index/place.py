"""Where the index of a folder of projects lies: beside them, or where that can't be, in this machine's own folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentnn.stores.state_folder import make_private_folder, state_directory
from agentnn.stores.toml.layout import INDEX

if TYPE_CHECKING:
    from pathlib import Path


def place_beside(base_dir: Path) -> Path:
    """The index's place beside the projects."""
    return base_dir / INDEX


def place_elsewhere(base_dir: Path) -> Path:
    """The index's place in this machine's own folder, the same by whatever links the projects are reached."""
    import hashlib  # seldom needed

    digest = hashlib.sha256(os.fsencode(os.path.realpath(base_dir))).hexdigest()[:16]
    return state_directory() / "indexes" / f"{digest}.sqlite"


def may_write_beside(base_dir: Path) -> bool:
    """Whether an index may be made or changed beside the projects: SQLite needs a journal next to it."""
    place = place_beside(base_dir)
    return os.access(base_dir, os.W_OK | os.X_OK) and (not place.exists() or os.access(place, os.R_OK | os.W_OK))


def make_place(path: Path) -> None:
    """Make an empty index, private to the user; one that is there stays as it is.

    Raises:
        StoreUnavailable: There is no place for it.
        OSError: The file can't be made.
    """
    make_private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # Not opened: closing it again would drop the locks that another thread holds on it through SQLite.
        # https://www.sqlite.org/howtocorrupt.html
        return
