"""The documents of the runs that have changed, one run after the other."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import AgentNNError
from agentnn.stores.toml.layout import CONFIG, METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agentnn.stores.toml.index.seen import RunKey


class RunDocuments(NamedTuple):
    """What the two files of a run hold, and when each was written (ms since the epoch)."""

    key: RunKey
    config: dict[str, Any]
    metrics: dict[str, Any]
    config_written: int
    metrics_written: int


class Problem(NamedTuple):
    """A file of a run that can't be read; its path starts at the folder of all projects.

    A run one of whose files can't be read is left out whole: half of it would be taken for all of it.
    """

    key: RunKey
    path: str
    problem: str


def read_runs(base_dir: Path, keys: Iterable[RunKey]) -> Iterator[RunDocuments | Problem]:
    """The documents of some runs, in their order; a run that is no longer there is left out."""
    from agentnn.stores.toml.text.documents import parse  # not where nothing has changed

    for key in keys:
        path = f"{key.project}/{key.run}/{CONFIG}"
        try:
            config = read_file(base_dir, path)
            if config is None:
                continue
            documents = parse(config.data, path)
            path = f"{key.project}/{key.run}/{METRICS}"
            metrics = read_file(base_dir, path) or _NOTHING
            yield RunDocuments(key, documents, parse(metrics.data, path), config.written, metrics.written)
        except OSError as error:
            yield Problem(key, path, f"{path} can't be read: {error.strerror or error}")
        except AgentNNError as error:
            yield Problem(key, path, error.message)


class FileContent(NamedTuple):
    """What a file holds, and when it was written (ms since the epoch)."""

    data: bytes
    written: int


_NOTHING = FileContent(b"", 0)


def read_file(base_dir: Path, path: str) -> FileContent | None:
    """A file of a run, whole; ``None`` when there is none.

    Raises:
        OSError: It can't be read, or is no file.
    """
    try:
        descriptor = os.open(f"{base_dir}/{path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no file")
        data = os.read(descriptor, status.st_size + 1)
        while len(data) > status.st_size and (more := os.read(descriptor, 1 << 20)):  # it has grown meanwhile
            data += more
    finally:
        os.close(descriptor)
    return FileContent(data, status.st_mtime_ns // 1_000_000)
