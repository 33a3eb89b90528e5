"""A filter and an order as SQL.

It says in SQL what :mod:`agentnn.query.evaluation` says in Python; the contract tests hold the two together. Every
condition is two-valued: it is never NULL, so that NOT turns it around as it does there.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from agentnn.query.expressions import And, Comparison, Expression, Field, Not, Or
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.sql.dialect import FALSE, SQLITE, TRUE, Dialect, Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.runs import OrderBy

LARGEST = sys.float_info.max
"""MLflow keeps infinities in SQL as the largest double, of either sign."""

KEYED_TABLES = {"metric": "latest_metrics", "param": "params", "tag": "tags"}
_TIMES = ("start_time", "end_time")


def all_of(conditions: Sequence[Sql]) -> Sql:
    """Conditions joined by AND; none at all is true."""
    return _joined(list(conditions), "AND") if conditions else TRUE


def where(expression: Expression, dialect: Dialect = SQLITE, *, datasets: bool = True) -> Sql:
    """A filter as a condition on ``runs r``.

    Args:
        expression: The filter.
        dialect: What the database says in its own way.
        datasets: Whether the database has tables for data sets; where it has none, no run has a data set.
    """
    match expression:
        case And(parts):
            return _joined([where(part, dialect, datasets=datasets) for part in parts], "AND")
        case Or(parts):
            return _joined([where(part, dialect, datasets=datasets) for part in _gathered(parts)], "OR")
        case Not(part):
            inner = where(part, dialect, datasets=datasets)
            return Sql(f"NOT ({inner.text})", inner.values)
        case Comparison(field):
            if field.kind == "attribute":
                return _attribute(expression, dialect)
            if field.kind == "dataset":
                if not datasets:
                    return TRUE if expression.operator == "IS NULL" else FALSE
                return _dataset(expression, dialect)
            return _keyed(expression, dialect)


def order_terms(order_by: Sequence[OrderBy], dialect: Dialect = SQLITE) -> tuple[str, tuple[Any, ...], list[str]]:
    """Sort keys as joins on ``runs r``, the values of their placeholders, and ORDER BY terms.

    A param or a tag takes a database that has our functions.
    """
    joins: list[str] = []
    values: list[Any] = []
    terms: list[str] = []
    for index, order in enumerate(order_by):
        direction = "ASC" if order.ascending else "DESC"
        if order.field.kind == "attribute":
            column = attribute_column(order.field.key, dialect)
            sorted_by = column if order.field.key in _TIMES else dialect.exact(column)
            terms += [f"{column} IS NULL", f"{sorted_by} {direction}"]
            continue
        alias = f"o{index}"
        named = dialect.equal(f"{alias}.key", order.field.key)
        joins.append(
            f"LEFT JOIN {KEYED_TABLES[order.field.kind]} {alias} ON {named.text} AND {alias}.run_uuid = r.run_uuid"
        )
        values += named.values
        terms.append(f"{alias}.value IS NULL")
        if order.field.kind == "metric":
            terms += [f"{alias}.is_nan", f"{alias}.value {direction}"]
        else:
            number = f"number_of({alias}.value)"
            text = f"CASE WHEN {number} IS NULL THEN {alias}.value END"
            terms += [f"{number} IS NULL {direction}", f"{number} {direction}", f"{text} {direction}"]
    return " ".join(joins), tuple(values), terms


def attribute_column(name: str, dialect: Dialect = SQLITE) -> str:
    """The SQL expression for an attribute of ``runs r``."""
    if name == "run_name":
        tag = "(SELECT t.value FROM tags t WHERE t.key = '" + RUN_NAME_TAG + "' AND t.run_uuid = r.run_uuid)"
        return f"COALESCE({tag}, r.name, '')"
    if name == "experiment_id":
        return dialect.as_text("r.experiment_id")
    return "r.run_uuid" if name == "run_id" else f"r.{name}"


def _gathered(parts: Sequence[Expression]) -> list[Expression]:
    """The parts of an OR with what is one field's equalities made into one IN, which an index can answer."""
    equalities: dict[Field, list[str | float]] = {}
    others: list[Expression] = []
    for part in parts:
        value = part.value if isinstance(part, Comparison) and part.operator == "=" else None
        if isinstance(part, Comparison) and isinstance(value, (str, float, int)) and not isinstance(value, bool):
            equalities.setdefault(part.field, []).append(value)
        else:
            others.append(part)
    return [Comparison(field, "IN", tuple(values)) for field, values in equalities.items()] + others


def _joined(parts: list[Sql], word: str) -> Sql:
    """Conditions joined so that SQLite follows: it takes 1000 levels of expression and a parser stack of 100 entries.

    The tree is balanced, and the deepest part comes first, since what stands before it would wait on that stack.
    """
    parts = sorted(parts, key=lambda part: -_depth(part.text))
    while len(parts) > 1:
        pairs = [parts[index : index + 2] for index in range(0, len(parts), 2)]
        parts = [
            Sql(f"({pair[0].text} {word} {pair[1].text})", pair[0].values + pair[1].values)
            if len(pair) == 2
            else pair[0]
            for pair in pairs
        ]
    return parts[0]


