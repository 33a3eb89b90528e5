"""What a day's date says of it: known beforehand, and the same for every market."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

CALENDAR = ("weekday_sin", "weekday_cos", "month_day", "month_sin", "month_cos")
"""The columns of :func:`calendar_of`, in order."""

_MONDAY_OF_WEEKS = np.datetime64("1969-12-29", "D")
_WEEK, _YEAR = 7, 12


def calendar_of(dates: NDArray[Any]) -> NDArray[np.float32]:
    """The weekday and the month as places on a circle, and the day's place in its month, from 0 to 1.

    Args:
        dates: Shape (n,), ``datetime64``.

    Returns:
        Shape (n, 5), each between -1 and 1; a row depends on its own date alone.
    """
    days = dates.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    weekday = (days - _MONDAY_OF_WEEKS).astype(np.int64) % _WEEK
    first, following = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
    month_day = (days - first).astype(np.int64) / ((following - first).astype(np.int64) - 1)
    month = months.astype(np.int64) % _YEAR
    columns = [*_on_a_circle(weekday / _WEEK), month_day, *_on_a_circle(month / _YEAR)]
    return np.stack(columns, axis=1).astype(np.float32)


def _on_a_circle(turns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)
