"""Functions of ours that SQL calls."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from agentnn.query.expressions import to_number
from agentnn.query.selection import exact_mean

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_STEPS_DEAF = 100_000
"""Steps of SQLite's virtual machine between two looks for a signal: some milliseconds."""


class SqlFunctions:
    """The functions of a connection, and what they meet while a statement runs.

    Attributes:
        met_damage: Whether a value was not of its column's type.
    """

    def __init__(self) -> None:
        self._damage: list[object] = []
        self._asides: list[Callable[[Any, Any], object]] = []

    @property
    def met_damage(self) -> bool:
        return bool(self._damage)

    def begin(self, aside: Callable[[Any, Any], object] | None = None) -> None:
        """A statement begins; ``aside`` takes what it passes over."""
        self._damage.clear()
        self._asides[:] = [] if aside is None else [aside]

    def join(self, connection: sqlite3.Connection) -> None:
        """Make them known to a connection."""
        connection.set_progress_handler(_heed_signals, _STEPS_DEAF)
        connection.create_function("number_of", 1, to_number, deterministic=True)
        connection.create_function("regexp", 2, _regexp, deterministic=True)
        connection.create_function("damaged", 1, partial(_damaged, self._damage))
        connection.create_function("aside", 2, partial(_aside, self._asides))
        connection.create_aggregate("exact_mean", 1, _Mean)  # type: ignore[arg-type]


class _Mean:
    """The mean of the values that are not NULL, as an aggregate function of SQLite."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        return exact_mean(self._values) if self._values else None


def _damaged(met: list[object], value: object) -> None:
    """Called by SQL where a value is not of its column's type, so that the answer is an error and no nonsense."""
    met.append(value)
    raise ValueError(value)


def _aside(asides: list[Callable[[Any, Any], object]], first: object, second: object) -> bool:
    """Called by SQL for what a question passes over, and somebody wants to know of."""
    for aside in asides:
        aside(first, second)
    return False


def _heed_signals() -> int:
    """Called by SQLite as it works: Python hears Ctrl-C when a function is called. 0 is for going on."""
    return 0


def _regexp(pattern: str, text: str | None) -> bool:
    return text is not None and re.search(pattern, text) is not None
