"""The file of a metric of a run: a line for each value, ``TIME VALUE STEP``.

MLflow reads every line, a broken one too: it fails, or takes a part of a number for the number. So whatever has no line
end behind it does not count here, and goes before the next line comes.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError
from agentnn.records import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CHUNK = 1 << 16


def lines_of(points: Iterable[Metric]) -> bytes:
    """The lines of some values, in their order."""
    return "".join(f"{one.timestamp} {float(one.value)} {one.step}\n" for one in points).encode("ascii")


def append_lines(file: Path, lines: bytes) -> bool:
    """Add lines behind the last whole one, all of them or none.

    Returns:
        Whether there was one; where there is none, the file has to be made.

    Raises:
        OSError: They can't be written.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        end = _end_of_lines(descriptor)
        if end == 0:
            return False
        os.ftruncate(descriptor, end)
        try:
            if os.write(descriptor, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            os.ftruncate(descriptor, end)
            raise
        return True
    finally:
        os.close(descriptor)


def whole_lines(file: Path) -> list[str]:
    """The lines of a metric's file that are whole.

    Raises:
        FileNotFoundError: The run does not have the metric.
    """
    return file.read_bytes().decode("utf-8", "replace").split("\n")[:-1]


def points_of(key: str, lines: Iterable[str], file: Path) -> Iterator[Metric]:
    """The values that lines hold, read as MLflow reads them: only a line of three fields has a step.

    Raises:
        CorruptDataError: A line is none of MLflow's.
    """
    for number, line in enumerate(lines, start=1):
        fields = line.strip().split(" ")
        try:
            if len(fields) not in (2, 3, 5):
                raise ValueError
            step = int(fields[2]) if len(fields) == 3 else 0
            yield Metric(key, float(fields[1]), step, int(fields[0]))
        except ValueError:
            raise CorruptDataError(f"{file}:{number} is no value of a metric", hint="restore the file") from None


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _CHUNK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
