"""Who asks a server, and how: credentials, TLS, the workspace, patience; as MLflow's variables name them."""

from __future__ import annotations

import os
import re
import sys
from binascii import b2a_base64
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import UsageError
from agentnn.stores.rest.address import Address, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.settings import Settings

TIMEOUT_S = 10.0
"""How long a server may be silent, unless the user set MLFLOW_HTTP_REQUEST_TIMEOUT."""

RETRIES = 2
"""How often a read is tried again, unless the user set MLFLOW_HTTP_REQUEST_MAX_RETRIES."""

_PLUGINS = (b"mlflow.request_header_provider", b"mlflow.request_auth_provider")
_LOOPBACK = r"localhost|127(\.\d+){3}|::1"


class Tls(NamedTuple):
    """What a ``https:`` server has to prove, and what we prove to it.

    Attributes:
        verified: Whether its certificate has to be good.
        authorities: A file or a folder of certificates that it is checked against; ``None`` for the usual ones.
        own: A file with our certificate and its key.
    """

    verified: bool = True
    authorities: str | None = None
    own: str | None = None


class Access(NamedTuple):
    """What is needed to ask a server.

    Attributes:
        address: Where it is.
        headers: What goes with every request: the credentials, the workspace.
        workspace: The workspace; ``default`` is every server's.
        tls: For ``https:``.
        timeout_s: How long it may be silent.
        retries: How often a read is tried again.
    """

    address: Address
    headers: Mapping[str, str]
    workspace: str = "default"
    tls: Tls = Tls()
    timeout_s: float = TIMEOUT_S
    retries: int = RETRIES


def find_access(uri: str, settings: Settings, environ: Mapping[str, str] = os.environ) -> Access | None:
    """How to ask a server; ``None`` where only MLflow's own client knows the way to it.

    That is so with a proxy, with signatures for AWS, and with plug-ins that add headers or sign requests.

    Args:
        uri: The server's URI.
        settings: Who asks.
        environ: The environment.

    Raises:
        UsageError: The URI names no server, or a variable has no value that it can have.
    """
    if (
        _is_true(environ, "MLFLOW_TRACKING_AWS_SIGV4")
        or environ.get("MLFLOW_TRACKING_AUTH")
        or _has_plugins(tuple(sys.path))
    ):
        return None
    address = parse_address(uri)
    if _has_proxy(address, environ):
        return None
    headers = {"Host": address.host_header, "User-Agent": "agentnn", "Accept": "application/json"}
    if authorization := _authorization(address, settings.credentials, environ):
        headers["Authorization"] = authorization
    if settings.workspace != "default":
        headers["X-MLFLOW-WORKSPACE"] = settings.workspace
    if any(not " " <= char <= "~" for value in headers.values() for char in value):
        raise UsageError(
            "the token or the workspace holds a line break, or what is no ASCII", hint="look at your variables MLFLOW_…"
        )
    return Access(
        address,
        headers,
        settings.workspace,
        _tls(environ),
        _number(environ, "MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT_S, least=0.001),
        int(_number(environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES, least=0)),
    )


def _authorization(address: Address, credentials: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The header that says who asks, chosen as MLflow and requests choose it: the nearest to the address first."""
    user, password = _from_netrc(address.host, environ) or (address.user, address.password)
    if not (user or password):
        own_user, own_password = _from_file(credentials)
        if own_user and own_password:
            user, password = own_user, own_password
    if user or password:
        return "Basic " + b2a_base64(f"{user}:{password}".encode(), newline=False).decode("ascii")
    token = credentials.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else ""


def _from_file(credentials: Mapping[str, str]) -> tuple[str, str]:
    """Name and password, completed from the file in which MLflow keeps them."""
    user, password = credentials.get("MLFLOW_TRACKING_USERNAME", ""), credentials.get("MLFLOW_TRACKING_PASSWORD", "")
    file = Path("~/.mlflow/credentials").expanduser()
    if (user and password) or not file.is_file():
        return user, password
    from configparser import ConfigParser, Error  # few people have this file

    kept = ConfigParser()
    try:
        kept.read(file, encoding="utf-8")
    except (OSError, UnicodeDecodeError, Error) as error:
        raise UsageError(f"{file} can't be read", hint="it is as [mlflow], mlflow_tracking_username = …") from error
    section = kept["mlflow"] if kept.has_section("mlflow") else {}
    return (
        user or section.get("mlflow_tracking_username", ""),
        password or section.get("mlflow_tracking_password", ""),
    )


def _from_netrc(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and password that ``~/.netrc`` keeps for a host."""
    places = [environ["NETRC"]] if environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for place in places:
        file = Path(place).expanduser()
        with suppress(OSError):
            if not file.is_file():
                continue
            from netrc import NetrcParseError, netrc  # few people have this file

            with suppress(NetrcParseError):
                found = netrc(str(file)).authenticators(host)
                return None if found is None else (found[0] or found[1] or "", found[2] or "")
    return None


def _tls(environ: Mapping[str, str]) -> Tls:
    authorities = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
    insecure = _is_true(environ, "MLFLOW_TRACKING_INSECURE_TLS")
    if authorities and insecure:
        raise UsageError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH contradict each other",
            hint="unset one of them",
        )
    if not insecure:
        authorities = authorities or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or None
    return Tls(not insecure, authorities, environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None)


def _has_proxy(address: Address, environ: Mapping[str, str]) -> bool:
    """Whether requests to a host go through another one."""
    names = (f"{address.scheme}_proxy", f"{address.scheme}_PROXY".upper(), "all_proxy", "ALL_PROXY")
    if not any(environ.get(name) for name in names) or re.fullmatch(_LOOPBACK, address.host):
        return False
    from urllib.request import proxy_bypass  # few people have a proxy

    return not proxy_bypass(address.host)


@cache
def _has_plugins(folders: tuple[str, ...]) -> bool:
    """Whether something is installed that has a say in MLflow's requests; a tenth of what ``entry_points`` takes."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")) and _names_a_plugin(entry.path):
                    return True
    return False


def _names_a_plugin(distribution: str) -> bool:
    with suppress(OSError), open(f"{distribution}/entry_points.txt", "rb") as file:  # noqa: PTH123 - two hundred of them
        text = file.read()
        return any(group in text for group in _PLUGINS)
    return False


def _is_true(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() in ("true", "1")


def _number(environ: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number < float("inf"):
        raise UsageError(f"{name} is {text!r}, which is no such number", hint=f"for instance {default:g}")
    return number
