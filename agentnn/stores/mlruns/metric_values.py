"""What the lines of a metric's file say, ``TIME VALUE STEP`` each: read as MLflow reads them, but in a few large steps.

MLflow keeps no order among them. The latest value is that of the greatest (step, time, value), with NaN as 0, as in the
other stores: the last line need not say it. A file may hold millions of lines: it comes in blocks, of which one at a
time is in memory, and where all lines of a block have three fields, they are taken apart at once.
"""

from __future__ import annotations

import math
import operator
import re
import sys
from array import array
from contextlib import suppress
from itertools import islice, repeat
from typing import TYPE_CHECKING, NamedTuple

from agentnn.query.selection import exact_mean
from agentnn.records import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentnn.query.selection import Aggregate

_FEW = 8
_FIELDS = 3
_LARGEST = sys.float_info.max
_STEPS = re.compile(rb" (-?[0-9]+)\n")


class _Columns(NamedTuple):
    """The times, the values and the steps of some lines."""

    times: list[bytes]
    values: list[bytes]
    steps: list[int]


class _Latest(NamedTuple):
    """A value, and what makes it the latest: its step, its time and itself."""

    order: tuple[int, int, float]
    value: float


def latest_value(blocks: Iterable[bytes]) -> float | None:
    """The latest value in a metric's file; ``None`` when it holds none.

    Args:
        blocks: Its content; each block but the last ends with a line.

    Raises:
        ValueError: A line is none of MLflow's.
    """
    latest: _Latest | None = None
    for block in blocks:
        found = _latest_of_rising(block) or _latest_of(_columns(block, is_first=latest is None))
        if found is not None and (latest is None or found.order > latest.order):
            latest = found
    return None if latest is None else latest.value


def aggregated_value(blocks: Iterable[bytes], aggregate: Aggregate) -> float | None:
    """One value for a metric's file, as :func:`~agentnn.query.selection.aggregate_history` says; ``last`` aside.

    Args:
        blocks: Its content; each block but the last ends with a line.
        aggregate: ``min``, ``max``, ``mean`` or ``first``.

    Raises:
        ValueError: A line is none of MLflow's.
    """
    kept: array[float] = array("d")
    firsts: list[tuple[int, int, float]] = []
    unusable = None
    for columns in _all_columns(blocks):
        values = list(map(float, columns.values))
        finite = [value for value in values if -_LARGEST < value < _LARGEST]
        if len(finite) < len(values):
            has_infinite = unusable == math.inf or any(abs(value) >= _LARGEST for value in values)
            unusable = math.inf if has_infinite else math.nan
        if not finite:
            continue
        if aggregate == "mean":
            kept.extend(finite)
        elif aggregate == "first":
            firsts.append(_first_of(columns, values))
        else:
            kept.append(min(finite) if aggregate == "min" else max(finite))
    if firsts:
        return min(firsts)[2]
    if not kept:
        return unusable
    return exact_mean(kept) if aggregate == "mean" else min(kept) if aggregate == "min" else max(kept)


def points_in(key: str, blocks: Iterable[bytes]) -> list[Metric]:
    """Every value in a metric's file, by (step, time, value).

    Args:
        key: The metric's name.
        blocks: Its content; each block but the last ends with a line.

    Raises:
        ValueError: A line is none of MLflow's.
    """
    points: list[Metric] = []
    for times, values, steps in _all_columns(blocks):
        points += map(Metric, repeat(key), map(_as_kept, map(float, values)), steps, map(int, times))
    steps = [one.step for one in points]
    if not all(map(operator.lt, steps, islice(steps, 1, None))):
        points.sort(key=lambda one: (one.step, one.timestamp, _sortable(one.value)))
    return points


def _latest_of_rising(block: bytes) -> _Latest | None:
    """The latest of lines of which the last one has the greatest step, as nearly all have; else ``None``."""
    lines = block.count(b"\n")
    if not block.endswith(b"\n") or block.count(b" ") != (_FIELDS - 1) * lines:
        return None
    steps = list(map(int, _STEPS.findall(block)))  # MLflow's values are no integers
    last = max(steps, default=0)
    if len(steps) != lines or steps[-1] != last or steps.count(last) != 1:
        return None
    time, text, _ = _taken_apart(block[block.rfind(b"\n", 0, -1) + 1 :])
    value = _as_kept(float(text))
    return _Latest((last, int(time), _sortable(value)), value)


def _latest_of(columns: _Columns) -> _Latest | None:
    """The latest of some lines; ``None`` when there is none."""
    times, values, steps = columns
    if not steps:
        return None
    last = max(steps)
    where = (index for index, step in enumerate(steps) if step == last)
    kept = [(int(times[index]), _as_kept(float(values[index]))) for index in where]
    time, value = max(kept, key=lambda one: (one[0], _sortable(one[1])))
    return _Latest((last, time, _sortable(value)), value)


def _first_of(columns: _Columns, values: list[float]) -> tuple[int, int, float]:
    """The step, the time and the value of the first finite one of some lines."""
    times, _, steps = columns
    finite = ((step, at) for at, step in enumerate(steps) if -_LARGEST < values[at] < _LARGEST)
    return min((step, int(times[at]), values[at]) for step, at in finite)


def _all_columns(blocks: Iterable[bytes]) -> Iterator[_Columns]:
    """The columns of blocks in which there are lines."""
    is_first = True
    for block in blocks:
        columns = _columns(block, is_first=is_first)
        if columns.steps:
            is_first = False
            yield columns


def _columns(block: bytes, *, is_first: bool) -> _Columns:
    """The columns of a block.

    Args:
        block: It begins with a line.
        is_first: Whether no line came before it.
    """
    whole, _, broken = block.rpartition(b"\n")
    lines = whole.count(b"\n") + 1 if whole else 0
    fields = whole.split()
    if not broken and len(fields) == _FIELDS * lines and lines > _FEW:
        try:
            return _Columns(fields[::3], fields[1::3], list(map(int, fields[2::3])))
        except ValueError:
            pass  # lines of two and of five fields have as many on the average, but MLflow's values are no integers
    return _columns_line_by_line(whole.split(b"\n") if whole else [], broken, is_first=is_first)


def _columns_line_by_line(lines: list[bytes], broken: bytes, *, is_first: bool) -> _Columns:
    taken = [_taken_apart(line) for line in lines]
    if broken and (broken.count(b" ") != 1 or (is_first and not lines)):  # who wrote it was killed, or ends no line
        with suppress(ValueError):
            taken.append(_taken_apart(broken))
    return _Columns([one[0] for one in taken], [one[1] for one in taken], [one[2] for one in taken])


def _taken_apart(line: bytes) -> tuple[bytes, bytes, int]:
    """A line, in MLflow's way: only one of three fields has a step; one of five names a data set."""
    fields = line.strip().split(b" ")
    if len(fields) not in (2, _FIELDS, 5):
        raise ValueError("not 2, 3 or 5 fields")
    int(fields[0]), float(fields[1])
    return fields[0], fields[1], int(fields[2]) if len(fields) == _FIELDS else 0


def _as_kept(value: float) -> float:
    """A value as every store gives it back: in SQL the largest double stands for an infinity."""
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value


def _sortable(value: float) -> float:
    return 0.0 if math.isnan(value) else value
