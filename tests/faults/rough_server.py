"""A server that says, byte for byte, what a test tells it to, over HTTP or HTTPS."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Answer = bytes | Iterator[bytes] | None


def reply(status: str = "200 OK", body: bytes | object = b"", **headers: str) -> bytes:
    """An answer as it goes over the wire; a body that is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "Transfer_Encoding" not in headers and "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


class RoughServer:
    """Listens on 127.0.0.1 for the duration of a ``with``.

    Args:
        answer: What it says to a request, given as its head and how many came before, at once or piece by piece;
            ``None`` ends the connection.
        certificate: A file with a certificate and its key, to speak TLS.

    Attributes:
        heads: The heads of all requests.
        connections: How many connections were made.
        answers_early: Whether a request that ends the connection is answered before its body was read.
        unread: Bytes of bodies that came after their answers.
    """

    def __init__(self, answer: Callable[[str, int], Answer], certificate: Path | None = None) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.answers_early = False
        self.unread = 0
        self.heads: list[str] = []
        self.connections = 0

    def __enter__(self) -> RoughServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def url(self) -> str:
        """Its tracking URI."""
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://localhost:{self._listener.getsockname()[1]}"

    def wait_until_ended(self) -> None:
        """Wait until the last connection that was made is ended, by whichever side."""
        self._threads[-1].join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            self.connections += 1
            with client:
                while (head := _head(client, self.answers_early)) is not None:
                    self.heads.append(head)
                    said = self._answer(head, len(self.heads) - 1)
                    if said is None:
                        return
                    if not isinstance(said, bytes):
                        for piece in said:
                            client.sendall(piece)
                        continue
                    client.sendall(said)
                    if b"connection: close" in said.lower():
                        client.shutdown(socket.SHUT_WR)
                        while self.answers_early and (more := client.recv(65536)):
                            self.unread += len(more)
                        return


def _head(client: socket.socket, without_body: bool) -> str | None:
    read = b""
    while b"\r\n\r\n" not in read:
        chunk = client.recv(65536)
        if not chunk:
            return None
        read += chunk
    head, _, body = read.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length and not without_body:
        body += client.recv(65536)
    return head.decode("latin-1")
