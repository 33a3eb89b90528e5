"""HTTP/1.1 over one socket, as little of it as an MLflow server and what stands before it need.

The standard library's client takes as long to import as a small question takes to be answered. A request goes out in
one piece, so that no algorithm of TCP holds half of it back; and the answer's parts are acknowledged at once, or a
server that sends head and body in two pieces would keep the second one back for 40 ms.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from agentnn.stores.rest.outgoing import FileBody, has_come, head_of, send_file
from agentnn.stores.rest.patience import UntilDeadline, WhileEnoughComes
from agentnn.stores.rest.reaching import connected, time_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.stores.rest.access import Access
    from agentnn.stores.rest.patience import Patience

_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 200
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_WITHOUT_BODY = (204, 304)


class BrokenOff(ConnectionError):
    """The other side ended the connection, or does not speak HTTP, before the answer was whole."""


class Reply:
    """An answer: its head, and its body as long as it is read.

    Attributes:
        status: Such as 200.
        headers: By their names in small letters.
    """

    def __init__(self, connection: Connection, status: int, headers: Mapping[str, str], body: Iterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._body = body

    def read(self) -> bytes:
        """All of the body.

        Raises:
            OSError: It did not come whole.
        """
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; the connection is free for the next request once all of it was read."""
        try:
            yield from self._body
        except OSError:
            self._connection.close()
            raise
        self._connection.settle(self)

    def close(self) -> None:
        """Let go of what was not read."""
        self._connection.drop(self)


class Connection:
    """A connection to a server, kept alive from one request to the next.

    Args:
        access: Where the server is, and how long it may be silent.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._unread: Reply | None = None
        self._ends = False
        self._patience: Patience = UntilDeadline(0)

    @property
    def is_open(self) -> bool:
        """Whether an earlier request has left a connection, which the server may have ended meanwhile."""
        return self._socket is not None

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended a connection that nobody used; what it says unasked ends it as well."""
        if self._socket is None or self.is_busy:
            return False
        return has_come(self._socket)

    @property
    def is_busy(self) -> bool:
        """Whether there is an answer that was not read to its end."""
        return self._unread is not None

    def retire(self) -> None:
        """End the connection once the answer that it is busy with was read."""
        self._ends = True

    def close(self) -> None:
        """End the connection; the next request makes another one."""
        opened, self._socket, self._unread, self._buffer = self._socket, None, None, b""
        if opened is not None:
            opened.close()

    def settle(self, reply: Reply) -> None:
        """The body of a reply was read."""
        if self._unread is reply:
            self._unread = None
            if self._ends:
                self.close()

    def drop(self, reply: Reply) -> None:
        """The body of a reply is not wanted."""
        if self._unread is reply:
            self.close()

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | FileBody | None, timeout_s: float
    ) -> Reply:
        """Send a request and read the head of its answer; the one before was read to its end.

        Args:
            method: Such as ``GET``.
            target: The path, and what follows it, quoted.
            headers: What goes with it; ``Content-Length`` is added.
            body: What is sent; ``None`` for nothing.
            timeout_s: How long the connection and the head may take together, and how long the body after it may bring
                too little; with a file, each part of it that is sent, too.

        Raises:
            OSError: No answer, or none that is HTTP.
        """
        deadline = time.monotonic() + timeout_s
        try:
            if self._socket is None:
                self._socket = connected(self._access, deadline)
            self._socket.settimeout(time_left(deadline))
            is_whole = True
            if isinstance(body, FileBody):
                self._socket.sendall(head_of(method, target, headers, body.size))
                is_whole = send_file(self._socket, body, timeout_s)
                deadline = time.monotonic() + timeout_s
            else:
                length = None if body is None else len(body)
                self._socket.sendall(head_of(method, target, headers, length) + (body or b""))
            self._patience = UntilDeadline(deadline)
            status, answered = self._head()
            self._patience = WhileEnoughComes(timeout_s)
        except BaseException:
            self.close()
            raise
        self._ends = _ends(answered) or not is_whole
        reply = Reply(self, status, answered, self._decoded(self._body(method, status, answered), answered))
        self._unread = reply
        return reply

    def _head(self) -> tuple[int, dict[str, str]]:
        while True:
            line = self._line()
            status = _status(line)
            headers: dict[str, str] = {}
            for _ in range(_MOST_HEADERS):
                field = self._line()
                if not field:
                    break
                name, colon, value = field.partition(b":")
                if not colon:
                    raise BrokenOff("the answer's head is no HTTP")
                headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()
            else:
                raise BrokenOff("the answer's head does not end")
            if status >= 200:
                if line.startswith(b"HTTP/1.0"):
                    headers.setdefault("connection", "close")
                return status, headers

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_LINE:
                raise BrokenOff("a line of the answer does not end")
            self._buffer += self._received()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _body(self, method: str, status: int, headers: Mapping[str, str]) -> Iterator[bytes]:
        if method == "HEAD" or status in _WITHOUT_BODY:
            return
        if "chunked" in headers.get("transfer-encoding", "").lower():
            while size := _hexadecimal(self._line()):
                yield from self._exactly(size)
                self._line()
            self._skip_trailers()
        elif "content-length" in headers:
            yield from self._exactly(_decimal(headers["content-length"]))
        else:
            self._ends = True
            yield from self._until_the_end()

    def _skip_trailers(self) -> None:
        for _ in range(_MOST_HEADERS):
            if not self._line():
                return
        raise BrokenOff("the answer's body does not end")

    def _decoded(self, body: Iterator[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
        encoding = headers.get("content-encoding", "").lower()
        if not encoding:
            return body
        from agentnn.stores.rest.decoding import decoded  # nobody asks for it

        return decoded(body, encoding)

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = self._buffer or self._received()
            self._buffer = chunk[size:] if len(chunk) > size else b""
            yield chunk[:size] if len(chunk) > size else chunk
            size -= len(chunk)

    def _until_the_end(self) -> Iterator[bytes]:
        try:
            while True:
                yield self._buffer or self._received()
                self._buffer = b""
        except BrokenOff:
            return

    def _received(self) -> bytes:
        if self._socket is None:
            raise BrokenOff("the connection was closed")
        if _QUICKACK is not None:  # it holds for one answer only
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        chunk = self._patience.receive(self._socket)
        if not chunk:
            raise BrokenOff("the server ended the connection")
        return chunk


def _status(line: bytes) -> int:
    protocol, _, rest = line.partition(b" ")
    number = rest[:3]
    if not protocol.startswith(b"HTTP/1.") or not number.isdigit():
        raise BrokenOff("the answer is no HTTP")
    return int(number)


def _ends(headers: Mapping[str, str]) -> bool:
    return "close" in headers.get("connection", "").lower()


def _hexadecimal(text: bytes) -> int:
    digits = text.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise BrokenOff("the answer's body is no HTTP")
    return int(digits, 16)


def _decimal(text: str) -> int:
    if not text.isdecimal():
        raise BrokenOff("the answer's length is no number")
    return int(text)
