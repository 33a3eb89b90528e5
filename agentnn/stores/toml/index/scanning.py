"""What lies in a folder of projects: which runs there are, and what tells whether a file of theirs has changed.

A scan opens no file. It asks for the status of each, which is the floor of what any answer costs: 10,000 runs have
20,000 files. Links are followed; since nothing is looked for deeper than ``BASE/PROJECT/RUN``, a loop of links ends
there.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import StoreUnavailable
from agentnn.stores.file_signature import NUMBERS, UNSETTLED_NS, packed, signature
from agentnn.stores.toml.layout import PROJECT
from agentnn.stores.toml.projects import is_name, no_such_store

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence
    from pathlib import Path

_ABSENT = (0,) * NUMBERS
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Unreadable(NamedTuple):
    """A file that could not be read; the runs of all others are there."""

    path: Path
    problem: str


class ProjectScan(NamedTuple):
    """What lies in the folder of one project.

    Attributes:
        settings: The signature of ``project.toml``; zeros when there is none.
        runs: The names of the runs, sorted.
        signatures: Those of the files of each run, as many numbers a run in the order of the runs.
    """

    settings: array[int]
    runs: list[str]
    signatures: array[int]


class Scan(NamedTuple):
    """What lies in a folder of projects.

    Attributes:
        projects: What lies in each, by the name of its folder, sorted.
        files: How many files of a run were asked for.
        unreadable: What could not be looked at.
    """

    projects: dict[str, ProjectScan]
    files: int
    unreadable: tuple[Unreadable, ...]


def scan(base_dir: Path, files: Sequence[str]) -> Scan:
    """Look at some files of all runs.

    A file that changed less than two seconds ago has a signature that is like no other, itself included: whoever keeps
    it looks again.

    Args:
        base_dir: The folder of all projects.
        files: The names of the files of a run; the first is the one that makes a folder a run.

    Raises:
        StoreUnavailable: There is no such folder, or it can't be read.
    """
    settled_before = time.time_ns() - UNSETTLED_NS
    unreadable: list[Unreadable] = []
    projects = {}
    for name in _names(base_dir):
        found = _scan_project(base_dir / name, files, settled_before, unreadable)
        if found is not None:
            projects[name] = found
    return Scan(projects, len(files), tuple(unreadable))


def _names(base_dir: Path) -> list[str]:
    try:
        return _visible([one.name for one in base_dir.iterdir()])
    except FileNotFoundError:
        raise no_such_store(base_dir) from None
    except OSError as error:
        raise StoreUnavailable(
            f"{base_dir} can't be read: {error.strerror}", hint="check the path and its permissions"
        ) from error


def _visible(names: list[str]) -> list[str]:
    return sorted(filter(is_name, names))


def _scan_project(
    folder: Path, files: Sequence[str], settled_before: int, unreadable: list[Unreadable]
) -> ProjectScan | None:
    """What lies in a project's folder; ``None`` for what is no folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NO_FILE:
            unreadable.append(Unreadable(folder, _refusal(folder, error)))
        return None
    try:
        runs, numbers = _scan_runs(folder, descriptor, files, settled_before, unreadable)
        settings = _signature(PROJECT, descriptor, settled_before)
    except OSError as error:
        unreadable.append(Unreadable(folder, _refusal(folder, error)))
        return None
    finally:
        os.close(descriptor)
    return ProjectScan(packed(settings or _ABSENT), runs, packed(numbers))


def _scan_runs(
    folder: Path, descriptor: int, files: Sequence[str], settled_before: int, unreadable: list[Unreadable]
) -> tuple[list[str], list[int]]:
    first, *others = files
    runs: list[str] = []
    numbers: list[int] = []
    for name in _visible(os.listdir(descriptor)):
        try:
            of_first = _signature(f"{name}/{first}", descriptor, settled_before)
            if of_first is None:
                continue
            of_others = [_signature(f"{name}/{other}", descriptor, settled_before) for other in others]
        except OSError as error:
            unreadable.append(Unreadable(folder / name, _refusal(folder / name, error)))
            continue
        runs.append(name)
        numbers += of_first
        for one in of_others:
            numbers += one or _ABSENT
    return runs, numbers


def _signature(path: str, descriptor: int, settled_before: int) -> tuple[int, ...] | None:
    """A file's signature; ``None`` when there is no such file."""
    try:
        return signature(os.stat(path, dir_fd=descriptor), settled_before)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise


def _refusal(path: Path, error: OSError) -> str:
    return f"{path} can't be read: {error.strerror}"
