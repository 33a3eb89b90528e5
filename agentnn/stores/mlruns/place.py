"""Which tracking URIs name a folder of runs on this machine, and how MLflow writes down what lies in it."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse, urlunparse, urlunsplit

from agentnn.stores.artifacts.folder import local_folder

if TYPE_CHECKING:
    from agentnn.settings import Settings

_NO_FOLDERS = ("databricks", "databricks-uc", "uc")


def mlruns_folder(settings: Settings) -> Path | None:
    """The folder of runs that the tracking URI names; ``None`` where only MLflow knows what it does with the URI.

    That is a plain path or a ``file:`` URI. In a plain path MLflow takes ``%20`` for a space; a workspace it does not
    keep in files; and below a folder that is called ``artifacts`` it finds no runs.
    """
    uri = settings.tracking_uri
    is_uri = uri.startswith("file:")
    if settings.workspace != "default" or uri in _NO_FOLDERS or (":" in uri and not is_uri):
        return None
    if any(sign in uri for sign in ("?#;" if is_uri else "%")):
        return None
    folder = local_folder(uri)
    return None if folder is None or "artifacts" in folder.parts else folder


def artifact_root(uri: str, folder: Path) -> str:
    """Where MLflow keeps the artifacts of experiments that do not say: with the runs."""
    if folder.is_absolute():
        return uri
    absolute = (Path.cwd() / folder).as_posix()
    return urlunsplit(("file", "", absolute, "", "")) if uri.startswith("file:") else absolute


def below(uri: str, *names: str) -> str:
    """The address of something below another address, as MLflow puts it together."""
    parts = urlparse(uri)
    if not parts.scheme:
        return posixpath.join(uri, *names)
    path = posixpath.join(parts.path, *names)
    if parts.path.startswith("/"):
        return urlunparse(parts._replace(path=path))
    return f"{parts.scheme}:{urlunparse(parts._replace(scheme='', path=path))}"
