"""What of a filter and of an order a server can do: MLflow's own search language, as far as it means what ours means.

A server may keep its runs in any database or in files, and be of any age; what a condition means there differs in the
corners. So what is pushed down never leaves out a run that the filter finds, and may let others through: every answer
is looked at again with the filter itself. Left here are OR and NOT, regular expressions, numbers in params, ``!=``
(MySQL may ignore the case of letters), text with quotes or line breaks in it (nothing escapes them there), and what
stands behind the first wildcard of a pattern; of these it is pushed down that the run must have the field at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from agentnn.query.expressions import And, Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.expressions import Expression, Field
    from agentnn.query.runs import OrderBy

NO_VALUE = "1.0930771963473105e-301"
"""A number that no run has: ``metrics.x != NO_VALUE`` holds for every run that has the metric, NaN included, whether
the server knows that NaN is kept as 0 in a database or not."""

LIMIT = "1.7976931348623157e308"
"""What a database keeps for an infinity."""

ANY_STATUS = "attributes.status != 'NONE'"
"""What holds for every run."""

_ATTRIBUTES = ("status", "run_id", "run_name", "user_id")
_TIMES = ("start_time", "end_time")
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
_TEXT_KINDS = {"param": "params", "tag": "tags"}
_NARROWING = (" LIKE ", " ILIKE ", " IN ")
"""Of what is compared so, SQLite takes few to be left over."""

_UNSAFE = frozenset("'\"`\\;")


class Pushed(NamedTuple):
    """Conditions in MLflow's language, to be joined by AND.

    Attributes:
        conditions: All that could be pushed down.
        is_whole: Whether they find exactly what the filter finds, on every server.
    """

    conditions: tuple[str, ...] = ()
    is_whole: bool = True

    def __str__(self) -> str:
        return " AND ".join(self.conditions)

    @property
    def is_light(self) -> bool:
        """Whether there is hardly any condition, so that :func:`with_index` holds with one more for a run's columns."""
        return len(self.conditions) <= 1 and not any(
            any(word in one for word in _NARROWING) or not one.startswith("attributes.") for one in self.conditions
        )

    def and_also(self, *conditions: str) -> Pushed:
        """The same with further conditions."""
        return self._replace(conditions=(*self.conditions, *conditions))


def pushed(expression: Expression | None) -> Pushed:
    """The part of a filter that every server answers."""
    match expression:
        case None:
            return Pushed()
        case And(parts):
            each = [pushed(part) for part in parts]
            conditions = tuple(condition for one in each for condition in one.conditions)
            return Pushed(conditions, all(one.is_whole for one in each))
        case Comparison(field):
            if field.kind == "metric":
                return _metric(expression)
            if field.kind in _TEXT_KINDS:
                return _text(expression)
            return _attribute(expression) if field.kind == "attribute" else _dataset(expression)
    return Pushed(is_whole=False)


def pushed_order(order_by: Sequence[OrderBy]) -> list[str] | None:
    """Sort keys in MLflow's language; ``None`` where only we sort so: texts have another order in every database."""
    terms = []
    for key in order_by:
        name = _metric_name(key.field) if key.field.kind == "metric" else None
        if key.field.kind == "attribute" and key.field.key in _TIMES:
            name = f"attributes.{key.field.key}"
        if name is None:
            return None
        terms.append(f"{name} {'ASC' if key.ascending else 'DESC'}")
    return terms


def with_index(filter_: Pushed) -> Pushed:
    """The same conditions, so put that a database which was never analysed sorts by a metric in time.

    SQLite, at least 3.40 to 3.46, compares every run with every value for that, where it takes the runs for few: with
    no condition for a run's own columns, or more than two. With one or two, and one for a metric, it makes an index for
    the sort, however many runs are left over. Newer ones make it without.
    """
    return filter_ if filter_.conditions else filter_.and_also(ANY_STATUS)


def metric_name(key: str) -> str | None:
    """A metric as MLflow's language names it; ``None`` where it can't."""
    return f"metrics.`{key}`" if _is_safe(key) and key else None


def number(value: float) -> str:
    """A finite number as MLflow's language writes it, without loss."""
    return repr(float(value)).replace("e+", "e")


def one_of(run_ids: Sequence[str]) -> str:
    """The condition that a run is one of some."""
    return "attributes.run_id IN (" + ", ".join(f"'{run_id}'" for run_id in run_ids) + ")"


def _metric_name(field: Field) -> str | None:
    return metric_name(field.key)


def _metric(comparison: Comparison) -> Pushed:
    name, value = _metric_name(comparison.field), comparison.value
    if name is None or comparison.operator == "IS NULL":
        return Pushed(is_whole=False)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if comparison.operator in ("=", "<", "<=", ">", ">=") and is_number:
        assert isinstance(value, (int, float))
        return Pushed((f"{name} {comparison.operator} {number(value)}",), is_whole=False)
    return Pushed((f"{name} != {NO_VALUE}",), is_whole=False)


def _text(comparison: Comparison) -> Pushed:
    key, operator, value = comparison.field.key, comparison.operator, comparison.value
    if not _is_safe(key) or not key or operator == "IS NULL":
        return Pushed(is_whole=False)
    name = f"{_TEXT_KINDS[comparison.field.kind]}.`{key}`"
    if operator == "=" and isinstance(value, str) and _is_safe(value):
        return Pushed((f"{name} = '{value}'",))
    if operator in ("LIKE", "ILIKE") and (prefix := _prefix(value)):
        return Pushed((f"{name} {operator} '{prefix}%'",), is_whole=False)
    return Pushed((f"{name} LIKE '%'",), is_whole=False)


def _attribute(comparison: Comparison) -> Pushed:
    key, operator, value = comparison.field.key, comparison.operator, comparison.value
    name = f"attributes.{key}"
    if key in _TIMES:
        is_whole_number = isinstance(value, (int, float)) and math.isfinite(value) and float(value).is_integer()
        if operator in ("=", "<", "<=", ">", ">=") and is_whole_number and abs(float(str(value))) < 2**53:
            return Pushed((f"{name} {operator} {int(float(str(value)))}",), is_whole=False)
    elif key in _ATTRIBUTES:
        if operator == "=" and isinstance(value, str) and _is_safe(value):
            return Pushed((f"{name} = '{value}'",), is_whole=key == "status")
        if operator == "!=" and key == "status" and value in _STATUSES:
            return Pushed((f"{name} != '{value}'",))
        if operator == "IN" and key == "run_id" and isinstance(value, tuple) and all(map(_is_safe, map(str, value))):
            return Pushed((one_of([str(one) for one in value]),), is_whole=False)
        if operator in ("LIKE", "ILIKE") and (prefix := _prefix(value)):
            return Pushed((f"{name} {operator} '{prefix}%'",), is_whole=False)
    return Pushed(is_whole=False)


def _dataset(comparison: Comparison) -> Pushed:
    value = comparison.value
    if comparison.operator == "=" and isinstance(value, str) and _is_safe(value):
        return Pushed((f"datasets.{comparison.field.key} = '{value}'",), is_whole=False)
    return Pushed(is_whole=False)


def _prefix(pattern: object) -> str:
    """What stands before the first wildcard of a pattern, as far as it can be written."""
    text = str(pattern)
    end = min((index for index, char in enumerate(text) if char in "%_"), default=len(text))
    prefix = text[:end]
    return prefix if _is_safe(prefix) else ""


def _is_safe(text: str) -> bool:
    """Whether a text can stand in quotes, where nothing is escaped."""
    return text.isprintable() and _UNSAFE.isdisjoint(text)
