"""What a filter means: the syntax tree that :mod:`agentnn.query.filters` reads out of a text."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["metric", "param", "tag", "attribute", "dataset"]
Value = str | float | bool | tuple[str | float, ...] | None


class Field(NamedTuple):
    """What is looked at: ``metrics.loss`` is ``Field("metric", "loss")``."""

    kind: Kind
    key: str

    def __str__(self) -> str:
        return self.key if self.kind == "attribute" else f"{self.kind}s.{self.key}"


class Comparison(NamedTuple):
    """One condition. The type of ``value`` says how it is meant: a number numerically, a string as text."""

    field: Field
    operator: str
    value: Value = None


class And(NamedTuple):
    """Every part holds."""

    parts: tuple[Expression, ...]
    word: Literal["AND"] = "AND"


class Or(NamedTuple):
    """At least one part holds."""

    parts: tuple[Expression, ...]
    word: Literal["OR"] = "OR"


class Not(NamedTuple):
    """The part does not hold."""

    part: Expression
    word: Literal["NOT"] = "NOT"


Expression = Comparison | And | Or | Not


def fields_of(expression: Expression | None) -> list[Field]:
    """Every field that a filter names, in the order of its text."""
    match expression:
        case None:
            return []
        case Comparison(field):
            return [field]
        case Not(part):
            return fields_of(part)
        case And(parts) | Or(parts):
            return [field for part in parts for field in fields_of(part)]


def to_number(text: str | None) -> float | None:
    """A param or a tag as a number, or ``None`` where it is not written as one (NaN is none either)."""
    try:
        number = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if number != number or "_" in str(text) else number
