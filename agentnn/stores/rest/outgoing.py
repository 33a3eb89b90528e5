"""A request on its way out: its head, and a file that goes with it."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHUNK = 1 << 18


class FileBody(NamedTuple):
    """What is sent of an open file: as many bytes as it has, a piece at a time."""

    file: BinaryIO
    size: int


def head_of(method: str, target: str, headers: Mapping[str, str], length: int | None) -> bytes:
    """The head of a request, to the empty line that ends it.

    Args:
        method: Such as ``GET``.
        target: The path, and what follows it, quoted.
        headers: What goes with it.
        length: Of the body; ``None`` where there is none.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def send_file(opened: socket.socket, body: FileBody, timeout_s: float) -> bool:
    """Send a file; whether all of it was, or the server said before that it does not want it.

    Over TLS something may come that is no answer, so there only a connection that is ended ends this.

    Args:
        opened: The connection.
        body: The file.
        timeout_s: How long each piece of it may take.

    Raises:
        OSError: The server takes nothing for too long, or the file can't be read.
    """
    opened.settimeout(timeout_s)
    may_look = type(opened) is socket.socket
    left = body.size
    try:
        while left:
            chunk = body.file.read(min(_CHUNK, left))
            if not chunk:
                raise ConnectionError("the file became shorter while it was sent")
            if may_look and has_come(opened):
                return False
            opened.sendall(chunk)
            left -= len(chunk)
    except (BrokenPipeError, ConnectionResetError):
        return False  # what the server said before says why
    return True


def has_come(opened: socket.socket) -> bool:
    """Whether there is something to read, be it the end."""
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    return bool(poll.poll(0))
