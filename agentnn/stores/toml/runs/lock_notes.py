"""What the lock of a run's folder notes: who wrote the final values last, and how much of the history is in them.

Two writes within a tick of the file system's clock can leave a file of the same size, time and inode: the writer's
token tells them apart. A history that goes on behind what is noted is that of a writer who was killed between its two
writes.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple, Self

from agentnn.stores.toml.layout import LOCK
from agentnn.stores.toml.runs.replacing import unwritable

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = re.compile(rb"([0-9a-f]{16}) ([0-9]{20})\n")
_SIZE = 38


class Notes(NamedTuple):
    """The notes.

    Attributes:
        writer: Is another one after each write.
        done: The end of the last line of ``history.jsonl`` that is in ``metrics.toml``; ``None`` when nothing is noted.
    """

    writer: str = ""
    done: int | None = None

    @classmethod
    def by_this_writer(cls, done: int) -> Self:
        """The notes of a write that begins."""
        return cls(os.urandom(8).hex(), done)

    @classmethod
    def read(cls, descriptor: int) -> Self:
        """The notes in a lock that is held."""
        found = _TEXT.fullmatch(os.pread(descriptor, _SIZE, 0))
        return cls(found[1].decode(), int(found[2])) if found else cls()

    @classmethod
    def read_from(cls, folder: Path) -> Self:
        """The notes in the lock of a folder, whoever holds it; none when there are none that may be read."""
        try:
            found = _TEXT.fullmatch((folder / LOCK).read_bytes())
        except OSError:
            found = None
        return cls(found[1].decode(), int(found[2])) if found else cls()

    def write(self, descriptor: int, folder: Path) -> None:
        """Write the notes into a lock that is held.

        Raises:
            StoreUnavailable: There is no room.
        """
        try:
            os.pwrite(descriptor, b"%s %020d\n" % (self.writer.encode(), self.done or 0), 0)
        except OSError as error:
            raise unwritable(folder / LOCK, error) from error
