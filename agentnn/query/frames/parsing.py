"""A query string to a tree; the grammar is in the docstring of the package.

Nothing of Python's own parser is used: it normalises names, and its limits are those of the stack.
"""

from __future__ import annotations

import keyword
import math
from typing import TYPE_CHECKING, Literal

from agentnn.query.frames.expressions import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    Constant,
    Expression,
    Link,
    Listing,
    Logical,
    Prefix,
    Value,
)
from agentnn.query.frames.methods import ACCESSORS, METHODS, PROPERTIES, Arguments, bind
from agentnn.query.frames.reading import QueryReader
from agentnn.query.selectors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.errors import FilterError
    from agentnn.query.frames.hints import NameHints
    from agentnn.query.frames.words import Word

MAX_EXPONENT = 16

_LITERALS: dict[str, Value] = {"True": True, "False": False, "None": None}
_INFINITY = ("inf", "Inf")
_SOME_METHODS = "such as .isna(), .isin([…]), .between(a, b), .str.contains(…), .str.startswith(…)"
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_JOINS: dict[Literal["and", "or"], tuple[str, str]] = {"and": ("and", "&"), "or": ("or", "|")}


def parse(text: str, hints: NameHints) -> Expression:
    """Read a query.

    Args:
        text: The query.
        hints: Knows the names that there are. They help to say what is wrong, and change nothing else.

    Raises:
        FilterError: The text is not a query; the error points at the character.
    """
    return _Parser(text, hints).whole_query()


