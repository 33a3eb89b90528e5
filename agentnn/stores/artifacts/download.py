"""Files of a run copied into a folder: each whole or not at all, none outside, none over what is there by mistake."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import ConflictError, StoreUnavailable, UnsafeError
from agentnn.stores.artifacts.folder import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from agentnn.records import Artifact
    from agentnn.stores.artifacts.files import RunFiles

_NAMED = 3


class DownloadedFile(NamedTuple):
    """A file of a run, and where it is now.

    Attributes:
        path: Its path in the run.
        file: Where it was written.
        size: Its bytes.
        sha256: The digest of what was written.
    """

    path: str
    file: str
    size: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return self._asdict()


def download(files: RunFiles, artifacts: Sequence[Artifact], to: Path, *, force: bool = False) -> list[DownloadedFile]:
    """Copy files of a run into a folder, which is made when it is not there.

    Args:
        files: The run's files.
        artifacts: Those that are wanted, all of them files.
        to: The folder.
        force: Replace files that are there.

    Raises:
        UnsafeError: A file would be written outside the folder; nothing was written.
        ConflictError: There is a file already; nothing was written.
        StoreUnavailable, CorruptDataError: A file did not arrive whole; those before it did.
    """
    places = [_place(to, one.path) for one in artifacts]
    _check_places(places, force=force)
    return [_copied(files, one, place, force=force) for one, place in zip(artifacts, places, strict=True)]


def write_whole(chunks: Iterable[bytes], place: Path, *, replace: bool = False) -> tuple[int, str]:
    """Write a file so that nobody ever sees a part of it; the number of its bytes, and their SHA-256.

    Raises:
        ConflictError: There is something at its place.
        StoreUnavailable: It can't be written there.
    """
    unfinished = place.with_name(f".agentnn-{secrets.token_hex(8)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        size, digest = 0, hashlib.sha256()
        with unfinished.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        _move(unfinished, place, replace=replace)
    except OSError as error:
        if isinstance(error, StoreUnavailable):
            raise
        raise StoreUnavailable(
            f"{place} can't be written: {error.strerror}", hint="check the folder, its permissions and the room there"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return size, digest.hexdigest()


def _move(unfinished: Path, place: Path, *, replace: bool) -> None:
    if replace:
        unfinished.replace(place)
        return
    try:
        place.hardlink_to(unfinished)  # unlike a move, it never replaces
    except FileExistsError:
        raise _taken([place]) from None
    except OSError:  # a file system without links
        if place.exists():
            raise _taken([place]) from None
        unfinished.replace(place)


def _copied(files: RunFiles, artifact: Artifact, place: Path, *, force: bool) -> DownloadedFile:
    size, digest = write_whole(files.read_listed(artifact), place, replace=force)
    return DownloadedFile(artifact.path, str(place), size, digest)


def _place(to: Path, path: str) -> Path:
    place = to / safe_path(path)
    if not place.parent.resolve().is_relative_to(to.resolve()):
        raise UnsafeError(f"{place.parent} is a link that leaves {to}", hint="choose another folder with --to")
    return place


def _check_places(places: Sequence[Path], *, force: bool) -> None:
    folders = {folder for place in places for folder in place.parents}
    twofold = next((place for place in places if place in folders), None)
    if twofold is not None:
        raise UnsafeError(f"{twofold} would be a file and a folder", hint="nothing was written; look at the store")
    taken = [place for place in places if _is_taken(place, force=force)]
    if taken:
        raise _taken(taken, can_force=not any(place.is_dir() for place in taken))


def _is_taken(place: Path, *, force: bool) -> bool:
    in_the_way = any(folder.exists() and not folder.is_dir() for folder in place.parents)
    return in_the_way or place.is_dir() or (not force and (place.exists() or place.is_symlink()))


def _taken(places: Sequence[Path], *, can_force: bool = True) -> ConflictError:
    named = ", ".join(str(place) for place in places[:_NAMED]) + (", …" if len(places) > _NAMED else "")
    hint = "--force replaces files; --to names another folder" if can_force else "--to names another folder"
    return ConflictError(f"already there: {named}; nothing was written", hint=hint)
