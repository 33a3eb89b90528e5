"""A filter and an order over records, for stores that can't push them down.

It says in Python what :mod:`agentnn.stores.sql.where` says in SQL; the contract tests hold the two together.
"""

from __future__ import annotations

import math
import operator
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentnn.query.expressions import And, Comparison, Expression, Not, Or, to_number
from agentnn.records import RUN_NAME_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentnn.query.expressions import Field
    from agentnn.query.runs import OrderBy
    from agentnn.records import Run

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def matches(expression: Expression | None, run: Run) -> bool:
    """Whether a run satisfies a filter; ``None`` is satisfied by all."""
    match expression:
        case None:
            return True
        case And(parts):
            return all(matches(part, run) for part in parts)
        case Or(parts):
            return any(matches(part, run) for part in parts)
        case Not(part):
            return not matches(part, run)
        case Comparison():
            return _holds(expression, run)


def sorted_runs(runs: Iterable[Run], order_by: Iterable[OrderBy] = ()) -> list[Run]:
    """Runs in an order; behind it the later start first, then the smaller run id."""
    ordered = sorted(runs, key=natural_order)
    for key in reversed(tuple(order_by)):
        ordered.sort(key=lambda run, key=key: sort_key(field_values(key.field, run), key))  # type: ignore[misc]
    return ordered


def natural_order(run: Run) -> tuple[float, str]:
    """MLflow's own order: the later start first, then the smaller run id; no start at all comes last."""
    return (math.inf if run.start_time is None else -run.start_time, run.run_id)


def field_values(field: Field, run: Run) -> tuple[Any, ...]:
    """What a run holds under a field: nothing, one value, or one a data set."""
    if field.kind == "dataset":
        values = (getattr(dataset, field.key) for dataset in run.datasets)
        return tuple(value for value in values if value is not None)
    value = _single_value(field, run)
    return () if value is None else (value,)


def _single_value(field: Field, run: Run) -> Any:
    if field.kind == "metric":
        return run.metrics.get(field.key)
    if field.kind == "param":
        return run.params.get(field.key)
    if field.kind == "tag":
        return run.tags.get(field.key)
    if field.key == "run_name":
        return run.tags.get(RUN_NAME_TAG, run.name)
    return getattr(run, "user" if field.key == "user_id" else field.key)


def _holds(comparison: Comparison, run: Run) -> bool:
    values = field_values(comparison.field, run)
    if comparison.operator == "IS NULL":
        return not values
    if comparison.operator == "IS NOT NULL":
        return bool(values)
    return any(fulfils(value, comparison) for value in values)


def fulfils(actual: Any, comparison: Comparison) -> bool:
    """Whether a value that is there is as a comparison wants it; IS NULL and IS NOT NULL are not asked here."""
    name, expected = comparison.operator, comparison.value
    if name in ("IN", "NOT IN"):
        assert isinstance(expected, tuple)
        return any(_plain(actual, "=", value) for value in expected) == (name == "IN")
    if name in ("=~", "!~"):
        return (re.search(str(expected), actual) is not None) == (name == "=~")
    if name.endswith("LIKE"):
        found = like(actual, str(expected), ignore_case=name.endswith("ILIKE"))
        return found != name.startswith("NOT ")
    return _plain(actual, name, expected)


def _plain(actual: Any, name: str, expected: Any) -> bool:
    if isinstance(expected, bool):
        return (str(actual).lower() == str(expected).lower()) == (name == "=")
    if isinstance(actual, str) and not isinstance(expected, str):
        actual = to_number(actual)
        if actual is None:
            return name == "!="
    return bool(_COMPARE[name](actual, expected))


def like(text: str, pattern: str, *, ignore_case: bool = False) -> bool:
    """SQL's LIKE: ``%`` is any text, ``_`` one character; ``ignore_case`` for ASCII letters, as databases do."""
    if ignore_case:
        text, pattern = ascii_lower(text), ascii_lower(pattern)
    return _like_regex(pattern).fullmatch(text) is not None


def ascii_lower(text: str) -> str:
    """A text with its ASCII letters in lower case."""
    return text.translate(_ASCII_LOWER)


@lru_cache(maxsize=64)
def _like_regex(pattern: str) -> re.Pattern[str]:
    parts = (".*" if char == "%" else "." if char == "_" else re.escape(char) for char in pattern)
    return re.compile("".join(parts), re.DOTALL)


def sort_key(values: tuple[Any, ...], order: OrderBy) -> tuple[Any, ...]:
    """What sorts runs by their values of a field.

    Values come first, then NaN, then missing, in both directions; a param or a tag that is a number, as a number.
    """
    if not values:
        return (2,)
    value = values[0]
    if isinstance(value, float) and math.isnan(value):
        return (1,)
    number = to_number(value) if order.field.kind in ("param", "tag") else None
    if number is not None:
        return (0, 0 if order.ascending else 1, number if order.ascending else -number, _Text("", True))
    if isinstance(value, str):
        return (0, 1 if order.ascending else 0, 0.0, _Text(value, order.ascending))
    return (0, 0, value if order.ascending else -value, _Text("", True))


class _Text:
    """A text that sorts in either direction."""

    __slots__ = ("ascending", "text")

    def __init__(self, text: str, ascending: bool) -> None:
        self.text, self.ascending = text, ascending

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: _Text) -> bool:
        return self.text < other.text if self.ascending else other.text < self.text
