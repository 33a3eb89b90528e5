"""Artifacts that are not on this machine: a tracking server's, over its own protocol, and a cloud store's.

What the other side answers is not believed: a listing may name nothing but direct children of what was asked for, a
file may not be another size than was listed, and nobody is sent on to another address.
"""

from __future__ import annotations

import json
import posixpath
import tempfile
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from agentnn.errors import CorruptDataError, NotFoundError, StoreUnavailable, UnsafeError, UsageError
from agentnn.records import Artifact
from agentnn.stores.artifacts.folder import CHUNK, checked_size, safe_path
from agentnn.stores.mlflow.calls import TIMEOUT_S, mlflow_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from urllib.parse import SplitResult

    from agentnn.settings import Settings
    from agentnn.stores.artifacts.files import ArtifactFolder

DOWNLOAD_TIMEOUT_S = 60
"""How long a server may be silent before it sends a file, which it may fetch from a cloud store first."""

UPLOAD_TIMEOUT_S = 300
"""How long it may be silent after it was sent a file, which it may hand on to a cloud store first."""

_SERVICE = "/mlflow-artifacts/artifacts"
_LONGEST_LISTING = 64 << 20


def is_kept_by_server(uri: str) -> bool:
    """Whether an address is one of a tracking server's artifacts."""
    return urlsplit(uri).scheme in ("mlflow-artifacts", "http", "https")


def check_names(paths: Iterable[str], settings: Settings) -> None:
    """Look whether the store can keep files of these names, before one is sent.

    Raises:
        UsageError: It is an MLflow server, which refuses a ``#`` and reads ``%41`` as ``A``.
    """
    if not is_kept_by_server(settings.tracking_uri):
        return
    for path in paths:
        if "#" in path or unquote(path) != path:
            raise UsageError(
                f"an MLflow server can't keep a file of the name {path!r}", hint="rename the file, or use a database"
            )


def open_folder(uri: str, settings: Settings) -> ArtifactFolder:
    """A folder of artifacts at an address that :func:`~agentnn.stores.artifacts.places.check_place` lets pass."""
    if is_kept_by_server(uri):
        from agentnn.stores.rest.artifact_folder import open_server_folder  # it builds on this module

        return open_server_folder(uri, settings)
    return CloudFolder(uri, settings)


class ServerFolder:
    """A folder that a tracking server keeps (https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store).

    Args:
        uri: ``mlflow-artifacts:/path``, or the ``http:`` address that it stands for.
        settings: Name the server.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            self._server, path = f"{_server_of(parts, settings)}/api/2.0", parts.path
        else:
            self._server, found, path = uri.partition(_SERVICE)
            if not found:
                raise UnsafeError(f"{uri} is no address of a tracking server's artifacts")
        self._root = PurePosixPath(unquote(path).strip("/"))
        self._settings = settings

    @property
    def server(self) -> str:
        """The address behind which the server's own path to its artifacts begins."""
        return self._server

    def is_there(self) -> bool:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`; the server lists nothing where nothing is."""
        return True

    def entries(self, inside: PurePosixPath) -> list[Artifact]:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`.

        Raises:
            UnsafeError: The server names something that is not in the folder, or sends us elsewhere.
            StoreUnavailable: The server does not answer, or in other words than MLflow's.
        """
        try:
            with closing(self._get(_SERVICE, params={"path": str(self._root / inside)})) as response:
                answer = _json_of(response, self._settings)
        except NotFoundError:
            return []
        files = answer.get("files", []) if isinstance(answer, dict) else None
        if not isinstance(files, list):
            raise _no_listing()
        found = [_listed(one, inside) for one in files]
        return sorted(found, key=lambda one: one.path)

    def read(self, inside: PurePosixPath, size: int | None = None) -> Iterator[bytes]:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`.

        Raises:
            NotFoundError: The server has no such file.
            CorruptDataError: It is not what was listed.
        """
        response = self._get(self._endpoint(inside), timeout_s=DOWNLOAD_TIMEOUT_S)
        return checked_size(_chunks(response), size, str(inside))

    def write(self, inside: PurePosixPath, source: Path) -> None:
        """Send a file. MLflow's own client puts ``a#b`` to ``a``: it does not quote what stands in an address."""
        with source.open("rb") as file:
            self._request("PUT", self._endpoint(inside), read=False, timeout_s=UPLOAD_TIMEOUT_S, data=file).close()

    def _endpoint(self, inside: PurePosixPath) -> str:
        return f"{_SERVICE}/{quote(str(self._root / inside), safe='/')}"

    def _get(self, endpoint: str, *, timeout_s: int = TIMEOUT_S, **more: Any) -> Any:
        return self._request("GET", endpoint, read=True, timeout_s=timeout_s, **more)

    def _request(self, method: str, endpoint: str, *, read: bool, timeout_s: int, **more: Any) -> Any:
        with mlflow_call(self._settings, read=read, timeout_s=timeout_s):
            from mlflow.utils.credentials import get_default_host_creds
            from mlflow.utils.rest_utils import augmented_raise_for_status, http_request

            response = http_request(
                get_default_host_creds(self._server), endpoint, method, stream=True, allow_redirects=False, **more
            )
            if response.is_redirect:
                response.close()
                raise UnsafeError(
                    "the server sends us to another address for its artifacts",
                    hint="if that is where it is now, use the address as --tracking-uri",
                )
            augmented_raise_for_status(response)
            return response


