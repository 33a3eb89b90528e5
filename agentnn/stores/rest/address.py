"""Where a server is, out of a tracking URI."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from agentnn.errors import UsageError
from agentnn.settings import redact

_PORTS = {"http": 80, "https": 443}
_KEPT = "/%:@!$&'()*+,;=~"
"""What may stand in a path as it is."""


class Address(NamedTuple):
    """A server's address, taken apart.

    Attributes:
        scheme: ``http`` or ``https``.
        host: A name or a number, without the brackets of IPv6.
        port: Its port.
        prefix: The path before ``/api``; empty, or with a slash at its beginning and none at its end.
        user, password: What the URI says; never shown.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    user: str = ""
    password: str = ""

    @property
    def host_header(self) -> str:
        """The host as HTTP names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The address for a person, without its secrets."""
        return f"{self.scheme}://{self.host_header}{self.prefix}"


def is_server(uri: str) -> bool:
    """Whether a URI names a server."""
    return uri.lower().startswith(("http://", "https://"))


def parse_address(uri: str) -> Address:
    """Take a tracking URI apart.

    Raises:
        UsageError: It names no server.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except (ValueError, KeyError) as error:
        raise _no_address(uri) from error
    if not host or any(char <= " " or char == "\x7f" for char in uri):
        raise _no_address(uri)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(parts.scheme, host, port, quote(parts.path.rstrip("/"), safe=_KEPT), user, password)


def _no_address(uri: str) -> UsageError:
    return UsageError(f"{redact(uri)!r} is no address of a server", hint="for instance http://127.0.0.1:5000")
