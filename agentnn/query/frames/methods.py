"""The methods of a column that a query may call, and what each of them takes.

The list is short on purpose: every one gives a value a row, at a cost that follows from the size of the column. So
``str.replace`` and ``str.repeat`` are not here (a short query could fill the memory), nor is anything that takes a
function. Regular expressions are the user's own: that a pattern compiles is checked, that it ends soon is not. On text
columns that pandas keeps in Arrow most patterns run in linear time; where it falls back on :mod:`re`, a pattern such as
``(a+)+$`` can take as long as it does anywhere in Python.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.query.frames.expressions import Constant, Listing
from agentnn.query.frames.words import query_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentnn.query.frames.expressions import Expression

_FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.ASCII
_MAX_DECIMALS = 30


class Parameter(NamedTuple):
    """One argument of a method: pandas' name for it, what it may be, and how that is called."""

    name: str
    accepts: Callable[[Expression], bool]
    wants: str
    required: bool = False


def _literal(accepts: Callable[[Any], bool]) -> Callable[[Expression], bool]:
    return lambda argument: isinstance(argument, Constant) and accepts(argument.value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_is_text = _literal(lambda value: isinstance(value, str))
_is_truth = _literal(lambda value: isinstance(value, bool))

_CASE = Parameter("case", _is_truth, "True or False")
_FLAG = Parameter("flags", _literal(lambda value: _whole(value) and value & ~_FLAGS == 0), "2 to ignore case")
_NA = Parameter("na", _is_truth, "True or False")
_PATTERN = Parameter("pat", _is_text, "a text", required=True)
_TO_STRIP = Parameter("to_strip", _literal(lambda value: value is None or isinstance(value, str)), "a text")
_SCALAR = (lambda argument: not isinstance(argument, Listing), "a value or a column")
_SIDES = ("both", "neither", "left", "right")

_PLAIN = (
    ["isna", "notna", "isnull", "notnull", "abs"]
    + [f"str.{name}" for name in ("lower", "upper", "casefold", "len")]
    + [f"str.{name}" for name in ("isalnum", "isalpha", "isdecimal", "isdigit", "isnumeric", "isspace")]
    + [f"str.{name}" for name in ("islower", "isupper", "istitle")]
)

METHODS: Mapping[str, tuple[Parameter, ...]] = {
    **dict.fromkeys(_PLAIN, ()),
    "isin": (Parameter("values", lambda argument: not isinstance(argument, Constant), "a list", required=True),),
    "between": (
        Parameter("left", *_SCALAR, required=True),
        Parameter("right", *_SCALAR, required=True),
        Parameter("inclusive", _literal(lambda value: value in _SIDES), " or ".join(map(repr, _SIDES))),
    ),
    "round": (
        Parameter("decimals", _literal(lambda value: _whole(value) and abs(value) <= _MAX_DECIMALS), "a few digits"),
    ),
    "str.contains": (_PATTERN, _CASE, _FLAG, _NA, Parameter("regex", _is_truth, "True or False")),
    "str.match": (_PATTERN, _CASE, _FLAG, _NA),
    "str.fullmatch": (_PATTERN, _CASE, _FLAG, _NA),
    "str.startswith": (_PATTERN, _NA),
    "str.endswith": (_PATTERN, _NA),
    "str.strip": (_TO_STRIP,),
    "str.lstrip": (_TO_STRIP,),
    "str.rstrip": (_TO_STRIP,),
}
_OF_TIMES = ("year", "quarter", "month", "day", "hour", "minute", "second", "day_of_week", "day_of_year")
PROPERTIES = frozenset(f"dt.{name}" for name in _OF_TIMES)
"""Called without parentheses."""
ACCESSORS = ("str", "dt")
_WITH_PATTERN = ("str.contains", "str.match", "str.fullmatch")


class Arguments(NamedTuple):
    """What stands between the parentheses of a call; a keyword comes with its place."""

    positional: tuple[Expression, ...]
    keywords: tuple[tuple[str, int, Expression], ...]
    position: int


def bind(method: str, arguments: Arguments, text: str) -> tuple[tuple[str, Expression], ...]:
    """The arguments of a call by their names, all checked.

    Raises:
        FilterError: One is missing, unknown, given twice, or is not what the method takes.
    """
    parameters = {parameter.name: parameter for parameter in METHODS[method]}
    if len(arguments.positional) > len(parameters):
        surplus = arguments.positional[len(parameters)]
        raise query_error(f"{method}() takes {_takes(parameters)}", text, surplus.position)
    bound = dict(zip(parameters, arguments.positional, strict=False))
    for name, position, value in arguments.keywords:
        if name not in parameters or name in bound:
            known = f"it takes {_takes(parameters)}"
            raise query_error(f"{method}() has no {'other ' * (name in bound)}{name!r}", text, position, known)
        bound[name] = value
    for parameter in parameters.values():
        _check(method, parameter, bound.get(parameter.name), arguments.position, text)
    if method in _WITH_PATTERN:
        _check_pattern(bound, text)
    return tuple(bound.items())


def _takes(parameters: Mapping[str, Parameter]) -> str:
    return ", ".join(parameters) or "no arguments"


def _check(method: str, parameter: Parameter, argument: Expression | None, position: int, text: str) -> None:
    if argument is None:
        if parameter.required:
            raise query_error(f"{method}() needs {parameter.wants}", text, position)
    elif not parameter.accepts(argument):
        hint = f"it takes {parameter.wants}"
        raise query_error(f"{method}() can't take this as {parameter.name}", text, argument.position, hint)


def _check_pattern(bound: Mapping[str, Expression], text: str) -> None:
    if _constant(bound.get("regex")) is False:
        return
    try:
        re.compile(_constant(bound["pat"]), _constant(bound.get("flags")) or 0)
    except (re.error, OverflowError, RecursionError) as error:
        hint = "regex=False looks for the text itself" if "regex" in bound else ""
        raise query_error(f"bad regular expression: {error}", text, bound["pat"].position, hint) from None


def _constant(argument: Expression | None) -> Any:
    return argument.value if isinstance(argument, Constant) else None
