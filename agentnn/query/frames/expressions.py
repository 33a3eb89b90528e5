"""What a query over a table means: the tree that :mod:`agentnn.query.frames.parsing` reads out of a text.

Every node knows where in the text it begins, so that an error at any later moment can point there.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Value = int | float | str | bool | None


class Column(NamedTuple):
    """A column, or the index, by its name."""

    name: str
    position: int
    quoted: bool = False


class Constant(NamedTuple):
    """A literal."""

    value: Value
    position: int


class Listing(NamedTuple):
    """A list or a tuple of literals."""

    values: tuple[Value, ...]
    position: int


class Link(NamedTuple):
    """An operator and what stands to its right."""

    operator: str
    position: int
    operand: Expression


class Arithmetic(NamedTuple):
    """``first + second - third``: operators of one precedence, applied from the left."""

    first: Expression
    links: tuple[Link, ...]
    position: int


class Comparison(NamedTuple):
    """``first < second <= third``: every pair of neighbours compares so."""

    first: Expression
    links: tuple[Link, ...]
    position: int


class Logical(NamedTuple):
    """Truth values joined by one word."""

    word: Literal["and", "or"]
    parts: tuple[Expression, ...]
    position: int


class Prefix(NamedTuple):
    """``-x``, ``+x``, or ``not x`` (also written ``~x``)."""

    operator: Literal["-", "+", "not"]
    operand: Expression
    position: int


class Call(NamedTuple):
    """A method of a column; ``method`` is one of :data:`agentnn.query.frames.methods.METHODS`."""

    owner: Expression
    method: str
    arguments: tuple[tuple[str, Expression], ...]
    position: int


Expression = Column | Constant | Listing | Arithmetic | Comparison | Logical | Prefix | Call
