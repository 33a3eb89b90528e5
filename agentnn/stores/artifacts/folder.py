"""The files of a run where they lie on this machine, and the names that files may have."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError, NotFoundError, UnsafeError
from agentnn.records import Artifact
from agentnn.stores.artifacts.places import local_folder as local_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

CHUNK = 1 << 20
"""Bytes that are read at once: memory does not grow with a file."""


class LocalFolder:
    """A folder of artifacts on this machine.

    Args:
        root: The folder; nothing outside it is shown or read, whatever links lie in it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def is_there(self) -> bool:
        """Whether there is a folder: a run that logged no file has none."""
        return self._root.is_dir()

    def entries(self, inside: PurePosixPath) -> list[Artifact]:
        """What lies directly in a folder, or the file itself; paths are relative to the root.

        Raises:
            UnsafeError: A link leaves the root.
            NotFoundError: There is no such file or folder.
        """
        place = self._confined(inside)
        if place.is_file():
            return [Artifact(str(inside), is_dir=False, size=place.stat().st_size)]
        try:
            with os.scandir(place) as entries:
                found = [_artifact(entry, inside) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            raise no_such_artifact(str(inside)) from None
        return sorted(found, key=lambda artifact: artifact.path)

    def read(self, inside: PurePosixPath, size: int | None = None) -> Iterator[bytes]:
        """The bytes of a file.

        Raises:
            UnsafeError: It is a link that leaves the root, or no file but a device or a pipe.
            NotFoundError: There is no such file.
        """
        del size  # a file of this machine may grow while it is read
        place = self._confined(inside).resolve()
        try:
            # Neither a link that was put there meanwhile is followed, nor is a pipe waited for.
            opened = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise no_such_artifact(str(inside)) from None
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise UnsafeError(f"{str(inside)!r} is no ordinary file", hint="look at it with your own tools")
        return _chunks_of(os.fdopen(opened, "rb", buffering=0))

    def _confined(self, inside: PurePosixPath) -> Path:
        place = self._root / inside
        try:
            leaves = not place.resolve().is_relative_to(self._root.resolve())
        except (OSError, RuntimeError):  # links that lead to each other
            leaves = True
        if leaves:
            raise UnsafeError(
                f"{str(inside)!r} is a link that leaves the run's folder", hint="look at it with your own tools"
            )
        return place


def relative_path(path: str) -> PurePosixPath:
    """A path inside a run, as a user or a store gives it.

    Raises:
        UnsafeError: The path leaves the run's folder.
    """
    relative = PurePosixPath(path)
    if ".." in relative.parts or relative.is_absolute() or "\0" in path:
        raise UnsafeError(f"{path!r} leaves the run's folder", hint="give a path relative to the run's artifacts")
    return relative


def safe_path(path: str) -> PurePosixPath:
    """A path out of a store or a file, as a place to write to: it means the same place on every system.

    Raises:
        UnsafeError: It is absolute, goes up, names a drive, or holds what no file name can hold.
    """
    odd = "\\" in path or "\0" in path or PureWindowsPath(path).drive or any("\ud800" <= c <= "\udfff" for c in path)
    if odd or not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise UnsafeError(f"{path!r} is no safe name for a file", hint="nothing was written; look at who made it")
    return PurePosixPath(path)


def checked_size(chunks: Iterator[bytes], size: int | None, path: str) -> Iterator[bytes]:
    """The same chunks, as long as they are what was listed.

    Raises:
        CorruptDataError: There are more bytes than were listed, or fewer.
    """
    read = 0
    for chunk in chunks:
        read += len(chunk)
        if size is not None and read > size:
            break
        yield chunk
    if size is not None and read != size:
        raise CorruptDataError(
            f"{path!r} has {'more' if read > size else 'fewer'} bytes than the {size} that were listed",
            hint="it changed meanwhile, or did not arrive whole: try again",
        )


def no_such_artifact(path: str) -> NotFoundError:
    """The error for a file that a run does not have."""
    return NotFoundError(f"there is no artifact {path!r}", hint="agentnn run artifacts ls RUN lists them")


def _artifact(entry: os.DirEntry[str], folder: PurePosixPath) -> Artifact:
    """An entry of a folder; a link is shown as it is, and not followed."""
    is_dir = entry.is_dir(follow_symlinks=False)
    size = None
    if not is_dir:
        with suppress(OSError):  # it may be gone by now
            size = entry.stat(follow_symlinks=False).st_size
    return Artifact(str(folder / entry.name), is_dir, size)


def _chunks_of(opened: FileIO) -> Iterator[bytes]:
    with opened as file:
        while chunk := file.read(CHUNK):
            yield chunk
