"""Copying files so that nobody ever sees a part of one."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, CorruptDataError, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def put_whole(source: Path, place: Path, scratch: Path) -> None:
    """Copy a file to its place in a run, and read back whether it arrived.

    Args:
        source: The file.
        place: Where it goes; the folders above are made.
        scratch: A folder of the same file system where it is made.

    Raises:
        ConflictError: There is a folder of this name, or a file where a folder would have to be.
        StoreUnavailable: There is no room for it, or the place can't be written to.
        CorruptDataError: What arrived is something else.
    """
    try:
        copy_whole(source, place, scratch)
        arrived = digest_of(place)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ConflictError(
            f"{place} would be both a file and a folder of the run", hint="choose another name"
        ) from None
    except OSError as error:
        raise StoreUnavailable(f"{place} can't be written: {error.strerror}", hint="make room on the disk") from error
    if arrived != digest_of(source):
        raise CorruptDataError(f"{place} did not arrive whole", hint="it is sent again: agentnn run sync")


def copy_whole(source: Path, place: Path, scratch: Path) -> None:
    """Copy a file to its place at once, whatever happens.

    Args:
        source: The file.
        place: Where it goes; the folders above are made.
        scratch: A folder of the same file system where it is made. Its name there depends on the place alone: what a
            killed process left is replaced.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = scratch / f".agentnn.{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    try:
        shutil.copyfile(source, unfinished)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
