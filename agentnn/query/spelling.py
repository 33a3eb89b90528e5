"""A filter as text again: what :func:`agentnn.query.filters.parse_filter` would read the same filter from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentnn.query.expressions import And, Comparison, Expression, Field, Not, Or

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.expressions import Value
    from agentnn.query.runs import OrderBy

_BARE = re.compile(r"[A-Za-z_][\w./@:-]*")


def spelled(expression: Expression) -> str:
    """A filter in its own language."""
    match expression:
        case And(parts, word) | Or(parts, word):
            return f" {word} ".join(_inside(part) for part in parts)
        case Not(part):
            return f"NOT ({spelled(part)})"
        case Comparison(field, operator, value):
            said = f"{spelled_field(field)} {operator}"
            return said if operator.endswith("NULL") else f"{said} {_value(value)}"


def spelled_field(field: Field) -> str:
    """A field; a name that would be read as something else is quoted."""
    if field.kind == "attribute" or _BARE.fullmatch(field.key):
        return str(field)
    return f"{field.kind}s.`{field.key.replace('`', '``')}`"


def spelled_order(order_by: Sequence[OrderBy]) -> str:
    """Sort keys."""
    return ", ".join(f"{spelled_field(key.field)} {'ASC' if key.ascending else 'DESC'}" for key in order_by)


def conjuncts(expression: Expression | None) -> tuple[Expression, ...]:
    """The conditions of a filter each of which has to hold."""
    match expression:
        case None:
            return ()
        case And(parts):
            return tuple(one for part in parts for one in conjuncts(part))
    return (expression,)


def _inside(part: Expression) -> str:
    return f"({spelled(part)})" if isinstance(part, (And, Or)) else spelled(part)


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_value(one) for one in value)})"
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
