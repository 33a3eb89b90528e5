"""What kind of values an operand holds, as far as the rules of the language ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

    from pandas import Series

_NAMES = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "c": "complex numbers"}
_NAMES |= {"M": "times", "m": "durations"}


def is_series(value: Any) -> TypeGuard[Series[Any]]:
    """Whether it is a value a row, not a literal."""
    return hasattr(value, "dtype") and hasattr(value, "index")


def is_numeric(value: Any) -> bool:
    """Whether arithmetic is for it: numbers and truth values, as literals or as the type of a whole column."""
    if is_series(value):
        return value.dtype.kind in "biuf"
    return isinstance(value, (int, float))


def is_time(value: Any) -> bool:
    """Whether it is a column of times or durations."""
    return is_series(value) and value.dtype.kind in "mM"


def is_truth(value: Any) -> bool:
    """Whether it is true or false, or missing, in each row."""
    if not is_series(value):
        return isinstance(value, bool)
    return bool(value.dtype.kind == "b" or _kind_of_objects(value) in ("boolean", "empty"))


def is_complete_truth(value: Any) -> bool:
    """Whether pandas takes it for a mask: missing values stand for false in a column made for them, else not at all."""
    return is_truth(value) and not (value.dtype == object and bool(value.isna().any()))


def described(value: Any) -> str:
    """A value in words: ``whole numbers (int64)``, ``the text 'x'``."""
    if is_series(value):
        kind = _kind_of_objects(value)
        if value.dtype.name in ("str", "string") or kind == "string":
            return f"texts ({value.dtype})"
        if kind == "boolean":
            return "true, false and missing values (object)"
        return f"{_NAMES.get(value.dtype.kind, 'values')} ({value.dtype})"
    if isinstance(value, str):
        return f"the text {value[:20]!r}"
    return "a list" if isinstance(value, list) else repr(value)


def _kind_of_objects(series: Series[Any]) -> str:
    """What is in a column of Python objects; nothing for any other column."""
    if series.dtype != object:
        return ""
    from pandas.api.types import infer_dtype

    return str(infer_dtype(series, skipna=True))
