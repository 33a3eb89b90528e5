"""Writing and copying files so that nobody ever sees a part of one."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, CorruptDataError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

_AT_ONCE = 8
"""Files that the disk is asked for at the same time."""


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
    unfinished = _unfinished(place, scratch)
    try:
        shutil.copyfile(source, unfinished)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(place: Path, data: bytes, scratch: Path, *, sync: bool = False) -> None:
    """Write a file at once, whatever happens; one that is there keeps its permissions.

    Args:
        place: Where it goes; the folders above are made.
        data: What it should hold.
        scratch: See :func:`copy_whole`.
        sync: Have the disk hold it before it takes its place, so that not even a power failure leaves it empty.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(place, scratch)
    try:
        with unfinished.open("wb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(place.stat().st_mode))
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(place: Path, shelter: Path, key: str) -> Iterator[Path]:
    """A new folder that takes its place once it is filled.

    Args:
        place: Where it goes; there must be nothing yet.
        shelter: A folder of the same file system in which it is hidden until then.
        key: Names it while it is hidden: what a killed process left under the same key is replaced.

    Yields:
        The folder to fill.
    """
    hidden = shelter / f".agentnn.{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    shutil.rmtree(hidden, ignore_errors=True)
    folder = hidden / place.name
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(place)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_all_whole(files: Mapping[Path, bytes], scratch: Path, *, also: Iterable[Path] = ()) -> None:
    """Write files, each at once, whatever happens; the disk holds all of them before the first takes its place.

    Args:
        files: What each should hold; the folders above them are there. One that is there keeps its permissions.
        scratch: A folder of the same file system, in which no other process does the same.
        also: Other files that have grown, and that the disk should hold, too.
    """
    hidden = scratch / ".agentnn.files"
    shutil.rmtree(hidden, ignore_errors=True)
    unfinished = {place: hidden / str(number) for number, place in enumerate(files)}
    try:
        if files:
            hidden.mkdir()
        for place, data in files.items():
            unfinished[place].write_bytes(data)
            with suppress(FileNotFoundError):
                unfinished[place].chmod(stat.S_IMODE(place.stat().st_mode))
        sync_together([*unfinished.values(), *also])
        for place, made in unfinished.items():
            made.replace(place)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def sync_together(paths: Collection[Path]) -> None:
    """Have the disk hold what files and folders hold; all together, which takes hardly longer than one of them."""
    if len(paths) <= 1:
        for path in paths:
            _sync(path)
        return
    from concurrent.futures import ThreadPoolExecutor  # not where one file is written

    with ThreadPoolExecutor(min(len(paths), _AT_ONCE)) as pool:
        list(pool.map(_sync, paths))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unfinished(place: Path, scratch: Path) -> Path:
    return scratch / f".agentnn.{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}"


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
