"""How long an answer is waited for that comes a few bytes at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket

_LEAST_BYTES_PER_S = 1024
_CHUNK = 1 << 18


class TooSlow(TimeoutError):
    """Something came, and too little of it."""


class Patience(Protocol):
    """Reads from a connection as long as it is worth waiting."""

    def receive(self, opened: socket.socket) -> bytes:
        """What comes next; nothing where the other side has ended the connection.

        Raises:
            TimeoutError: Nothing came.
            TooSlow: Too little did.
            OSError: The connection is broken.
        """


class UntilDeadline:
    """Waits until a moment, whatever comes.

    Args:
        deadline: On the monotonic clock.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._came = 0

    def receive(self, opened: socket.socket) -> bytes:
        """See :class:`Patience`."""
        chunk = _received(opened, self._deadline - time.monotonic(), self._came)
        self._came += len(chunk)
        return chunk


class WhileEnoughComes:
    """Waits for some seconds, and for as long again whenever a kilobyte for each of them has come.

    Only the time that is spent waiting counts, so that who makes use of what came may take as long as it likes.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds
        self._enough = seconds * _LEAST_BYTES_PER_S
        self._came = 0

    def receive(self, opened: socket.socket) -> bytes:
        """See :class:`Patience`."""
        began = time.monotonic()
        chunk = _received(opened, self._left, self._came)
        self._left -= time.monotonic() - began
        self._came += len(chunk)
        if self._came >= self._enough:
            self._came, self._left = 0, self._seconds
        return chunk


def _received(opened: socket.socket, left: float, came: int) -> bytes:
    try:
        if left <= 0:
            raise TimeoutError
        opened.settimeout(left)
        return opened.recv(_CHUNK)
    except TimeoutError as error:
        raise (TooSlow if came else TimeoutError)("timed out") from error
