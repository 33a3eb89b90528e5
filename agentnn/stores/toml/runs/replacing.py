"""Replacing a file so that whoever reads it, whatever dies meanwhile, sees the old one or the new one.

The new file is written beside the old one, synchronised, and renamed over it, under a lock on the folder (flock(2) on
its ``.lock``), which the kernel frees when its holder dies. What a killed process left behind, the next one sweeps.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agentnn.errors import StoreUnavailable
from agentnn.stores.toml.layout import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_TIMEOUT_S = 30.0
"""How long a writer waits for others."""

_UNFINISHED = ".writing"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def locked(folder: Path, *, sweep: bool = True) -> Iterator[int]:
    """Keep all other writers, threads and processes, from a folder.

    Args:
        folder: The folder; it must be there.
        sweep: Remove what killed writers have left in it.

    Yields:
        The descriptor of the lock's file.

    Raises:
        StoreUnavailable: The folder can't be written to, or others have held the lock for 30 seconds.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        _wait_for(descriptor, folder)
        try:
            if sweep:
                sweep_unfinished(folder)
            yield descriptor
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor too
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, *, sync: bool = True) -> os.stat_result:
    """Put a file in the place of another, or where there is none; the folder must be :func:`locked`.

    Args:
        path: The file. Its permissions stay; a new one is private to the user.
        data: What it should hold.
        sync: Have the disk hold it before this returns, so that not even a power failure undoes it.

    Returns:
        The status of the new file.

    Raises:
        StoreUnavailable: It can't be written; the old file is as it was.
    """
    unfinished = path.parent / f".{path.name}{_UNFINISHED}"
    try:
        try:
            status = _write(unfinished, data, _mode_of(path), sync)
            unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    return status


def make_private_folders(path: Path) -> None:
    """Make a folder that only the user may enter, and those above it that are missing.

    Raises:
        StoreUnavailable: It can't be made.
    """
    try:
        for one in reversed([one for one in (path, *path.parents) if not one.is_dir()]):
            with suppress(FileExistsError):
                one.mkdir(mode=0o700)
            sync_folder(one.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def sweep_unfinished(folder: Path) -> None:
    """Remove what killed writers have left in a folder, which must be :func:`locked`."""
    with suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
        for name in names:
            if name.endswith(_UNFINISHED):
                (folder / name).unlink()


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names of a folder's files, as fsync(2) of a file does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write to a descriptor until everything is written."""
    while data:
        data = data[os.write(descriptor, data) :]


def unwritable(path: Path, error: OSError) -> StoreUnavailable:
    """The error for a file that can't be written."""
    hint = "make room on the disk" if error.errno in _NO_ROOM else "check that the folder is there, and its permissions"
    return StoreUnavailable(f"{path} can't be written: {error.strerror}", hint=hint)


def _write(path: Path, data: bytes, mode: int, sync: bool) -> os.stat_result:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        path.unlink()
        descriptor = os.open(path, flags, 0o600)
    try:
        write_all(descriptor, data)
        if mode != 0o600:
            os.fchmod(descriptor, mode)
        if sync:
            os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _mode_of(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0o600


def _wait_for(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    pause = 0.0005
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"others have been writing to {folder} for {LOCK_TIMEOUT_S:g} s", hint="see what holds its .lock"
                ) from None
        except OSError as error:
            raise unwritable(folder, error) from error
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