class _Parser(QueryReader):
    """A recursive-descent parser; one method a rule of the grammar."""

    def whole_query(self) -> Expression:
        if self.at_end():
            raise self._error("the query is empty", self.word.position, "for example: accuracy > 0.9")
        expression = self._query()
        if not self.at_end():
            raise self._unexpected("an operator or the end")
        return expression

    def _query(self) -> Expression:
        return self._joined("or", lambda: self._joined("and", self._negation))

    def _joined(self, word: Literal["and", "or"], part: Callable[[], Expression]) -> Expression:
        parts = [part()]
        while self.word.is_symbol(*_JOINS[word]):
            self._operator()
            parts.append(part())
        return Logical(word, tuple(parts), parts[0].position) if len(parts) > 1 else parts[0]

    def _negation(self) -> Expression:
        prefixes = self._prefixes("not")
        with self._nested(len(prefixes)):
            return _under(prefixes, self._comparison())

    def _comparison(self) -> Expression:
        first = self._sum()
        links = []
        while (found := self._compared_by()) is not None:
            operator, position = found
            links.append(Link(operator, position, self._sum()))
        return Comparison(first, tuple(links), first.position) if links else first

    def _compared_by(self) -> tuple[str, int] | None:
        position = self.word.position
        if self.word.is_symbol(*_COMPARISONS, "in"):
            return self._operator().spelling, position
        if self.word.is_symbol("not"):
            self._operator()
            if not self.word.is_symbol("in"):
                raise self._unexpected("in after not")
            self._take()
            return "not in", position
        return None

    def _sum(self) -> Expression:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/", "//", "%"), self._sign))

    def _chain(self, operators: tuple[str, ...], part: Callable[[], Expression]) -> Expression:
        first = part()
        links = []
        while self.word.is_symbol(*operators):
            operator = self._operator()
            links.append(Link(operator.spelling, operator.position, part()))
        return Arithmetic(first, tuple(links), first.position) if links else first

    def _sign(self) -> Expression:
        prefixes = self._prefixes("-", "+", "~")
        with self._nested(len(prefixes)):
            return _under(prefixes, self._power())

    def _power(self) -> Expression:
        base = self._primary()
        if not self.word.is_symbol("**"):
            return base
        operator = self._operator()
        exponent = self._literal()
        if isinstance(exponent, (str, bool)) or exponent is None or abs(exponent) > MAX_EXPONENT:
            raise self._error(f"an exponent is a number, at most {MAX_EXPONENT}", operator.position)
        if self.word.is_symbol("**"):
            raise self._error("a power of a power", self.word.position, "(a ** 2) ** 2")
        link = Link("**", operator.position, Constant(exponent, operator.position))
        return Arithmetic(base, (link,), base.position)

    def _primary(self) -> Expression:
        expression = self._atom()
        calls = 0
        while self.word.is_symbol(".", "("):
            if self.word.spelling == "(":
                raise self._no_function(expression)
            if isinstance(expression, (Constant, Listing)):
                raise self._error("only columns have methods", self.word.position)
            calls += 1
            with self._nested(calls):
                expression = self._call(expression)
        return expression

    def _atom(self) -> Expression:
        word = self.word
        if word.kind in ("name", "quoted"):
            return self._name()
        if word.kind in ("number", "text"):
            return Constant(self._literal(), word.position)
        if word.is_symbol("["):
            self._take()
            return self._listing(word.position, "]")
        if word.is_symbol("("):
            return self._group()
        raise self._unexpected("a name, a number or a text")

    def _name(self) -> Expression:
        word = self.word
        if word.kind == "name" and word.spelling in _LITERALS:
            return Constant(_LITERALS[self._take().spelling], word.position)
        if word.kind == "name" and keyword.iskeyword(word.spelling):
            hint = f"a column of this name is written `{word.spelling}`"
            raise self._error(f"{word} means something else in Python", word.position, hint)
        self._take()
        name = str(word.value) if word.kind == "quoted" else word.spelling
        if name in _INFINITY:
            if word.kind == "quoted":
                raise self._error(f"{name} is infinity in a pandas query, and never a column", word.position)
            return Constant(math.inf, word.position)
        self.last_name = word.position
        return Column(name, word.position, quoted=word.kind == "quoted")

    def _group(self) -> Expression:
        """A query in parentheses, or a tuple of literals."""
        opened = self._take()
        with self._nested(1):
            if self.word.is_symbol(")"):
                return self._listing(opened.position, ")")
            expression = self._query()
            if self.word.is_symbol(","):
                first = self._listed(expression)
                self._take()
                return self._listing(opened.position, ")", first)
            self._expect(")")
        return expression

    def _listed(self, expression: Expression) -> Value:
        if not isinstance(expression, Constant) or expression.value == math.inf:
            raise self._error("a list holds numbers and texts only", expression.position, "a == b or a == 1")
        return expression.value

    def _listing(self, position: int, closing: str, *values: Value) -> Listing:
        listed = list(values)
        while not self.word.is_symbol(closing):
            listed.append(self._literal())
            if not self.word.is_symbol(","):
                break
            self._take()
        self._expect(closing)
        return Listing(tuple(listed), position)

    def _literal(self) -> Value:
        """A number, a text, True, False or None."""
        sign = self._take().spelling if self.word.is_symbol("-", "+") else ""
        word = self.word
        if isinstance(word.value, (int, float)) and word.kind == "number":
            self._take()
            return -word.value if sign == "-" else word.value
        if sign or not (word.kind == "text" or (word.kind == "name" and word.spelling in _LITERALS)):
            hint = "columns and sums can't stand here; for a column: a == b or a == 1"
            raise self._unexpected("a number" if sign else "a number or a text", hint)
        self._take()
        if word.kind == "name":
            return _LITERALS[word.spelling]
        content = [str(word.value)]
        while self.word.kind == "text":  # neighbours are one text, as in Python
            content.append(str(self._take().value))
        return "".join(content)

    def _call(self, owner: Expression) -> Expression:
        dot = self._take()
        method = self._method_name(dot)
        if method in PROPERTIES:
            return Call(owner, method, (), owner.position)
        if not self.word.is_symbol("("):
            raise self._error(f"{method} is a method", self.word.position, f".{method}() calls it")
        self.operations += 1
        arguments = self._arguments()
        return Call(owner, method, bind(method, arguments, self.text), owner.position)

    def _method_name(self, dot: Word) -> str:
        parts = [self._part_of_name(dot)]
        if parts[0] in ACCESSORS and self.word.is_symbol("."):
            parts.append(self._part_of_name(self._take()))
        name = ".".join(parts)
        if name in METHODS or name in PROPERTIES:
            return name
        if self.last_name is not None and (hint := self.hints.for_quoting(self.last_name)):
            raise self._error("a name with a dot needs backticks", self.last_name, hint)
        near = nearest(name, METHODS) or nearest(name, PROPERTIES)
        hint = f"did you mean .{', .'.join(near)}?" if near else _SOME_METHODS
        raise self._error(f"no method .{name[:40]} can be used in a query", dot.position, hint)

    def _part_of_name(self, dot: Word) -> str:
        if self.word.kind != "name":
            raise self._error("a method's name is missing here", dot.position)
        return self._take().spelling

    def _arguments(self) -> Arguments:
        opened = self._take()
        positional: list[Expression] = []
        keywords: list[tuple[str, int, Expression]] = []
        while not self.word.is_symbol(")"):
            argument = self._sum()
            if self.word.is_symbol("=") and isinstance(argument, Column) and not argument.quoted:
                self._take()
                keywords.append((argument.name, argument.position, self._sum()))
            elif keywords:
                raise self._error("an argument without a name behind one with a name", argument.position)
            else:
                positional.append(argument)
            if not self.word.is_symbol(","):
                break
            self._take()
        self._expect(")")
        return Arguments(tuple(positional), tuple(keywords), opened.position)

    def _no_function(self, called: Expression) -> FilterError:
        name = called.name if isinstance(called, Column) else ""
        hint = f"a.{name}()" if name in METHODS else "columns have methods, such as a.abs() or a.isna()"
        return self._error("functions can't be called in a query", called.position, hint)


def _under(prefixes: list[Word], expression: Expression) -> Expression:
    for prefix in reversed(prefixes):
        sign = prefix.spelling
        number = expression.value if isinstance(expression, Constant) else None
        if sign == "-" and isinstance(number, (int, float)) and not isinstance(number, bool):
            expression = Constant(-number, prefix.position)
        else:
            operator: Literal["-", "+", "not"] = "not" if sign in ("not", "~") else "-" if sign == "-" else "+"
            expression = Prefix(operator, expression, prefix.position)
    return expression
