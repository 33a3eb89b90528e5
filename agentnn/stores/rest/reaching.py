"""A connection to the host of a server, encrypted where its address says so."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentnn.stores.rest.access import Access


def connected(access: Access, deadline: float) -> socket.socket:
    """A new connection.

    Args:
        access: Where to, and what the other side has to prove.
        deadline: By when, on the monotonic clock.

    Raises:
        OSError: The host is not reached, or does not prove what it has to.
        UsageError: A file of certificates can't be read.
    """
    address = access.address
    opened = _reached(address.host, address.port, deadline)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if address.scheme == "https":
            from agentnn.stores.rest.encryption import encrypted  # a third of what a question takes

            opened.settimeout(time_left(deadline))
            return encrypted(opened, address.host, access.tls)
    except BaseException:
        opened.close()
        raise
    return opened


def _reached(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the first address of a host that answers; all together have until the deadline."""
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, place) in enumerate(places, 1):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(time_left(deadline) / (len(places) - number + 1))
            opened.connect(place)
        except OSError:
            opened.close()
            if number == len(places):
                raise
        else:
            return opened
    raise ConnectionError("the host has no address")


def time_left(deadline: float) -> float:
    """The seconds until a deadline.

    Raises:
        TimeoutError: There are none.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
