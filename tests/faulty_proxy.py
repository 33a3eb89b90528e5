"""An HTTP proxy on 127.0.0.1 that fails as networks and servers do, on demand."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES = re.compile(r"pass|refuse|reset|hang|html|status:(4|5)\d\d|slow:\d+(\.\d+)?")
SIGN_IN_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>\n"


@dataclass(frozen=True)
class Request:
    """What a client asked for; the path is with its query."""

    method: str
    path: str


class _Drop(NamedTuple):
    path_part: str
    happened: threading.Event


class FaultyProxy:
    """Stands before a server and behaves as its ``mode`` says, from the next request on::

        pass        hand everything on
        slow:0.5    the same, half a second later
        refuse      nobody listens: connection refused
        reset       read the request, then break the connection off (RST)
        hang        read the request and never answer
        html        200 with a page that is not MLflow's, as a company's sign-in page
        status:503  that status, with a line of text

    A request that hangs or is slow when the mode changes is let go at once: the first without an answer. A server that
    can't be reached is a 502. One connection carries one request.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.scheme == "http" and parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self._guard = threading.Lock()
        self._mode = "pass"
        self._changed = threading.Event()
        self._drops: list[_Drop] = []
        self._open: set[socket.socket] = set()
        self._listener = self._bound(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        """All that were seen, in order, also those that were not handed on."""

    def __enter__(self) -> FaultyProxy:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.mode = "refuse"
        self._listener.close()
        with self._guard:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def mode(self) -> str:
        """How requests are answered now."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if not MODES.fullmatch(mode):
            raise ValueError(f"the proxy has no mode {mode!r}")
        with self._guard:
            before, self._mode = self._mode, mode
            self._changed.set()
            self._changed = threading.Event()
        if mode == "refuse" != before:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = self._bound(self.port)
        elif before == "refuse" != mode:
            self._listen()

    def drop_reply_once(self, path_part: str) -> threading.Event:
        """Hand the next request whose path has this part on, and keep its reply back: the connection just ends.

        Returns:
            Set when the server has answered, and the reply is lost.
        """
        drop = _Drop(path_part, threading.Event())
        with self._guard:
            self._drops.append(drop)
        return drop.happened

    @staticmethod
    def _bound(port: int) -> socket.socket:
        """A socket that has the port; until it listens, the kernel refuses connections to it."""
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    def _listen(self) -> None:
        self._listener.listen(128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # the listener was closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Either side may go away at any moment: that is what the proxy is for.
        with suppress(OSError), self._tracked(client):
            head, body = _read_head(client)
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            if len(words) != 3:
                return
            with self._guard:
                mode, changed = self._mode, self._changed
                self.requests.append(Request(words[0], words[1]))
            self._answer(client, mode, changed, _closing(head) + body, words[1])

    def _answer(self, client: socket.socket, mode: str, changed: threading.Event, request: bytes, path: str) -> None:
        kind, _, argument = mode.partition(":")
        if kind == "hang":
            changed.wait()
        elif kind in ("reset", "refuse"):  # refused only after it was accepted
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        elif kind == "html":
            _reply(client, HTTPStatus.OK, SIGN_IN_PAGE, "text/html")
        elif kind == "status":
            _reply(client, HTTPStatus(int(argument)))
        else:
            if kind == "slow":
                changed.wait(float(argument))
            self._hand_on(client, request, path)

    def _hand_on(self, client: socket.socket, request: bytes, path: str) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _reply(client, HTTPStatus.BAD_GATEWAY)
            return
        with self._tracked(server):
            drop = self._take_drop(path)
            server.sendall(request)
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            if drop is None:
                _pump(server, client)
            elif _read_all(server):
                drop.happened.set()

    def _take_drop(self, path: str) -> _Drop | None:
        with self._guard:
            for drop in self._drops:
                if drop.path_part in path:
                    self._drops.remove(drop)
                    return drop
        return None

    @contextmanager
    def _tracked(self, connection: socket.socket) -> Iterator[None]:
        """Close a connection in the end, and let ``__exit__`` break it off before."""
        with self._guard:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._guard:
                self._open.remove(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes whoever still reads from it
            connection.close()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request, with the empty line that ends it, and what came of its body; empty when it has no end."""
    read = b""
    while b"\r\n\r\n" not in read:
        chunk = client.recv(65536)
        if not chunk:
            return b"", b""
        read += chunk
    head, end, body = read.partition(b"\r\n\r\n")
    return head + end, body


def _closing(head: bytes) -> bytes:
    """The head of a request that asks the server to end the connection after the reply."""
    kept = re.sub(rb"(?im)^connection:[^\r\n]*\r\n", b"", head)
    return kept.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"


def _reply(client: socket.socket, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain") -> None:
    body = body or f"{status.phrase}\n".encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}; charset=utf-8\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    client.shutdown(socket.SHUT_WR)
    # To close while the client still sends would be a reset, which may overtake the reply.
    _read_all(client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)


def _read_all(source: socket.socket) -> bytes:
    return b"".join(iter(lambda: source.recv(65536), b""))
