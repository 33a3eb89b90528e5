"""Questions to a server: asked over a connection that is kept, and asked again where that is harmless."""

from __future__ import annotations

import json
import os
import time
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from agentnn.errors import StoreUnavailable, UsageError
from agentnn.stores.rest.connection import BrokenOff, Connection, Reply
from agentnn.stores.rest.outgoing import FileBody
from agentnn.stores.rest.patience import TooSlow
from agentnn.stores.rest.replies import TRANSIENT, parsed, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from agentnn.stores.rest.access import Access

API = "/api/2.0/mlflow/"
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0


class _Request(NamedTuple):
    """What is asked, and how patiently.

    Attributes:
        method, path, body: What goes to the server.
        is_read: Whether nothing is written.
        timeout_s: How long the server may be silent.
        tries: How often it may be sent.
        last_try: When it may be sent again at the latest, on the monotonic clock.
    """

    method: str
    path: str
    body: bytes | FileBody | None
    is_read: bool
    timeout_s: float
    tries: int
    last_try: float


class Transport:
    """Asks one server.

    It may be used by several threads, which take turns, and goes on in a process that was forked, with a connection of
    its own there.

    Args:
        access: Where it is, and who asks.
        secrets: What no message may show.
    """

    def __init__(self, access: Access, secrets: Collection[str] = ()) -> None:
        self._access = access
        self._secrets = secrets
        self._turn = RLock()
        self._connection = Connection(access)
        self._process = os.getpid()

    @property
    def shown(self) -> str:
        """The server's address for a person."""
        return self._access.address.shown

    def beside(self) -> Transport:
        """Another one that asks the same server, over a connection of its own."""
        return Transport(self._access, self._secrets)

    def close(self) -> None:
        """End the connection."""
        with self._turn:
            self._connection.close()

    def get(self, endpoint: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask by GET.

        Args:
            endpoint: The path behind ``/api/2.0/mlflow/``, or a whole one that begins with a slash.
            parameters: What follows the question mark.

        Raises:
            NotFoundError, UsageError, ConflictError: MLflow refuses.
            StoreUnavailable: There is no answer, or none of an MLflow server's.
        """
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        return self._asked("GET", _path(endpoint) + query, None)

    def post(self, endpoint: str, question: Mapping[str, Any], *, read: bool = True) -> dict[str, Any]:
        """Ask by POST, which is how MLflow is asked to search.

        Args:
            endpoint: See :meth:`get`.
            question: The body.
            read: Whether nothing is written: a write is sent once, since its reply alone may have been lost.

        Raises:
            NotFoundError, UsageError, ConflictError, StoreUnavailable: See :meth:`get`.
        """
        body = json.dumps(question).encode() if read else _written(question)
        return self._asked("POST", _path(endpoint), body, read=read)

    def delete(self, endpoint: str, what: Mapping[str, Any]) -> None:
        """Take something away by DELETE, with a body that says what; it is sent once.

        Args:
            endpoint: See :meth:`get`.
            what: The body.

        Raises:
            NotFoundError, UsageError, ConflictError, StoreUnavailable: See :meth:`get`.
        """
        self._asked("DELETE", _path(endpoint), json.dumps(what).encode(), read=False)

    def open(self, path: str, timeout_s: float) -> Reply:
        """The answer to a GET of any size, whose body is to be read before the next question.

        Args:
            path: The path and what follows it, quoted.
            timeout_s: How long the server may be silent.

        Raises:
            NotFoundError, UsageError, StoreUnavailable: It is no success.
        """
        with self._turn:
            reply = self._tried(self._request("GET", path, None, read=True, timeout_s=timeout_s))
            if 200 <= reply.status < 300:
                return reply
            body = self._whole(reply, path)
        raise refusal(reply.status, reply.headers, body, path.partition("?")[0], self._secrets)

    def put(self, path: str, source: Path, timeout_s: float) -> None:
        """Send a file, once.

        Args:
            path: Where to, quoted.
            source: The file; it goes out piece by piece.
            timeout_s: How long the server may be silent.

        Raises:
            NotFoundError, UsageError, ConflictError, StoreUnavailable: See :meth:`get`.
        """
        with source.open("rb") as file, self._turn:
            body = FileBody(file, os.fstat(file.fileno()).st_size)
            reply = self._tried(self._request("PUT", path, body, read=False, timeout_s=timeout_s))
            answer = self._whole(reply, path)
        if answer or not 200 <= reply.status < 300:  # some servers say nothing to it
            parsed(reply.status, reply.headers, answer, path, self._secrets)

    def _asked(self, method: str, path: str, body: bytes | None, *, read: bool = True) -> dict[str, Any]:
        with self._turn:
            request = self._request(method, path, body, read=read)
            for again in range(2):
                reply = self._tried(request)
                try:
                    answer = reply.read()
                    break
                except OSError as error:
                    is_hopeless = isinstance(error, TimeoutError) or time.monotonic() > request.last_try
                    if again or not read or is_hopeless:
                        raise self._no_answer(error) from error
        return parsed(reply.status, reply.headers, answer, path.partition("?")[0], self._secrets)

    def _whole(self, reply: Reply, path: str) -> bytes:
        try:
            return reply.read()
        except OSError as error:
            raise self._no_answer(error) from error

    def _request(
        self, method: str, path: str, body: bytes | FileBody | None, *, read: bool, timeout_s: float = 0
    ) -> _Request:
        timeout_s = max(timeout_s, self._access.timeout_s)
        tries = 1 + (self._access.retries if read else 0)
        last_try = time.monotonic() + (timeout_s + _LONGEST_PAUSE_S) * max(self._access.retries, 1)
        return _Request(method, path, body, read, timeout_s, tries, last_try)

    def _tried(self, request: _Request) -> Reply:
        """The first answer that is not transient, or the last one."""
        if self._process != os.getpid() or self._connection.is_busy:
            self._connection.retire()
            self._connection, self._process = Connection(self._access), os.getpid()
        for number in range(1, request.tries + 1):
            try:
                reply = self._sent(request)
            except OSError as error:
                is_last = number == request.tries or time.monotonic() > request.last_try
                if is_last or type(error).__name__ == "SSLCertVerificationError":
                    raise self._no_answer(error, request.timeout_s) from error
                pause = _pause_s(number)
            else:
                if reply.status not in TRANSIENT or number == request.tries:
                    return reply
                pause = max(_pause_s(number), _asked_pause_s(reply))
                reply.close()
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _sent(self, request: _Request) -> Reply:
        headers, body = dict(self._access.headers), request.body
        if body is not None:
            headers["Content-Type"] = "application/json" if isinstance(body, bytes) else "application/octet-stream"
        target = self._access.address.prefix + request.path
        if not request.is_read and self._connection.has_ended:  # a write is not sent twice
            self._connection.close()
        was_open = self._connection.is_open
        try:
            return self._connection.exchange(request.method, target, headers, body, request.timeout_s)
        except (BrokenOff, ConnectionError):
            if not (was_open and request.is_read):
                raise
        # The server ended a connection that nobody used: that says nothing of the question.
        return self._connection.exchange(request.method, target, headers, body, request.timeout_s)

    def _no_answer(self, error: OSError, timeout_s: float | None = None) -> StoreUnavailable:
        hint = "check the tracking URI and that its server runs"
        words = error.strerror or str(error)
        if isinstance(error, TimeoutError):
            much = "too little" if isinstance(error, TooSlow) else "nothing"
            words = f"{much} came for {timeout_s or self._access.timeout_s:g} s"
            hint += "; MLFLOW_HTTP_REQUEST_TIMEOUT says how long to wait"
        elif type(error).__name__.startswith("SSL"):
            words = f"TLS: {getattr(error, 'verify_message', '') or words}"
            hint = "https or http? MLFLOW_TRACKING_SERVER_CERT_PATH names the authorities to trust"
        return StoreUnavailable(f"the store does not answer: {self.shown}: {words}", hint=hint)


def _written(what: Mapping[str, Any]) -> bytes:
    """The body of a write. MLflow's server says yes to a text with half a character in it, and leaves it out.

    Raises:
        UsageError: There is one.
    """
    try:
        return json.dumps(what, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"half a character can't be stored: {error.object[max(error.start - 20, 0) : error.end]!r}",
            hint="what should be a text is none: look at where it comes from",
        ) from error


def _path(endpoint: str) -> str:
    return endpoint if endpoint.startswith("/") else API + endpoint


def _pause_s(number: int) -> float:
    """Longer each time, and never the same for two who were refused together."""
    import random  # most questions are asked once

    return float(min(_FIRST_PAUSE_S * 4 ** (number - 1), _LONGEST_PAUSE_S)) * random.uniform(0.75, 1.25)  # noqa: S311


def _asked_pause_s(reply: Reply) -> float:
    text = reply.headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isdecimal() else 0.0
