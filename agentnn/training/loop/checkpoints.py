"""The states of a training on disk, so that it goes on where it was killed.

::

    <folder>/
    ├── last.pt            all that the training needs to go on, after some epoch
    ├── last.previous.pt   the one before
    ├── best.pt            the best weights so far, a state dict
    └── .lock              held while the training lives

A state is written to a temporary file, synchronised, and put in its place at once: whatever dies meanwhile, the new one
or the one before can be read. What a disk damaged is told by the checksums in the file, and the one before is read.
Files are read with ``weights_only=True``, so that they never run code.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import time
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from agentnn.errors import ConflictError, CorruptDataError, StoreUnavailable, UnsafeError
from agentnn.tracking.capture.guard import warn
from agentnn.tracking.journal.state import make_private_folder, open_private

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
LAST, PREVIOUS, BEST = _FILES = ("last.pt", "last.previous.pt", "best.pt")
_TEMPORARY = ".writing"
_COST_SHARE = 0.01
_LEAST_INTERVAL_S = 1.0


class Checkpoints:
    """The folder of one training; a context manager, which holds its lock.

    Args:
        folder: Where they are; it is made, private to the user. Without one nothing is kept.
        every_s: Seconds between two states; 0 for one after every epoch. Without it they are so far apart that writing
            takes about a hundredth of the time, and at least a second.

    Raises:
        ConflictError: Another training uses the folder.
        StoreUnavailable: The folder can't be made.
    """

    def __init__(self, folder: str | Path | None, every_s: float | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.epoch = 0
        """The epoch of the state that is on disk; 0 while there is none."""
        self._best_epoch = 0
        self._told: set[type] = set()
        self._every_s = every_s
        self._lock = -1
        self._next = time.monotonic() + (_LEAST_INTERVAL_S if every_s is None else every_s)

    def __enter__(self) -> Self:
        if self.folder is not None:
            self._lock = _locked(self.folder)
            for left in self.folder.glob(f".*{_TEMPORARY}"):
                left.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def are_kept(self) -> bool:
        """Whether there is a folder."""
        return self.folder is not None

    @property
    def are_due(self) -> bool:
        """Whether it is time for another state."""
        return self.folder is not None and time.monotonic() >= self._next

    def start(self, device: torch.device, *, resume: bool) -> dict[str, Any] | None:
        """The state to go on from, if that is wanted; otherwise the folder is cleared for a new training.

        Raises:
            ConflictError: The folder holds an unfinished training that is not to be resumed.
            CorruptDataError: It is to be resumed, there are states, and none of them is whole.
            UnsafeError: A file holds something other than a state.
        """
        if self.folder is None:
            return None
        try:
            state = self._read(self.folder, device)
        except CorruptDataError:
            if resume:
                raise
            state = None
        if resume:
            self.epoch = state["epoch"] if state else 0
            return state
        if state is not None and not state["finished"]:
            raise ConflictError(
                f"{self.folder} holds an unfinished training, of {state['epoch']} epochs",
                hint="resume it, or name another folder for checkpoints, or delete this one",
            )
        self._clear(self.folder)
        return None

    def _clear(self, folder: Path) -> None:
        """Remove the states of a training that is over."""
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)

    def _read(self, folder: Path, device: torch.device) -> dict[str, Any] | None:
        """The last state that is whole; ``None`` where there is none at all."""
        damaged = None
        for path in (folder / LAST, folder / PREVIOUS):
            try:
                state = read_state(path, device)
            except FileNotFoundError:
                continue
            except CorruptDataError as error:
                damaged = damaged or error
                continue
            if damaged is not None:
                warn(f"{damaged}; the state before is taken, of epoch {state['epoch']}")
            return state
        if damaged is not None:
            raise damaged
        return None

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the state, and the best weights where they have changed.

        Warns:
            AgentNNWarning: It could not be written; training goes on, and the one before is still there. It is said
                once.
        """
        if self.folder is None:
            return
        began, best = time.monotonic(), state["best"]
        try:
            if best["weights"] is not None and best["epoch"] != self._best_epoch:
                self._put_best(self.folder, best)
                self._best_epoch = best["epoch"]
            self._put(self.folder, state)
            self.epoch = state["epoch"]
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when a disk is full
            if type(error) not in self._told:
                self._told.add(type(error))
                warn(f"the state of epoch {state['epoch']} could not be kept in {self.folder}: {error}")
        ended = time.monotonic()
        interval = max(_LEAST_INTERVAL_S, (ended - began) / _COST_SHARE) if self._every_s is None else self._every_s
        self._next = ended + interval

    def _put_best(self, folder: Path, best: Mapping[str, Any]) -> None:
        """Replace the best weights."""
        write_state(folder / BEST, best["weights"])

    def _put(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Replace the last state, and keep the one before."""
        write_state(folder / LAST, state, keep=folder / PREVIOUS)


def write_state(path: Path, state: Mapping[str, Any], *, keep: Path | None = None) -> None:
    """Replace a file at once, private to the user; ``keep`` then names what it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with os.fdopen(open_private(temporary, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None:
            with suppress(FileNotFoundError):
                path.replace(keep)
        temporary.replace(path)
        _synchronise(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a state that :func:`write_state` wrote; no code in the file is ever run.

    Raises:
        FileNotFoundError: There is none.
        CorruptDataError: It is damaged.
        UnsafeError: It holds something other than a state.
    """
    try:
        with path.open("rb") as file:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch does not look at the checksums
            if damaged is not None:
                raise CorruptDataError(f"{path} is damaged")
            file.seek(0)
            state = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeError(f"{path} holds something other than the state of a training, and was not loaded") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError) as error:
        raise CorruptDataError(f"{path} is damaged: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CorruptDataError(f"{path} does not hold the state of a training")
    return state


def _locked(folder: Path) -> int:
    """Make a folder and lock it for this process, which frees it however it ends."""
    try:
        make_private_folder(folder)
        descriptor = open_private(folder / ".lock", os.O_RDWR)
    except (StoreUnavailable, OSError) as error:
        why = error.__cause__ if isinstance(error, StoreUnavailable) else error
        raise StoreUnavailable(
            f"checkpoints can't be kept in {folder}: {getattr(why, 'strerror', why)}",
            hint="name a folder that you may write to",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConflictError(
            f"another training keeps its checkpoints in {folder}", hint="wait for it, or name another folder"
        ) from error
    return descriptor


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
