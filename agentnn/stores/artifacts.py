"""The files of a run where they lie on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from agentnn.errors import NotFoundError, StoreUnavailable, UnsafeError
from agentnn.records import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping


def local_folder(uri: str | None) -> Path | None:
    """The folder that an artifact URI names on this machine; ``None`` for one that lies elsewhere."""
    if not uri:
        return None
    parts = urlsplit(uri)
    if parts.scheme == "":
        return Path(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def list_artifact_folder(root_uri: str | None, models: Mapping[str, str], path: str = "") -> list[Artifact]:
    """What lies directly under a path of a run.

    Args:
        root_uri: The run's artifact URI.
        models: The models that the run logged, name to artifact location. MLflow 3 keeps them elsewhere, but
            ``runs:/ID/name`` finds them; here each is a folder of the run.
        path: A folder relative to the run's root, with ``/``; empty for the root itself.

    Raises:
        UnsafeError: The path leaves the run's folder.
        NotFoundError: There is no such folder.
        StoreUnavailable: The artifacts lie on another machine or in a cloud store.
    """
    parts = relative_path(path).parts
    if parts and parts[0] in models:
        return _entries(_local(models[parts[0]]), PurePosixPath(*parts[1:]), prefix=parts[0])
    found = [] if parts else [Artifact(name, is_dir=True) for name in models]
    root = _local(root_uri)
    if parts or root.is_dir():
        found += _entries(root, PurePosixPath(*parts), prefix="")
    return sorted(found, key=lambda artifact: artifact.path)


def relative_path(path: str) -> PurePosixPath:
    """A path inside a run.

    Raises:
        UnsafeError: The path leaves the run's folder.
    """
    relative = PurePosixPath(path)
    if ".." in relative.parts or relative.is_absolute():
        raise UnsafeError(f"{path!r} leaves the run's folder", hint="give a path relative to the run's artifacts")
    return relative


def _local(uri: str | None) -> Path:
    folder = local_folder(uri)
    if folder is None:
        raise StoreUnavailable(
            f"the artifacts are not on this machine but at {uri}", hint="use the tracking server's URI"
        )
    return folder


def _entries(root: Path, inside: PurePosixPath, *, prefix: str) -> list[Artifact]:
    folder = root / inside
    shown = PurePosixPath(prefix) / inside
    if not folder.resolve().is_relative_to(root.resolve()):
        raise UnsafeError(
            f"{str(shown)!r} is a link that leaves the run's folder", hint="look at it with your own tools"
        )
    if folder.is_file():
        return [Artifact(str(shown), is_dir=False, size=folder.stat().st_size)]
    try:
        with os.scandir(folder) as entries:
            found = [_artifact(entry, shown) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"there is no artifact {str(shown)!r}", hint="agentnn run artifacts RUN lists them"
        ) from None
    return sorted(found, key=lambda artifact: artifact.path)


def _artifact(entry: os.DirEntry[str], folder: PurePosixPath) -> Artifact:
    """An entry of a folder; a link is shown as it is, and not followed."""
    is_dir = entry.is_dir(follow_symlinks=False)
    size = None
    if not is_dir:
        with suppress(OSError):  # it may be gone by now
            size = entry.stat(follow_symlinks=False).st_size
    return Artifact(str(folder / entry.name), is_dir, size)
