"""The last checkpoints of a training, the best weights, and digests that tell what a disk damaged.

::

    <folder>/
    ├── epoch-000012.pt          all that the training needs to go on after this epoch; the last few of them
    ├── epoch-000012.pt.sha256   its digest, as sha256sum writes and checks it
    ├── last.pt                  a link to the last one
    ├── best-000009.pt           the best weights so far, a state dict, and its digest
    ├── best.pt                  a link to it
    └── .lock                    held while the training lives

A digest is in its place before the file that it is of, and a file is put in its place at once, so that whatever dies
meanwhile, a whole version stays. One that is damaged is passed over, the one before is taken, and that is said.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import CorruptDataError
from agentnn.tracking.capture.guard import warn
from agentnn.tracking.journal.state import open_private
from agentnn.training.loop.checkpoints import BEST, LAST, Checkpoints, read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_STATE, _WEIGHTS = "epoch", "best"
_DIGEST, _TEMPORARY = ".sha256", ".writing"


class VersionedCheckpoints(Checkpoints):
    """The folder of one training; a context manager, which holds its lock.

    Args:
        folder: Where they are; it is made, private to the user. Without one nothing is kept.
        every_s: See :class:`~agentnn.training.loop.checkpoints.Checkpoints`.
        keep: How many versions stay.
    """

    def __init__(self, folder: str | Path | None, every_s: float | None = None, *, keep: int = 3) -> None:
        super().__init__(folder, every_s)
        self._keep = keep

    def versions(self) -> list[Path]:
        """The versions that are there, the last one first."""
        return [] if self.folder is None else _versions(self.folder, _STATE)

    def job(self) -> str:
        """What torchrun called the unfinished training that is there; empty without one that can be read."""
        try:
            state = None if self.folder is None else self._read(self.folder, torch.device("cpu"))
        except CorruptDataError:
            return ""
        return str(state["distributed"]["job"]) if state and not state["finished"] else ""

    def _clear(self, folder: Path) -> None:
        for name in (LAST, BEST):
            (folder / name).unlink(missing_ok=True)
        _remove([*_versions(folder, _STATE), *_versions(folder, _WEIGHTS)])

    def _read(self, folder: Path, device: torch.device) -> dict[str, Any] | None:
        damaged = None
        for path in _versions(folder, _STATE):
            try:
                check_digest(path)
                state = read_state(path, device)
            except CorruptDataError as error:
                damaged = damaged or error
                continue
            if damaged is not None:
                warn(f"{damaged}; {path.name} is taken, the state of epoch {state['epoch']}")
            return state
        if damaged is not None:
            raise damaged
        return None

    def _put_best(self, folder: Path, best: Mapping[str, Any]) -> None:
        path = _named(folder, _WEIGHTS, best["epoch"])
        _put_version(path, best["weights"])
        _link(folder / BEST, path)
        _remove(one for one in _versions(folder, _WEIGHTS) if one != path)

    def _put(self, folder: Path, state: Mapping[str, Any]) -> None:
        path = _named(folder, _STATE, state["epoch"])
        _put_version(path, state)
        _link(folder / LAST, path)
        versions = _versions(folder, _STATE)
        place = versions.index(path)  # later ones were damaged, and passed over
        _remove([*versions[:place], *versions[place + self._keep :]])


def check_digest(path: Path) -> None:
    """Compare a file with its digest.

    Raises:
        CorruptDataError: They differ, or there is no digest.
    """
    try:
        said = path.with_name(path.name + _DIGEST).read_text(encoding="ascii").partition(" ")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptDataError(f"{path} has no digest that could be read") from error
    if said != _digest_of(path):
        raise CorruptDataError(f"{path} is damaged: its SHA-256 is another one than when it was written")


def _versions(folder: Path, kind: str) -> list[Path]:
    """Files of a kind, the last one first."""
    return sorted(folder.glob(f"{kind}-*.pt"), reverse=True)


def _named(folder: Path, kind: str, epoch: int) -> Path:
    return folder / f"{kind}-{epoch:06d}.pt"


def _put_version(path: Path, state: Mapping[str, Any]) -> None:
    """Write a file, then its digest, and then put the file in its place."""
    temporary = path.with_name(f".{path.name}.new{_TEMPORARY}")
    try:
        write_state(temporary, state)
        _write_text(path.with_name(path.name + _DIGEST), f"{_digest_of(temporary)}  {path.name}\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    with os.fdopen(open_private(temporary, os.O_WRONLY | os.O_TRUNC), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _link(link: Path, path: Path) -> None:
    temporary = link.with_name(f".{link.name}{_TEMPORARY}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(path.name)
    temporary.replace(link)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        path.with_name(path.name + _DIGEST).unlink(missing_ok=True)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
