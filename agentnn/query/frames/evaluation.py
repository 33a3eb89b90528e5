"""A tree and a table to a value a row, by the operators of Series.

Each rule says what pandas does with the same text (engine ``python``); the tests compare the two on generated queries
and tables. pandas rewrites ``==`` and ``in``, and does so only for names, literals and methods (its *terms*), not for
what an operator made; where this would change the answer silently, the query is refused.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from agentnn.query.frames.expressions import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    Constant,
    Link,
    Listing,
    Logical,
    Prefix,
)
from agentnn.query.frames.hints import example
from agentnn.query.frames.series_kinds import described, is_numeric, is_series, is_time, is_truth
from agentnn.query.frames.words import bounded, query_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.errors import FilterError
    from agentnn.query.frames.columns import NamedColumns
    from agentnn.query.frames.expressions import Expression
    from agentnn.query.frames.hints import NameHints

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_REFUSALS = (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError)
"""What pandas, numpy and pyarrow raise where an operation makes no sense for the values of a column."""
_TIME_HINT = "from a day on: >= '2026-01-31'; on that day: .between('2026-01-31', '2026-02-01', inclusive='left')"


class Evaluation:
    """The values of expressions over one table: a Series, or a literal where there is no column in it."""

    def __init__(self, columns: NamedColumns, hints: NameHints) -> None:
        self.columns = columns
        self.hints = hints

    def value(self, expression: Expression) -> Any:
        """What an expression is in each row.

        Raises:
            FilterError: A name is unknown, or an operation does not fit the values.
        """
        match expression:
            case Column():
                return self.columns.find(expression, self.hints)
            case Constant(value):
                return value
            case Listing(values):
                return list(values)
            case Logical():
                return self._logical(expression)
            case Comparison():
                return self._comparison(expression)
            case Arithmetic():
                return self._arithmetic(expression)
            case Prefix():
                return self._prefix(expression)
            case Call():
                return self._call(expression)

    def _logical(self, expression: Logical) -> Any:
        joined = operator.and_ if expression.word == "and" else operator.or_
        result = self.truth(expression.parts[0])
        for part in expression.parts[1:]:
            value = self.truth(part)
            result = self._tried(joined, f"{{}} {expression.word} {{}}", part.position, result, value)
        return result

    def truth(self, expression: Expression) -> Any:
        """What an expression is in each row, if that is true or false.

        Raises:
            FilterError: It is something else.
        """
        value = self.value(expression)
        if not is_truth(value):
            hint = "compare it with something: ==, >, in, .isna()"
            raise self._error(f"{described(value)} where true or false is needed", expression.position, hint)
        return value

    def _comparison(self, expression: Comparison) -> Any:
        left, left_value = expression.first, self.value(expression.first)
        result = None
        for link in expression.links:
            right_value = self.value(link.operand)
            pair = self._pair(left, left_value, link, right_value)
            result = pair if result is None else result & pair
            left, left_value = link.operand, right_value
        return result

    def _pair(self, left: Expression, left_value: Any, link: Link, right_value: Any) -> Any:
        sides = (left_value, right_value)
        if not any(map(is_series, sides)) and not (all(map(is_numeric, sides)) and link.operator in _COMPARE):
            raise self._error(f"no column on either side of {link.operator}", link.position)
        self._check_times(link, left_value, right_value)
        if link.operator in ("in", "not in"):
            return self._membership(left, left_value, link, right_value)
        if link.operator in ("==", "!=") and any(isinstance(side, (list, str)) for side in sides):
            return self._equality(left, left_value, link, right_value)
        if any(isinstance(side, list) for side in sides):
            raise self._error(f"a list can't be compared by {link.operator}", link.position, "== and in take lists")
        return self._tried(_COMPARE[link.operator], f"{{}} {link.operator} {{}}", link.position, *sides)

    def _equality(self, left: Expression, left_value: Any, link: Link, right_value: Any) -> Any:
        """``a == [1, 2]`` and ``a == 'x'`` are membership to pandas, if both sides are terms."""
        if _is_term(left) and _is_term(link.operand):
            return self._membership(left, left_value, link, right_value)
        if isinstance(left_value, list) or isinstance(right_value, list):
            word = "in" if link.operator == "==" else "not in"
            raise self._error(f"only names and methods can be {link.operator} a list", link.position, f"… {word} […]")
        doing = f"{{}} {link.operator} {{}}"
        return self._tried(_COMPARE[link.operator], doing, link.position, left_value, right_value)

    def _membership(self, left: Expression, left_value: Any, link: Link, right_value: Any) -> Any:
        series, expression, among = left_value, left, right_value
        if not is_series(left_value):
            series, expression, among = right_value, link.operand, left_value
        if isinstance(among, str) and _is_term(expression):
            among = [among]
        if not isinstance(among, list) and not is_series(among):
            raise self._error(f"{link.operator} needs a list", link.position, "a in [1, 2]; for one value: a == 1")
        found = self._tried(_is_in, "looking for {} in {}", link.position, series, among)
        return ~found if link.operator in ("!=", "not in") else found

    def _check_times(self, link: Link, *sides: Any) -> None:
        """Times are compared with texts by order only, and with numbers not at all."""
        if not any(is_time(side) for side in sides):
            return
        others = [one for side in sides if not is_series(side) for one in (side if isinstance(side, list) else [side])]
        numbers = any(isinstance(one, (int, float)) for one in others)
        texts = any(isinstance(one, str) for one in others)
        if numbers or (texts and link.operator in ("==", "!=", "in", "not in")):
            rule = "not with numbers" if numbers else f"by < <= > >=, not by {link.operator}"
            raise self._error(f"times are compared with texts, {rule}", link.position, _TIME_HINT)

    def _arithmetic(self, expression: Arithmetic) -> Any:
        result = self._number(expression.first)
        for link in expression.links:
            value = self._number(link.operand)
            result = self._tried(_ARITHMETIC[link.operator], f"{{}} {link.operator} {{}}", link.position, result, value)
            if not is_series(result):
                result = self._bounded(result, link.position)
        return result

    def _bounded(self, number: Any, position: int) -> Any:
        if not is_numeric(number):
            raise self._error("the root of a negative number", position)
        return bounded(number, self.hints.text, position)

    def _number(self, expression: Expression) -> Any:
        value = self.value(expression)
        if not is_numeric(value):
            raise self._error(f"{described(value)} where a number is needed", expression.position)
        return value

    def _prefix(self, expression: Prefix) -> Any:
        if expression.operator == "not":
            value = self.truth(expression.operand)
            if isinstance(value, bool) or (is_series(value) and value.dtype == object):
                hint = f"{example(expression.operand, '== False')}, or na=False in a method of texts"
                raise self._error(f"not of {described(value)}", expression.position, hint)
            return ~value
        value = self._number(expression.operand)
        sign = operator.neg if expression.operator == "-" else operator.pos
        return self._tried(sign, f"{expression.operator} {{}}", expression.position, value)

    def _call(self, expression: Call) -> Any:
        owner = self.value(expression.owner)
        if not is_series(owner):
            raise self._error(
                f"there is no column here, and only columns have .{expression.method}", expression.position
            )
        arguments = {name: self.value(argument) for name, argument in expression.arguments}
        if expression.method == "isin":
            self._check_times(Link("in", expression.position, expression), owner, arguments["values"])
        *accessor, name = expression.method.split(".")

        def call(owner: Any) -> Any:
            method = getattr(getattr(owner, accessor[0]) if accessor else owner, name)
            return method if accessor == ["dt"] else method(**arguments)

        return self._tried(call, f".{expression.method} of {{}}", expression.position, owner)

    def _tried(self, operation: Callable[..., Any], doing: str, position: int, *operands: Any) -> Any:
        try:
            return operation(*operands)
        except _REFUSALS as error:
            because = (str(error).strip().splitlines() or [""])[0][:120]
            what = doing.format(*map(described, operands))
            raise self._error(f"{what} can't be done", position, because) from None

    def _error(self, message: str, position: int, hint: str = "") -> FilterError:
        return query_error(message, self.hints.text, position, hint)


def _is_in(series: Any, among: Any) -> Any:
    return series.isin(among)


def _is_term(expression: Expression) -> bool:
    """Whether it is what pandas calls a term: what no operator made."""
    return isinstance(expression, (Column, Constant, Listing, Call))
