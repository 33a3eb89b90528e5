"""Reading the small files of a folder of runs: quickly, and so that one that is damaged takes no other with it."""

from __future__ import annotations

import os
import time
import warnings
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError, UnreadableWarning
from agentnn.stores.mlruns.meta import META, parse
from agentnn.stores.mlruns.names import is_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SMALL, _CHUNK = 1 << 12, 1 << 20
"""Most files are small, and a small buffer is made faster."""

_TO_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe that somebody has put there is empty, and not waited for."""

_MOST_NAMED = 10
"""Files that can't be read, of which each gets a warning of its own."""

_WRITTEN_JUST_NOW_S, _PAUSE_S = 2.0, 0.1
NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Damage:
    """What could not be read, and is left out: each file is told of once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, problem: str) -> None:
        """Warn of a file: its path, and what is wrong with it."""
        if problem in self._told:
            return
        self._told.add(problem)
        if len(self._told) <= _MOST_NAMED:
            warnings.warn(f"{problem}; it is left out", UnreadableWarning, stacklevel=2)
        elif len(self._told) == _MOST_NAMED + 1:
            warnings.warn("there are more files that can't be read", UnreadableWarning, stacklevel=2)


def read_bytes(path: str) -> bytes:
    """The content of a file, with as few calls as can be.

    Raises:
        OSError: It can't be read.
    """
    descriptor = os.open(path, _TO_READ)
    try:
        data = os.read(descriptor, _SMALL)
        if len(data) < _SMALL:
            return data
        parts = [data]
        while data := os.read(descriptor, _CHUNK):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_blocks(path: str) -> Iterator[bytes]:
    """The content of a file of lines, in blocks of which each but the last ends with a line; no two are kept.

    Raises:
        OSError: It can't be read.
        ValueError: It has a line that is too long for a metric's.
    """
    descriptor = os.open(path, _TO_READ)
    try:
        begun = os.read(descriptor, _SMALL)
        if len(begun) == _SMALL:
            while data := os.read(descriptor, _CHUNK):
                whole, newline, rest = data.rpartition(b"\n")
                if newline:
                    yield begun + whole + newline
                    begun = rest
                elif len(begun) > _CHUNK:
                    raise ValueError("a line is too long")
                else:
                    begun += data
        yield begun
    finally:
        os.close(descriptor)


def read_meta(folder: str) -> dict[str, Any] | None:
    """What the ``meta.yaml`` of a folder says; ``None`` where there is none.

    Raises:
        CorruptDataError: It is empty or no mapping, or can't be read.
    """
    path = f"{folder}/{META}"
    try:
        found = parse(read_bytes(path))
        if not found and time.time() - os.stat(path).st_mtime < _WRITTEN_JUST_NOW_S:  # noqa: PTH116 - for speed
            time.sleep(_PAUSE_S)  # MLflow empties a file before it writes it
            found = parse(read_bytes(path))
    except NOT_THERE:
        return None
    except OSError as error:
        raise CorruptDataError(f"{path} can't be read: {error.strerror}", hint="check its permissions") from error
    if not found:
        raise CorruptDataError(f"{path} is empty or damaged", hint="restore it from a backup")
    return found


def names_in(folder: str, damage: Damage) -> list[str]:
    """The names of what lies in a folder; none where there is no folder, or none that may be looked into."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - it may hold many thousands
    except NOT_THERE:
        return []
    except OSError as error:
        damage.tell(f"{folder} can't be read: {error.strerror}")
        return []


def names_below(folder: str, damage: Damage | None = None) -> Iterator[str]:
    """The names of the files of metrics, params or tags: a slash in a name is a folder.

    Args:
        folder: The folder; where there is none, there are no files.
        damage: Takes note of a folder that may not be looked into; without it that is an ``OSError``.
    """
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except NOT_THERE:
        return
    except OSError as error:
        if damage is None:
            raise
        damage.tell(f"{folder} can't be read: {error.strerror}")
        return
    for entry in found:
        if not entry.is_dir():
            yield entry.name
        elif not entry.is_symlink():
            yield from (f"{entry.name}/{name}" for name in names_below(entry.path, damage))


def read_texts(folder: str, keys: Iterable[str] | None, damage: Damage) -> dict[str, str]:
    """Params or tags by their names.

    Args:
        folder: Where their files are.
        keys: Those that are wanted; ``None`` for all.
        damage: Takes note of what can't be read.
    """
    found = {}
    for key in names_below(folder, damage) if keys is None else keys:
        if not is_name(key):
            continue
        path = f"{folder}/{key}"
        try:
            found[key] = read_bytes(path).decode("utf-8")
        except NOT_THERE:
            continue
        except (OSError, UnicodeDecodeError) as error:
            why = f"can't be read: {error.strerror}" if isinstance(error, OSError) else "is no text"
            damage.tell(f"{path} {why}")
    return found
