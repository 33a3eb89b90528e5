"""The files of a model version, fetched to where we want them and nowhere else.

A store names files; it never says where they go. A name that leaves the folder and a link that does are refused before
anything of them is read or written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, CorruptDataError, NotFoundError, UnsafeError, UsageError
from agentnn.stores.artifacts.download import write_whole
from agentnn.stores.artifacts.files import DEEPEST
from agentnn.stores.artifacts.folder import safe_path
from agentnn.stores.artifacts.places import local_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.records import Artifact
    from agentnn.settings import Settings
    from agentnn.stores.artifacts.files import ArtifactFolder

DESCRIPTION = "MLmodel"
_UNFINISHED = ".agentnn-"


@dataclass(frozen=True, slots=True)
class Download:
    """A model version's files on this machine.

    Attributes:
        uri: The version.
        folder: Where the files are.
        files: How many.
        size: Their bytes.
    """

    uri: str
    folder: Path
    files: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"uri": self.uri, "folder": str(self.folder), "files": self.files, "size": self.size}


@contextmanager
def fetched(source: str, settings: Settings) -> Iterator[Path]:
    """The folder of a model for as long as it is needed: its own where it lies on this machine, or else a copy.

    Args:
        source: A version's source.
        settings: Name the store.

    Raises:
        NotFoundError: The model's files are not where its source says.
        UnsafeError: The store names a file outside the model's folder.
    """
    from agentnn.stores.mlflow.model_places import model_location

    location = model_location(source, settings)
    folder = local_folder(location)
    if folder is not None:
        yield _model_folder(folder, source)
        return
    with tempfile.TemporaryDirectory(prefix="agentnn-model-") as scratch:
        _fetch(location, settings, Path(scratch))
        yield _model_folder(Path(scratch), source)


def download(uri: str, source: str, settings: Settings, to: Path, *, force: bool = False) -> Download:
    """Put the files of a model version into a folder, which appears as a whole.

    Args:
        uri: The version, for messages.
        source: The version's source.
        settings: Name the store.
        to: The folder; it is made.
        force: Write into a folder that is not empty: a file of the model takes the place of one of its name, and
            nothing else in the folder is touched.

    Raises:
        ConflictError: There is something in the folder, or it is a file.
        NotFoundError: The model's files are not where its source says.
        UnsafeError: The store names a file outside the model's folder.
    """
    from agentnn.stores.mlflow.model_places import model_location

    check_target(to, force=force)
    to.absolute().parent.mkdir(parents=True, exist_ok=True)
    location = model_location(source, settings)
    folder = local_folder(location)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=to.absolute().parent) as scratch:
        made = Path(scratch, "model")
        made.mkdir()
        if folder is None:
            _fetch(location, settings, made)
        else:
            copy_folder(_model_folder(folder, source), made)
        _model_folder(made, source)
        sizes = [one.stat().st_size for one in made.rglob("*") if one.is_file()]
        _move_into_place(made, to)
    return Download(uri, to, len(sizes), sum(sizes))


def check_target(to: Path, *, force: bool) -> None:
    """A folder that can be written to without harm.

    Raises:
        ConflictError: There is something in it, or it is a file.
    """
    if to.is_file() or to.is_symlink() and not to.is_dir():
        raise ConflictError(f"{to} is a file", hint="choose a folder: --to DIR")
    if not force and to.is_dir() and any(to.iterdir()):
        raise ConflictError(f"{to} is not empty", hint="choose another folder with --to, or overwrite with --force")


def copy_folder(source: Path, target: Path) -> None:
    """Copy a model's folder that lies on this machine.

    Raises:
        UnsafeError: A link in it leads out of it.
        CorruptDataError: There is something in it that is neither a file nor a folder.
    """
    for path in files_in(source):
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, place)


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder, relative to it, in order.

    Raises:
        UnsafeError: A link in it leads out of it.
        CorruptDataError: There is something in it that is neither a file nor a folder.
    """
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *(one for one in folders if Path(parent, one).is_symlink())]):
            path = Path(parent, name)
            if not path.resolve().is_relative_to(root):
                raise UnsafeError(
                    f"{path.relative_to(folder)} in {folder} is a link that leaves the model's folder",
                    hint="look at it with your own tools",
                )
            if not path.is_file():
                raise CorruptDataError(f"{path.relative_to(folder)} in {folder} is no file", hint="look at it yourself")
            yield path.relative_to(folder)


def check_model_folder(folder: Path) -> Path:
    """A folder of the user's that holds a model.

    Raises:
        NotFoundError: There is no such folder.
        UsageError: There is no model in it.
    """
    if not folder.exists():
        raise NotFoundError(f"there is no folder {folder}", hint="give a run, or a folder with an MLmodel file")
    if not (folder / DESCRIPTION).is_file():
        inside = next((one.parent for one in folder.glob(f"*/{DESCRIPTION}")), None) if folder.is_dir() else None
        hint = f"did you mean {inside}?" if inside else "mlflow.<flavor>.save_model writes one"
        raise UsageError(f"{folder} is no model folder: there is no {DESCRIPTION} file in it", hint=hint)
    return folder


def _fetch(location: str, settings: Settings, target: Path) -> None:
    """Copy every file of a model that lies elsewhere; all names are looked at before the first is asked for."""
    from agentnn.stores.mlflow.artifacts import open_folder

    remote = open_folder(location, settings)
    for one in list(_files_of(remote, PurePosixPath())):
        write_whole(remote.read(PurePosixPath(one.path), one.size), target / safe_path(one.path))


def _files_of(remote: ArtifactFolder, folder: PurePosixPath) -> Iterator[Artifact]:
    if len(folder.parts) > DEEPEST:
        raise UnsafeError(f"the model's folders are nested more than {DEEPEST} deep", hint="look at the store")
    for one in remote.entries(folder):
        if one.is_dir:
            yield from _files_of(remote, PurePosixPath(one.path))
        else:
            yield one


def _model_folder(folder: Path, source: str) -> Path:
    if not (folder / DESCRIPTION).is_file():
        raise NotFoundError(f"there is no model at {source}", hint="the files were moved or deleted; register it again")
    return folder


def _move_into_place(made: Path, to: Path) -> None:
    if not to.is_dir():
        made.rename(to)
    elif not any(to.iterdir()):
        to.rmdir()
        made.rename(to)
    else:
        paths = list(files_in(made))
        for path in paths:
            if not (to / path).parent.resolve().is_relative_to(to.resolve()):
                raise UnsafeError(
                    f"{(to / path).parent} is reached by a link out of {to}", hint="choose another folder"
                )
        for path in paths:
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).replace(to / path)
