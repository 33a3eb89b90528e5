"""Conditions that a database server can't judge as we do, made into ones that it can.

A number in a text, a regular expression of Python's: no server reads them as :mod:`agentnn.query.evaluation` does. So
it is asked which texts there are under the field, each once, they are judged here, and the condition becomes: one of
those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.query.evaluation import fulfils
from agentnn.query.expressions import And, Comparison, Expression, Field, Not, Or
from agentnn.stores.sql.dialect import Sql
from agentnn.stores.sql.where import KEYED_TABLES, attribute_column

if TYPE_CHECKING:
    from agentnn.stores.sql_server.database import ServerDatabase

_TIMES = ("start_time", "end_time")


def resolved(expression: Expression, database: ServerDatabase, *, datasets: bool) -> Expression:
    """The same filter, of conditions that the database can judge.

    Args:
        expression: The filter.
        database: Where it will be asked.
        datasets: Whether the database has tables for data sets.
    """
    match expression:
        case And(parts):
            return And(tuple(resolved(part, database, datasets=datasets) for part in parts))
        case Or(parts):
            return Or(tuple(resolved(part, database, datasets=datasets) for part in parts))
        case Not(part):
            return Not(resolved(part, database, datasets=datasets))
        case Comparison(field) if is_beyond(expression, database) and (datasets or field.kind != "dataset"):
            texts = _texts_under(field, database)
            return Comparison(field, "IN", tuple(text for text in texts if fulfils(text, expression)))
    return expression


def is_beyond(comparison: Comparison, database: ServerDatabase) -> bool:
    """Whether a database server can't judge it."""
    field, operator, value = comparison
    if operator in ("IS NULL", "IS NOT NULL") or field.kind == "metric" or field.key in _TIMES:
        return False
    if operator in ("=~", "!~"):
        return True
    if operator.endswith("ILIKE"):
        return not database.dialect.has_ilike or "\0" in str(value)
    values = value if isinstance(value, tuple) else (value,)
    return any(not isinstance(one, str) or "\0" in one for one in values)


def _texts_under(field: Field, database: ServerDatabase) -> list[str]:
    """Every text that any run has under a field."""
    dialect = database.dialect
    if field.kind == "attribute":
        column, source = attribute_column(field.key, dialect), Sql("runs r")
    elif field.kind == "dataset" and field.key == "context":
        column, source = "t.value", Sql("input_tags t WHERE t.name = 'mlflow.data.context'")
    elif field.kind == "dataset":
        column, source = f"d.{field.key}", Sql("datasets d")
    else:
        named = dialect.equal("x.key", field.key)
        column, source = "x.value", Sql(f"{KEYED_TABLES[field.kind]} x WHERE {named.text}", named.values)
    rows = database.rows(f"SELECT DISTINCT {dialect.exact(column)} FROM {source.text}", source.values)
    return [text.decode() if isinstance(text, bytes) else text for (text,) in rows if text is not None]
