"""Runs that are gone through twice: once to find the columns that they have, once to print them."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING

from agentnn.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentnn.records import Run

_IN_MEMORY = 5000
"""Runs that are kept in memory, some 30 MB of them."""

_AT_ONCE = 100


class KeptRuns:
    """Runs for more than one round; of many, most wait in a temporary file, which nobody else can open.

    Args:
        runs: The runs; all of them are read here.

    Raises:
        StoreUnavailable: The temporary file could not be written.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        stream = iter(runs)
        self._first = list(islice(stream, _IN_MEMORY))
        self._file: IO[bytes] | None = None
        if len(self._first) == _IN_MEMORY:
            self._file = _file_of(stream)

    def __iter__(self) -> Iterator[Run]:
        yield from self._first
        if self._file is None:
            return
        from pickle import load

        self._file.seek(0)
        while chunk := load(self._file):  # noqa: S301 - we wrote it, and it has no name
            yield from chunk


def _file_of(runs: Iterator[Run]) -> IO[bytes]:
    """A file that holds runs, an empty chunk of them at the end."""
    from pickle import HIGHEST_PROTOCOL, dump
    from tempfile import TemporaryFile

    with _writing():
        file = TemporaryFile()  # noqa: SIM115 - it lives as long as what is kept
    while True:
        chunk = list(islice(runs, _AT_ONCE))
        with _writing():
            dump(chunk, file, HIGHEST_PROTOCOL)
            if not chunk:
                file.flush()
                return file


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"a temporary file for many runs can't be written: {error.strerror}",
            hint="name columns with --columns or take -o jsonl, which need none; or let TMPDIR name a place with room",
        ) from error
