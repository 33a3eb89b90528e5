"""The filter language: text to a syntax tree.

It is MLflow's search grammar, https://mlflow.org/docs/latest/search-runs.html, and what users of that grammar miss::

    expression  = disjunction
    disjunction = conjunction { "OR" conjunction }
    conjunction = negation { "AND" negation }
    negation    = { "NOT" } ( "(" expression ")" | comparison )
    comparison  = field ( "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) value
                | field [ "NOT" ] ( "LIKE" | "ILIKE" ) string
                | field ( "=~" | "!~" ) string                      a regular expression, found anywhere
                | field [ "NOT" ] "IN" "(" value { "," value } ")"
                | field "IS" [ "NOT" ] "NULL"
    field       = [ kind "." ] key        kind: metrics params tags attributes datasets, or their singular
    key         = bare word | `quoted` | "quoted"
    value       = 1.5 | -2e-3 | inf | 'text' | "text" | true | false

A comparison with something that a run does not have is false, ``!=`` included; ``NOT`` turns any answer around.
A param or a tag that is compared with a number is compared as a number; one compared with ``true`` or ``false``,
as a truth value. Times are milliseconds since the epoch, or a quoted ISO 8601 date or time (UTC unless it says).
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime

from agentnn.query.expressions import And, Comparison, Expression, Field, Kind, Not, Or, to_number
from agentnn.query.filter_words import FilterWords
from agentnn.records import PARENT_TAG

KINDS: dict[str, Kind] = {
    "metric": "metric",
    "metrics": "metric",
    "param": "param",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "attr": "attribute",
    "run": "attribute",
    "dataset": "dataset",
    "datasets": "dataset",
}
NUMERIC_ATTRIBUTES = frozenset({"start_time", "end_time"})
STRING_ATTRIBUTES = frozenset(
    {"run_id", "run_name", "status", "user_id", "artifact_uri", "lifecycle_stage", "experiment_id"}
)
DATASET_KEYS = frozenset({"name", "digest", "context"})
_ATTRIBUTE_ALIASES = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
    "name": "run_name",
    "user": "user_id",
}
_ORDERED = ("<", "<=", ">", ">=")
_MAX_DEPTH = 20
"""As deep as SQLite's parser, whose stack holds 100 entries, follows in any case."""

_OPERATOR = re.compile(r"=~|!~|==|!=|<>|<=|>=|=|<|>")


def parse_filter(text: str) -> Expression | None:
    """Read a filter.

    Args:
        text: A filter expression; empty or blank for none.

    Returns:
        The syntax tree, or ``None`` for an empty filter.

    Raises:
        FilterError: The text is not a filter; the error points at the character.
    """
    parser = _Parser(text)
    return None if parser.at_end() else parser.whole_expression()


def parse_order(text: str) -> tuple[Field, bool]:
    """Read a sort key, ``field [ASC|DESC]``; the second value says whether it ascends.

    Raises:
        FilterError: The text is not a sort key.
    """
    parser = _Parser(text)
    field = parser.field()
    ascending = not parser.keyword("DESC") if not parser.keyword("ASC") else True
    parser.expect_end()
    return field, ascending