class CloudFolder:
    """A folder in a cloud store, by MLflow's own client of that store.

    Args:
        uri: Such as ``s3://bucket/path``.
        settings: Name the tracking store.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        self._settings = settings
        with mlflow_call(settings):
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            self._repository = get_artifact_repository(uri, tracking_uri=settings.tracking_uri)

    def is_there(self) -> bool:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`; such a store lists nothing where nothing is."""
        return True

    def entries(self, inside: PurePosixPath) -> list[Artifact]:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`."""
        with mlflow_call(self._settings):
            found = self._repository.list_artifacts(str(inside) if inside.parts else None)
        listed = [_checked(one.path, one.is_dir, one.file_size, inside) for one in found]
        return sorted(listed, key=lambda one: one.path)

    def read(self, inside: PurePosixPath, size: int | None = None) -> Iterator[bytes]:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`; the file goes through the disk."""
        return checked_size(self._downloaded(inside), size, str(inside))

    def _downloaded(self, inside: PurePosixPath) -> Iterator[bytes]:
        with tempfile.TemporaryDirectory() as scratch:
            with mlflow_call(self._settings, timeout_s=DOWNLOAD_TIMEOUT_S):
                file = Path(self._repository.download_artifacts(str(inside), scratch))
            with file.open("rb") as opened:
                while chunk := opened.read(CHUNK):
                    yield chunk


def _server_of(parts: SplitResult, settings: Settings) -> str:
    """The tracking server, or another one that an address names and that was declared."""
    tracking = urlsplit(settings.tracking_uri)
    if not parts.netloc or parts.netloc == tracking.netloc.rpartition("@")[2]:
        return settings.tracking_uri.rstrip("/")
    return f"{tracking.scheme}://{parts.netloc}"


def _listed(one: Any, folder: PurePosixPath) -> Artifact:
    if not isinstance(one, dict) or not isinstance(one.get("path"), str):
        raise _no_listing()
    size = one.get("file_size")
    try:
        number = None if size is None else int(size)
    except (TypeError, ValueError):
        raise _no_listing() from None
    return _checked(str(folder / one["path"]), bool(one.get("is_dir")), number, folder, name=one["path"])


def _checked(path: str, is_dir: bool, size: int | None, folder: PurePosixPath, *, name: str | None = None) -> Artifact:
    """An entry of a listing.

    Raises:
        UnsafeError: It is no direct child of the folder that was listed.
    """
    name = posixpath.basename(path) if name is None else name
    if PurePosixPath(path).parent != folder or len(safe_path(name).parts) != 1:
        raise UnsafeError(
            f"the store lists {name!r} in the folder {str(folder)!r}", hint="nothing was written; look at the store"
        )
    return Artifact(path, is_dir, None if is_dir else size)


def _json_of(response: Any, settings: Settings) -> Any:
    read = bytearray()
    for chunk in _chunks(response):
        read += chunk
        if len(read) > _LONGEST_LISTING:
            raise CorruptDataError(f"the server lists more than {_LONGEST_LISTING >> 20} MB of names in one folder")
    try:
        return json.loads(read)
    except (ValueError, RecursionError):
        raise _no_listing() from None


def _chunks(response: Any) -> Iterator[bytes]:
    """The body of an answer; it is read outside of MLflow's calls, which other threads wait for."""
    with closing(response):
        try:
            yield from response.iter_content(CHUNK)
        except OSError as error:  # requests' own errors are such
            raise StoreUnavailable(
                f"the server broke off while it sent a file ({type(error).__name__})", hint="try again"
            ) from error


def _no_listing() -> StoreUnavailable:
    return StoreUnavailable("the server's list of artifacts is not as MLflow writes it", hint="check the tracking URI")
