"""What the lines of a metric's file say, ``TIME VALUE STEP`` each: read as MLflow reads them, but in a few large steps.

MLflow keeps no order among them. The latest value is that of the greatest (step, time, value), with NaN as 0, as in the
other stores. A file may hold millions of lines: where all of them have three fields, they are taken apart at once.
"""

from __future__ import annotations

import math
import sys

from agentnn.records import Metric

_FEW = 8
_FIELDS = 3


def latest_value(data: bytes) -> float | None:
    """The latest value in a metric's file; ``None`` when it holds none.

    Raises:
        ValueError: A line is none of MLflow's.
    """
    if data.count(b"\n") == 1 and data.endswith(b"\n"):  # most metrics of a finished run
        fields = data.split(b" ")
        if len(fields) == _FIELDS:
            int(fields[0]), int(fields[2])
            return _as_kept(float(fields[1]))
    times, values, steps = _columns(data)
    if not steps:
        return None
    last = max(steps)
    if steps[-1] == last and steps.count(last) == 1:
        return _as_kept(float(values[-1]))
    candidates = [index for index, step in enumerate(steps) if step == last]
    kept = [(int(times[index]), _as_kept(float(values[index]))) for index in candidates]
    return max(kept, key=lambda one: (one[0], _sortable(one[1])))[1]


def points_in(key: str, data: bytes) -> list[Metric]:
    """Every value in a metric's file, by (step, time, value).

    Raises:
        ValueError: A line is none of MLflow's.
    """
    times, values, steps = _columns(data)
    points = [
        Metric(key, _as_kept(float(value)), step, int(time))
        for time, value, step in zip(times, values, steps, strict=True)
    ]
    points.sort(key=lambda one: (one.step, one.timestamp, _sortable(one.value)))
    return points


def _columns(data: bytes) -> tuple[list[bytes], list[bytes], list[int]]:
    """The times, the values and the steps of the lines."""
    whole, _, broken = data.rpartition(b"\n")
    lines = whole.count(b"\n") + 1 if whole else 0
    fields = whole.split()
    if not broken and len(fields) == _FIELDS * lines and lines > _FEW:
        try:
            return fields[::3], fields[1::3], list(map(int, fields[2::3]))
        except ValueError:
            pass  # lines of two and of five fields have as many on the average, but MLflow's values are no integers
    return _columns_line_by_line(whole.split(b"\n") if whole else [], broken)


def _columns_line_by_line(lines: list[bytes], broken: bytes) -> tuple[list[bytes], list[bytes], list[int]]:
    times: list[bytes] = []
    values: list[bytes] = []
    steps: list[int] = []
    for line in lines:
        time, value, step = _taken_apart(line)
        times.append(time)
        values.append(value)
        steps.append(step)
    if broken and (broken.count(b" ") != 1 or not lines):  # whoever wrote it was killed, or ends no line
        try:
            time, value, step = _taken_apart(broken)
        except ValueError:
            return times, values, steps
        return [*times, time], [*values, value], [*steps, step]
    return times, values, steps


def _taken_apart(line: bytes) -> tuple[bytes, bytes, int]:
    """A line, in MLflow's way: only one of three fields has a step; one of five names a data set."""
    fields = line.strip().split(b" ")
    if len(fields) not in (2, _FIELDS, 5):
        raise ValueError("not 2, 3 or 5 fields")
    int(fields[0]), float(fields[1])
    return fields[0], fields[1], int(fields[2]) if len(fields) == _FIELDS else 0


def _as_kept(value: float) -> float:
    """A value as every store gives it back: in SQL the largest double stands for an infinity."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _sortable(value: float) -> float:
    return 0.0 if math.isnan(value) else value