class _Parser(FilterWords):
    """A recursive-descent parser; one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def whole_expression(self) -> Expression:
        expression = self._disjunction()
        if not self.at_end():
            raise self._error(f"expected AND, OR or the end, found {self._found()}")
        return expression

    def _disjunction(self) -> Expression:
        parts = [self._conjunction()]
        while self.keyword("OR"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self) -> Expression:
        parts = [self._negation()]
        while self.keyword("AND"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negation(self) -> Expression:
        negated = False
        while self.keyword("NOT"):
            negated = not negated
        expression = self._group() if self.text.startswith("(", self.position) else self._comparison()
        return Not(expression) if negated else expression

    def _group(self) -> Expression:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(f"more than {_MAX_DEPTH} nested parentheses")
        self._expect_symbol("(")
        expression = self._disjunction()
        self._expect_symbol(")")
        self.depth -= 1
        return expression

    def _comparison(self) -> Comparison:
        field = self.field()
        operator_at = self.position
        operator = self._operator(field)
        if operator in ("IS NULL", "IS NOT NULL"):
            return Comparison(field, operator)
        if operator in ("IN", "NOT IN"):
            return Comparison(field, operator, self._list(field))
        if operator in ("LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE", "=~", "!~"):
            return Comparison(field, operator, self._pattern(field, operator, operator_at))
        return self._plain_comparison(field, operator)

    def field(self) -> Field:
        start = self.position
        kind_name, key = self._dotted_name()
        self._skip_space()
        if kind_name is None:
            return self._attribute(key, start)
        kind = KINDS.get(kind_name)
        if kind is None:
            near = difflib.get_close_matches(kind_name, KINDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "one of metrics, params, tags, attributes, datasets"
            raise self._error(f"unknown kind of field {kind_name!r}", at=start, hint=hint)
        if kind == "attribute":
            return self._attribute(key, start)
        if kind == "dataset" and key not in DATASET_KEYS:
            raise self._error(f"unknown data set field {key!r}", at=start, hint="one of name, digest, context")
        return Field(kind, key)

    def _dotted_name(self) -> tuple[str | None, str]:
        """``kind.key`` or a key alone, each quoted or bare; a bare key may itself hold dots."""
        if self._at_quote('`"'):
            first = self._quoted(self.text[self.position])
            if not self.text.startswith(".", self.position):
                return None, first
            self.position += 1
            return first, self._key_after(first, self._bare_key())
        bare = self._bare_key()
        if not bare:
            raise self._error(f"expected a field such as metrics.loss, found {self._found()}")
        kind_name, dot, key = bare.partition(".")
        return (kind_name, self._key_after(kind_name, key)) if dot else (None, bare)

    def _key_after(self, kind_name: str, bare: str) -> str:
        if self._at_quote("`\"'"):
            if bare or self.text[self.position] == "'":
                raise self._error("a name is quoted as a whole, with backticks, or not at all")
            return self._quoted(self.text[self.position])
        if not bare:
            raise self._error(f"expected a name after {kind_name + '.'!r}, found {self._found()}")
        return bare

    def _attribute(self, name: str, start: int) -> Field:
        name = _ATTRIBUTE_ALIASES.get(name, name)
        if name == "parent_run_id":
            return Field("tag", PARENT_TAG)
        known = NUMERIC_ATTRIBUTES | STRING_ATTRIBUTES
        if name in known:
            return Field("attribute", name)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"a metric is written metrics.{name}, a param params.{name}"
        raise self._error(f"unknown attribute {name!r}", at=start, hint=hint)

    def _operator(self, field: Field) -> str:
        if match := _OPERATOR.match(self.text, self.position):
            self._advance(match.end())
            return {"==": "=", "<>": "!="}.get(match[0], match[0])
        if self.keyword("IS"):
            negated = self.keyword("NOT")
            if not self.keyword("NULL"):
                raise self._error(f"expected NULL, found {self._found()}")
            return "IS NOT NULL" if negated else "IS NULL"
        negation = "NOT " if self.keyword("NOT") else ""
        for word in ("IN", "LIKE", "ILIKE"):
            if self.keyword(word):
                return negation + word
        raise self._error(
            f"expected an operator after {str(field)!r}, found {self._found()}",
            hint="= != < <= > >= LIKE ILIKE =~ IN, IS NULL",
        )

    def _plain_comparison(self, field: Field, operator: str) -> Comparison:
        start = self.position
        value = self._value()
        if _is_numeric(field):
            return Comparison(field, operator, self._number(field, value, start))
        if isinstance(value, bool) and operator in _ORDERED:
            raise self._error("true and false are compared with = and != only", at=start)
        if field.kind in ("attribute", "dataset") and not isinstance(value, str):
            raise self._error(f"{field} is text: quote the value", at=start, hint=f"{field} {operator} 'value'")
        as_number = field.kind in ("param", "tag") and operator in _ORDERED and isinstance(value, str)
        if as_number and (number := to_number(str(value))) is not None:
            value = number
        return Comparison(field, operator, value)

    def _list(self, field: Field) -> tuple[str | float, ...]:
        self._expect_symbol("(")
        values: list[str | float] = []
        while True:
            start = self.position
            value = self._value()
            if _is_numeric(field):
                value = self._number(field, value, start)
            elif isinstance(value, bool) or (field.kind in ("attribute", "dataset") and not isinstance(value, str)):
                raise self._error(f"{field} is text: quote the values", at=start)
            values.append(value)
            if not self._symbol(","):
                break
        self._expect_symbol(")")
        return tuple(values)

    def _pattern(self, field: Field, operator: str, operator_at: int) -> str:
        if _is_numeric(field):
            raise self._error(f"{field} is a number: {operator} is for text", at=operator_at)
        start = self.position
        value = self._value()
        if not isinstance(value, str):
            raise self._error(f"{operator} takes a quoted pattern", at=start)
        if operator in ("=~", "!~"):
            try:
                re.compile(value)
            except (re.error, OverflowError, RecursionError) as error:
                raise self._error(f"bad regular expression: {error}", at=start) from None
        return value

    def _number(self, field: Field, value: str | float | bool, start: int) -> float:
        if isinstance(value, str) and field.kind == "attribute":
            return self._time(value, start)
        if isinstance(value, (str, bool)):
            raise self._error(f"{field} is a number: compare it with a number, without quotes", at=start)
        return value

    def _time(self, text: str, start: int) -> float:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise self._error(
                f"{text!r} is no time", at=start, hint="milliseconds since the epoch, or '2026-01-31T12:00'"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return float(round(moment.timestamp() * 1000))


def _is_numeric(field: Field) -> bool:
    return field.kind == "metric" or (field.kind == "attribute" and field.key in NUMERIC_ATTRIBUTES)
