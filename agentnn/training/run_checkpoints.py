"""Where the checkpoints of a run are: a folder of its own among the journals, until the run has ended well."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, NotFoundError, command
from agentnn.tracking.journal.state import make_private_folder
from agentnn.tracking.sending.delivered import Cursor

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.tracking.journal.state import StoreFolder

CHECKPOINTS_TAG = "agentnn.checkpoints"
"""Tells people where they are. It is never read back: a store must not say which folder is written to."""

KEPT_DAYS = 30
"""How long the checkpoints of a run stay that did not end well."""

LOCK_FILE = ".lock"
_STATES = ("last.pt", "last.previous.pt")
_UUID = re.compile("[0-9a-f]{32}")
_DAY_S = 86_400


def checkpoint_folder(config: Config, store: StoreFolder, uuid: str) -> Path | None:
    """Where the checkpoints of a run go; ``None`` where none are kept."""
    if not config.training.checkpoints:
        return None
    named = config.training.checkpoint_dir
    return Path(named).absolute() if named else store.checkpoints / uuid


def folder_to_resume(config: Config, store: StoreFolder, uuid: str, name: str) -> Path:
    """The folder that a run goes on from.

    Args:
        config: What the run was started with.
        store: Where journals wait.
        uuid: Our own id of the run, as the store says it.
        name: What the run is called in an error.

    Raises:
        NotFoundError: There is no checkpoint on this machine.
        ConflictError: The run is still being trained.
    """
    folder = checkpoint_folder(config, store, uuid) if _UUID.fullmatch(uuid) else None
    if folder is None or not has_checkpoint(folder):
        where = f" in {folder}" if folder else ""
        raise NotFoundError(
            f"the run {name!r} has no checkpoint{where}",
            hint="checkpoints stay on the machine that trained; train again: agentnn run train CONFIG",
        )
    if _is_in_use(folder):
        raise ConflictError(
            f"the run {name!r} is still being trained on this machine", hint=f"look on: {command('run', 'watch', name)}"
        )
    return folder


def _is_in_use(folder: Path) -> bool:
    """Whether a process holds the lock of the checkpoints there."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a state in a folder that a training can go on from."""
    return any((folder / state).is_file() for state in _STATES)


def discard(config: Config, run: ActiveRun, folder: Path | None) -> None:
    """Remove the checkpoints of a run that has ended well, once the store knows; never a folder of the user's own."""
    if folder is None or config.training.checkpoint_dir:
        return
    if Cursor.read(run.folder).status == "FINISHED":
        shutil.rmtree(folder, ignore_errors=True)


def sweep(store: StoreFolder, days: float = KEPT_DAYS) -> None:
    """Remove what runs have left that nobody went on with for a long time."""
    folders: list[Path] = []
    with suppress(OSError):  # who trains finds out, and tells
        make_private_folder(store.checkpoints)
        folders += (folder for folder in store.checkpoints.iterdir() if _UUID.fullmatch(folder.name))
    for folder in folders:
        with suppress(OSError):  # somebody else has just removed it
            newest = max((file.stat().st_mtime for file in folder.iterdir()), default=folder.stat().st_mtime)
            if time.time() - newest > days * _DAY_S:
                shutil.rmtree(folder, ignore_errors=True)