def _depth(text: str) -> int:
    """How deeply the parentheses of a piece of SQL are nested."""
    deepest = depth = 0
    for char in text:
        if char == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif char == ")":
            depth -= 1
    return deepest


def _attribute(comparison: Comparison, dialect: Dialect) -> Sql:
    column = attribute_column(comparison.field.key, dialect)
    if comparison.operator in ("IS NULL", "IS NOT NULL"):
        return Sql(f"{column} {comparison.operator}")
    condition = comparison_with(column, comparison, dialect)
    return Sql(f"({column} IS NOT NULL AND {condition.text})", condition.values)


def _keyed(comparison: Comparison, dialect: Dialect) -> Sql:
    """A condition on a metric, a param or a tag."""
    table = KEYED_TABLES[comparison.field.kind]
    if comparison.operator in ("IS NULL", "IS NOT NULL"):
        named = dialect.equal("x.key", comparison.field.key)
        exists = f"EXISTS (SELECT 1 FROM {table} x WHERE {named.text} AND x.run_uuid = r.run_uuid"
        present = Sql(f"{exists} AND x.value IS NOT NULL)", named.values)
        return present if comparison.operator == "IS NOT NULL" else Sql(f"NOT {present.text}", present.values)
    rows = matching_rows(comparison, dialect)
    return Sql(f"EXISTS (SELECT 1 FROM {table} x WHERE {rows.text} AND x.run_uuid = r.run_uuid)", rows.values)


def matching_rows(comparison: Comparison, dialect: Dialect = SQLITE) -> Sql:
    """Which rows ``x`` of a field's own table fulfil a comparison with a metric, a param or a tag."""
    named = dialect.equal("x.key", comparison.field.key)
    condition = comparison_with("x.value", comparison, dialect)
    if comparison.field.kind == "metric":
        # NaN is kept as 0 beside a flag; as in IEEE 754 it is unequal to everything.
        unequal = comparison.operator in ("!=", "NOT IN")
        condition = Sql(f"({condition.text} {'OR x.is_nan' if unequal else 'AND NOT x.is_nan'})", condition.values)
    return Sql(f"{named.text} AND x.value IS NOT NULL AND {condition.text}", (*named.values, *condition.values))


def _dataset(comparison: Comparison, dialect: Dialect) -> Sql:
    column = "t.value" if comparison.field.key == "context" else f"d.{comparison.field.key}"
    exists = (
        "EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id "
        "LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' "
        f"WHERE i.destination_type = 'RUN' AND i.destination_id = r.run_uuid AND {column} IS NOT NULL"
    )
    if comparison.operator in ("IS NULL", "IS NOT NULL"):
        return Sql(f"{'NOT ' if comparison.operator == 'IS NULL' else ''}{exists})")
    condition = comparison_with(column, comparison, dialect)
    return Sql(f"{exists} AND {condition.text})", condition.values)


def comparison_with(column: str, comparison: Comparison, dialect: Dialect = SQLITE) -> Sql:
    """A comparison with a column that is not NULL."""
    operator, value = comparison.operator, comparison.value
    if operator in ("IN", "NOT IN"):
        assert isinstance(value, tuple)
        found = _membership(column, value, comparison.field, dialect)
        return found if operator == "IN" else Sql(f"NOT {found.text}", found.values)
    if operator in ("=~", "!~"):
        return Sql(f"{'NOT ' if operator == '!~' else ''}regexp(?, {column})", (value,))
    if operator.endswith("LIKE"):
        return dialect.like(column, operator, str(value))
    return _plain(column, operator, value, comparison.field, dialect)


def _membership(column: str, values: tuple[str | float, ...], field: Field, dialect: Dialect) -> Sql:
    texts = [value for value in values if isinstance(value, str)]
    parts = [_plain(column, "=", value, field, dialect) for value in values if not isinstance(value, str)]
    if texts:
        among = dialect.among(column, texts)
        parts.append(Sql(f"({among.text})", among.values))
    return _joined(parts, "OR") if parts else FALSE


def _plain(column: str, operator: str, value: Any, field: Field, dialect: Dialect) -> Sql:
    if isinstance(value, bool):
        return Sql(f"(lower({column}) {operator} ?)", (str(value).lower(),))
    if isinstance(value, str):
        return dialect.compared(column, operator, value)
    if field.kind in ("metric", "attribute"):
        return Sql(f"({column} {operator} ?)", (_stored(value),))
    number = f"number_of({column})"
    if operator == "!=":
        return Sql(f"({number} IS NULL OR {number} != ?)", (value,))
    return Sql(f"({number} IS NOT NULL AND {number} {operator} ?)", (value,))


def _stored(value: Any) -> Any:
    """A value as MLflow keeps it in SQL."""
    if isinstance(value, float) and math.isinf(value):
        return math.copysign(LARGEST, value)
    return value
