"""An end to waiting for a server that says nothing, not even that it has broken off a statement.

libpq waits for ever: a server that was stopped, or a network that swallows packets, would hold a command up for good.
"""

from __future__ import annotations

import socket
import time
import weakref
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_EVERY_S = 0.25


class Watch:
    """Hangs up on a server that takes too long for one answer.

    Args:
        connection: A driver's connection; it is not kept alive by this.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = weakref.ref(connection)
        self._deadline = float("inf")
        self.has_hung_up = False
        self._over = Event()
        Thread(target=self._look, name="agentnn-watch", daemon=True).start()

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Wait for an answer inside."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = float("inf")

    def end(self) -> None:
        """Watch no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            connection = self._connection()
            if connection is None or connection.closed:
                return
            if time.monotonic() > self._deadline:
                self.has_hung_up = True
                _hang_up(connection)
                return
            del connection


def _hang_up(connection: Any) -> None:
    """Close the line without closing its descriptor, which is the driver's."""
    with suppress(OSError):
        line = socket.socket(fileno=connection.fileno())
        try:
            line.shutdown(socket.SHUT_RDWR)
        finally:
            line.detach()
