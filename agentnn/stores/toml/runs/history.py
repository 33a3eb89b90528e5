"""``history.jsonl``: every value that was logged with a step, a line a call::

    {"step": 3, "time": 1700000000000, "metrics": {"loss": 0.5, "x": "NaN"}}

Lines are only ever added, in one write each call, so that a line which breaks off at the end was never acknowledged.
JSON knows no NaN and no infinities: they are the words ``NaN``, ``Infinity`` and ``-Infinity``. The format is that of
https://jsonlines.org.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import CorruptDataError, StoreUnavailable
from agentnn.records import Metric
from agentnn.stores.toml.runs.replacing import unwritable, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Line(NamedTuple):
    """A whole line of a history.

    Attributes:
        start, end: Where it lies in the file, in bytes.
        points: Its values.
    """

    start: int
    end: int
    points: list[Metric]


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of a history in their order, which is that of logging; what breaks off at the end is left out.

    Args:
        path: The file; one that is not there has no lines.
        offset: Where to begin, the end of a line; its lines are counted from there.

    Raises:
        CorruptDataError: A line is none of ours; the message names it.
        StoreUnavailable: The file can't be read.
    """
    data = _read(path, offset)
    start = 0
    number = 0
    while start < len(data):
        number += 1
        feed = data.find(b"\n", start)
        end = feed + 1 if feed >= 0 else len(data)
        text = data[start:end].strip()
        try:
            points = _points(text) if text else []
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if feed < 0:
                return
            raise CorruptDataError(
                f"{path} is damaged: line {number} is no record of metrics", hint="mend the line, or take it out"
            ) from error
        yield Line(offset + start, offset + end, points)
        start = end


def lines_of(points: Iterable[Metric]) -> bytes:
    """Points as lines: neighbours of the same step and time share one, unless they are of the same metric."""
    lines = []
    for (step, timestamp), group in groupby(points, key=lambda point: (point.step, point.timestamp)):
        values: dict[str, Any] = {}
        for point in group:
            if point.key in values:
                lines.append(_line(step, timestamp, values))
                values = {}
            values[point.key] = point.value if math.isfinite(point.value) else _word(point.value)
        lines.append(_line(step, timestamp, values))
    return "".join(lines).encode("ascii")


def append(path: Path, lines: bytes, end: int, *, sync: bool = False) -> tuple[int, int]:
    """Add lines after the last whole one; the folder must be locked.

    Args:
        path: The file; it is made where there is none.
        lines: The lines.
        end: The end of the last whole line. What breaks off behind it is cut off.
        sync: Have the disk hold them before this returns.

    Returns:
        The end of the lines, and the inode of the file.

    Raises:
        StoreUnavailable: They can't be written; then none of them is.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, end)
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                lines = b"\n" + lines
            os.lseek(descriptor, end, os.SEEK_SET)
            try:
                write_all(descriptor, lines)
                if sync:
                    os.fsync(descriptor)
                return end + len(lines), os.fstat(descriptor).st_ino
            except BaseException:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unwritable(path, error) from error


def cut(path: Path, end: int) -> None:
    """Take back what was added behind the end of a line."""
    with suppress(OSError):
        os.truncate(path, end)


def rank(point: Metric) -> tuple[int, int, float]:
    """By what the value of a metric is the greatest of its step, then its time, then the value; NaN counts as 0."""
    return point.step, point.timestamp, 0.0 if point.value != point.value else point.value


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be read: {error.strerror}") from error


def _points(text: bytes) -> list[Metric]:
    line = json.loads(text)
    step, timestamp = line["step"], line["time"]
    if type(step) is not int or type(timestamp) is not int:
        raise ValueError("a step and a time are whole numbers")
    return [Metric(key, _number(value), step, timestamp) for key, value in line["metrics"].items()]


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    return _WORDS[value]


def _word(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _line(step: int, timestamp: int, values: dict[str, Any]) -> str:
    return json.dumps({"step": step, "time": timestamp, "metrics": values}) + "\n"
