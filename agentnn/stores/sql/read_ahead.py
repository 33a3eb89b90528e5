"""Reading a table's pages ahead of SQLite, which waits for the disk at each of them.

The pages of a table that grew beside others lie all over the file. SQLite asks for the next one when it is done with
the last, so that a sweep over a file that is not in memory takes as long as the disk takes to answer, times the number
of pages. Which pages these are is known before: the numbers of all leaves stand in the few pages above them. So the
kernel is told of them, and asks the disk for many at once.

All of this is a hint. A page number that is wrong, since the file is damaged or somebody writes, costs a read of a page
that nobody wanted, and never an answer. https://www.sqlite.org/fileformat.html#b_tree_pages
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from agentnn.stores.sql.open_descriptor import descriptor_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_INTERIOR = (2, 5)
"""The first byte of a page with others below it, of an index and of a table."""

_HEADER, _CELLS = 100, 12
_DEEPEST = 10
_PROBES = 3


@contextmanager
def reading_ahead(path: Path, trees: Sequence[tuple[int, str]]) -> Iterator[None]:
    """Have the kernel read the leaves of some b-trees, as far as they are not in memory, until the block ends.

    Args:
        path: A SQLite file that this process has open.
        trees: The b-trees in the order of their use: the first page, which is ``sqlite_master.rootpage``, and of an
            index the first column of the entries that are wanted, or nothing for all.
    """
    can_advise = hasattr(os, "posix_fadvise") and hasattr(os, "RWF_NOWAIT")
    descriptor = descriptor_of(path) if can_advise else None
    if descriptor is None:
        yield
        return
    enough = Event()
    thread = Thread(target=_read_ahead, args=(descriptor, trees, enough), name="agentnn-read-ahead", daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def _read_ahead(descriptor: int, trees: Sequence[tuple[int, str]], enough: Event) -> None:
    with suppress(OSError, ValueError, OverflowError, struct.error, IndexError):
        file = PagedFile(descriptor)
        for root, key in trees:
            for leaves in file.leaves(root, key.encode()):
                if enough.is_set():
                    return
                file.want(leaves)


class PagedFile:
    """A SQLite file as pages, as far as they tell where others lie.

    Args:
        descriptor: The file, which stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        size = int.from_bytes(os.pread(descriptor, 2, 16), "big")
        self._size = 65536 if size == 1 else size

    def leaves(self, root: int, key: bytes = b"") -> Iterator[list[int]]:
        """The leaves of a b-tree in its order, some at a time.

        Args:
            root: The b-tree's first page.
            key: Of an index, only leaves where entries may begin with this text.
        """
        depth, page = 0, root
        while depth < _DEEPEST and (below := self._below(page)):  # they are all equally deep
            depth, page = depth + 1, below[0]
        yield from self._at_depth(root, depth, key)

    def want(self, pages: Sequence[int]) -> None:
        """Have pages read, unless they seem to be in memory."""
        step = max(1, len(pages) // _PROBES)
        if all(self._is_in_memory(page) for page in pages[::step]):
            return
        for page in pages:
            os.posix_fadvise(self._descriptor, (page - 1) * self._size, self._size, os.POSIX_FADV_WILLNEED)

    def _at_depth(self, page: int, depth: int, key: bytes) -> Iterator[list[int]]:
        if depth <= 1:
            yield self._below(page, key) if depth else [page]
            return
        for below in self._below(page, key):
            yield from self._at_depth(below, depth - 1, key)

    def _below(self, number: int, key: bytes = b"") -> list[int]:
        """The pages below a page, where entries may begin with a key; none below a leaf."""
        page = os.pread(self._descriptor, self._size, (number - 1) * self._size)
        start = _HEADER if number == 1 else 0
        if page[start] not in _INTERIOR:
            return []
        (count,) = struct.unpack_from(">H", page, start + 3)
        cells = struct.unpack_from(f">{count}H", page, start + _CELLS)
        last = struct.unpack_from(">I", page, start + 8)
        below = [*(struct.unpack_from(">I", page, cell)[0] for cell in cells), *last]
        if not key:
            return below
        between = [_first_text(page, cell) for cell in cells]
        first, end = bisect_left(between, key), bisect_right(between, key)
        return below[first : end + 1]

    def _is_in_memory(self, number: int) -> bool:
        try:
            return bool(os.preadv(self._descriptor, [bytearray(1)], (number - 1) * self._size, os.RWF_NOWAIT))
        except BlockingIOError:
            return False


def _first_text(page: bytes, cell: int) -> bytes:
    """The first column of an entry of an index, which is text: https://www.sqlite.org/fileformat.html#record_format"""
    _, record = _varint(page, cell + 4)
    header, types = _varint(page, record)
    kind, _ = _varint(page, types)
    return page[record + header : record + header + (kind - 13) // 2]


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    number = 0
    while page[at] > 127:
        number = (number | page[at] & 127) << 7
        at += 1
    return number | page[at], at + 1
