"""A folder of artifacts that a tracking server keeps, read without MLflow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from agentnn.errors import UnsafeError
from agentnn.stores.mlflow.artifacts import UPLOAD_TIMEOUT_S, ServerFolder
from agentnn.stores.rest.address import parse_address
from agentnn.stores.rest.opening import open_transport
from agentnn.stores.rest.replies import SentAway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path, PurePosixPath

    from agentnn.settings import Settings
    from agentnn.stores.rest.connection import Reply
    from agentnn.stores.rest.transport import Transport


def open_server_folder(uri: str, settings: Settings) -> ServerFolder:
    """A folder of a server, asked as the server itself is asked."""
    folder = RestFolder(uri, settings)
    transport = open_transport(folder.server, _for_host(folder.server, settings))
    if transport is None:
        return ServerFolder(uri, settings)
    folder.transport = transport
    return folder


class RestFolder(ServerFolder):
    """The folder, over a connection of its own: a file may be read while other questions are asked.

    Attributes:
        transport: Asks the server.
    """

    transport: Transport

    def write(self, inside: PurePosixPath, source: Path) -> None:
        """See :class:`~agentnn.stores.mlflow.artifacts.ServerFolder`."""
        self.transport.put(self._endpoint(inside), source, UPLOAD_TIMEOUT_S)

    def _get(self, endpoint: str, *, timeout_s: int = 0, **more: Any) -> Any:
        query = f"?{urlencode(more['params'])}" if "params" in more else ""
        try:
            return _Body(self.transport.open(endpoint + query, timeout_s))
        except SentAway as error:
            raise UnsafeError(
                "the server sends us to another address for its artifacts",
                hint="if that is where it is now, use the address as --tracking-uri",
            ) from error


class _Body:
    """The body of an answer, in chunks."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def iter_content(self, _: int) -> Iterator[bytes]:
        return self._reply.chunks()

    def close(self) -> None:
        self._reply.close()


def _for_host(server: str, settings: Settings) -> Settings:
    """The settings without the credentials, where a server is not the one that they are for."""
    ours, asked = parse_address(settings.tracking_uri), parse_address(server)
    if (ours.scheme, ours.host, ours.port) == (asked.scheme, asked.host, asked.port):
        return settings
    return replace(settings, credentials={})
