"""TLS for a connection, with what MLflow's variables ask for."""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import UsageError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from agentnn.stores.rest.access import Tls


def encrypted(connected: socket.socket, host: str, tls: Tls) -> ssl.SSLSocket:
    """The same connection, encrypted.

    Raises:
        OSError: The other side does not prove what it has to, or speaks no TLS.
        UsageError: A file of certificates can't be read.
    """
    return _context(tls).wrap_socket(connected, server_hostname=host)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not tls.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.authorities is None:
        _trust_the_usual(context)
    else:
        _load(tls.authorities, lambda: _trust(context, Path(str(tls.authorities))))
    if tls.own is not None:
        _load(tls.own, lambda: context.load_cert_chain(str(tls.own)))
    return context


def _trust_the_usual(context: ssl.SSLContext) -> None:
    """The authorities that MLflow's client trusts, which come with a package; without it those of the system."""
    package = find_spec("certifi")
    bundle = Path(package.origin).with_name("cacert.pem") if package is not None and package.origin else None
    if bundle is not None and bundle.is_file():
        context.load_verify_locations(bundle)
    else:
        context.load_default_certs()


def _trust(context: ssl.SSLContext, place: Path) -> None:
    if place.is_dir():
        context.load_verify_locations(capath=place)
    else:
        context.load_verify_locations(place)


def _load(place: str, load: Callable[[], None]) -> None:
    try:
        load()
    except OSError as error:
        raise UsageError(
            f"the certificates in {place} can't be read: {error.strerror or error}",
            hint="look at MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_CLIENT_CERT_PATH",
        ) from error
