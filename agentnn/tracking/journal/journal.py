"""The append-only record of what a run logged, which survives the death of its writers.

A journal is a sequence of texts after RFC 7464 (JSON text sequences), each with a checksum before it::

    RS crc32 SPACE {"seq":7,"kind":"metrics","time":1763700000000,"step":3,"values":{"loss":0.5}} LF

``RS`` is the byte 0x1E, which JSON never holds, so that a reader finds the next record after whatever came before;
``crc32`` is that of the JSON's bytes, in eight hexadecimal digits. A record is written by one ``write`` to a file that
is open for appending: the kernel has it when the call returns, whatever then becomes of the process, and records of
several processes don't mix. A record that breaks off without its line feed was never acknowledged.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import zlib
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from agentnn.errors import StoreUnavailable
from agentnn.tracking.journal.state import open_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RS = b"\x1e"
_CHUNK = 1 << 20
_MOST_KEPT_BYTES = 64 << 20


def frame(text: str) -> bytes:
    """A JSON text as a record of the journal."""
    body = text.encode("ascii")
    return b"\x1e%08x %b\n" % (zlib.crc32(body), body)


class JournalWriter:
    """Appends records; threads may share it, and a forked process may go on with it.

    While the disk is full, records are kept in memory, up to 64 MiB, and written as soon as there is room.

    Args:
        path: The journal; it is made if it is not there.

    Raises:
        StoreUnavailable: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: OSError | None = None
        self.lost = 0
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._lock = Lock()
        try:
            self._descriptor = open_private(path, os.O_RDWR | os.O_APPEND)
            hold(self._descriptor)
        except OSError as error:
            raise _no_journal(path, error) from error

    @property
    def unwritten(self) -> int:
        """How many records are not on disk: kept in memory, or lost because there was no room there either."""
        return len(self._kept) + self.lost

    def append(self, record: bytes) -> None:
        """Write a record; it is safe from the death of the process when this returns and :attr:`problem` is None."""
        with self._lock:
            if not self._kept:
                try:
                    if os.write(self._descriptor, record) == len(record):
                        return
                except OSError as error:
                    self.problem = error
            self._keep(record)
            self._write_kept()

    def retry(self) -> None:
        """Write what was kept in memory, if there is room now."""
        with self._lock:
            self._write_kept()

    def renew_after_fork(self) -> None:
        """Let a forked process go on: another thread of its parent may have held the lock, and it kept its records."""
        self._lock = Lock()
        self._kept, self._kept_bytes, self.lost = deque(), 0, 0

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _keep(self, record: bytes) -> None:
        if self._kept_bytes + len(record) > _MOST_KEPT_BYTES:
            self._write_kept()  # there may be room by now
        if self._kept_bytes + len(record) > _MOST_KEPT_BYTES:
            self.lost += 1
            return
        self._kept.append(record)
        self._kept_bytes += len(record)

    def _write_kept(self) -> None:
        while self._kept:
            record = self._kept[0]
            try:
                # What a full disk took of a record stays behind as damage that the reader skips by the next RS.
                if os.write(self._descriptor, record) != len(record):
                    return
            except OSError as error:
                self.problem = error
                return
            self._kept.popleft()
            self._kept_bytes -= len(record)
        if not self.lost:
            self.problem = None


def hold(descriptor: int) -> None:
    """Keep a journal from being removed for as long as the file is open; the kernel lets go when all writers have.

    Raises:
        FileNotFoundError: It was removed in the instant before.
    """
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@contextmanager
def nobody_writes(path: Path) -> Iterator[bool]:
    """Whether no process has a journal open for writing; meanwhile none can."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a journal, or what is left of one.

    Attributes:
        offset, end: Where it lies in the file, in bytes.
        body: What it says; ``None`` when it breaks off or is damaged.
        raw: Its bytes, when it is damaged; empty when it only breaks off.
    """

    offset: int
    end: int
    body: dict[str, Any] | None
    raw: bytes = b""


def read_journal(path: Path, offset: int = 0) -> Iterator[Record]:
    """The records from an offset on, as far as they are whole; what may still be in writing at the end is left out.

    Raises:
        StoreUnavailable: The journal can't be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise _no_journal(path, error) from error
    with file:
        file.seek(offset)
        pending = b""
        while chunk := file.read(_CHUNK):
            pending += chunk
            *whole, pending = _split(pending)
            for raw in whole:
                yield _record(raw, offset)
                offset += len(raw)
        if pending.endswith(b"\n"):
            yield _record(pending, offset)


def count_records(path: Path, offset: int = 0) -> int:
    """How many records stand from an offset on, without reading what they say."""
    count = 0
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                count += chunk.count(_RS)
    except OSError:
        return 0
    return count


def _split(data: bytes) -> list[bytes]:
    """Pieces that each start with RS, but for the first, which may be damage."""
    head, *rest = data.split(_RS)
    pieces = [_RS + one for one in rest]
    return [head, *pieces] if head or not pieces else pieces


def _record(raw: bytes, offset: int) -> Record:
    end = offset + len(raw)
    checksum, _, body = raw[1:-1].partition(b" ")
    if raw.startswith(_RS) and checksum == b"%08x" % zlib.crc32(body):
        return Record(offset, end, json.loads(body))
    breaks_off = raw.startswith(_RS) and not raw.endswith(b"\n")
    return Record(offset, end, None, b"" if breaks_off else raw)


def _no_journal(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the journal {path} can't be opened: {error.strerror}", hint="check the folder's permissions and free space"
    )
