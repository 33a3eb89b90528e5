"""Bodies that something between the server and us has compressed, though nobody asked for it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from agentnn.stores.rest.connection import BrokenOff

if TYPE_CHECKING:
    from collections.abc import Iterator

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_MOST_AT_ONCE = 1 << 20


def decoded(body: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """A body as it was before it was compressed.

    Args:
        body: As it comes.
        encoding: What the answer says of it.

    Raises:
        BrokenOff: It is compressed in another way, or broken.
    """
    if encoding == "identity":
        yield from body
        return
    if encoding not in _WINDOWS:
        raise BrokenOff(f"the answer is compressed by {encoding!r}, which nobody asked for")
    unpack, is_empty = zlib.decompressobj(_WINDOWS[encoding]), True
    try:
        for chunk in body:
            packed, is_empty = chunk, False
            while packed and not unpack.eof:
                if plain := unpack.decompress(packed, _MOST_AT_ONCE):
                    yield plain
                packed = unpack.unconsumed_tail
    except zlib.error:
        raise BrokenOff(f"the answer's body is no {encoding}") from None
    if not unpack.eof and not is_empty:
        raise BrokenOff(f"the answer's {encoding} ended too early")
