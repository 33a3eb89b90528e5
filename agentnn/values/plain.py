"""Values of numpy, pandas, PyTorch and the standard library as plain numbers, dates and JSON.

The libraries are recognised by what their objects can do and are never imported: a training process that does
not use pandas need not load it to log a dictionary. Nothing that is read is changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from agentnn.errors import UsageError
from agentnn.values.tabular import is_frame, is_series, items_of, table_of_frame, table_of_series


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: ``None``, NaN, pandas' ``NaT`` and ``NA``, numpy's ``NaT``."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, float | Decimal) or type(value).__name__ in ("datetime64", "timedelta64"):
        return bool(value != value)
    return False


def as_number(value: Any) -> float | None:
    """A number of any library as a float, NaN and infinities included; ``None`` for what is not one number.

    Truth values and numbers written as text are not numbers.
    """
    scalar = _scalar(value)
    if isinstance(scalar, bool) or not isinstance(scalar, int | float | Decimal):
        return None
    try:
        return float(scalar)
    except OverflowError:
        return math.copysign(math.inf, scalar)


def as_date(value: Any) -> datetime | None:
    """A date or a time of any library, or ISO 8601 text, as a datetime; ``None`` for what is neither.

    A date is its midnight. A pandas timestamp stays one, which keeps its nanoseconds.
    """
    if is_missing(value):
        return None
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if type(value).__name__ == "datetime64":
        return as_date(value.astype("datetime64[us]").item())
    return as_date(value.to_timestamp()) if hasattr(value, "to_timestamp") else None  # a pandas period


def json_value(value: Any) -> Any:
    """The same as JSON can hold it.

    NaN, infinities and missing values become ``None``; dates and times ISO 8601; arrays lists; frames lists of
    records; series lists, or with an index of dates lists of records; dataclasses dictionaries; keys text. What
    JSON knows nothing of becomes its ``str``.

    Raises:
        UsageError: A collection holds itself.
    """
    return _json_value(value, ())


def _json_value(value: Any, around: tuple[int, ...]) -> Any:
    if type(value) in (float, int, str, bool):  # first, since nearly every cell of a long table is one
        return value if type(value) is not float or math.isfinite(value) else None
    if type(value).__name__ == "datetime64":
        value = as_date(value)
    if is_missing(value):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    scalar = _scalar(value)
    if isinstance(scalar, bool | int):
        return scalar
    number = as_number(scalar)
    if number is not None:
        return number if math.isfinite(number) else None
    return _json_collection(value, around)


def _json_collection(value: Any, around: tuple[int, ...]) -> Any:
    if id(value) in around:
        raise UsageError(f"a {type(value).__name__} holds itself, which JSON can't show")
    inside = (*around, id(value))
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {_json_key(key): _json_value(one, inside) for key, one in value.items()}
    if is_frame(value):
        return _json_value(table_of_frame(value).records(), inside)
    if is_series(value):
        table = table_of_series(value, "value")
        return _json_value(table.records() if len(table.columns) > 1 else table.column("value"), inside)
    items = items_of(value)
    return str(value) if items is None else [_json_value(one, inside) for one in items]


def _json_key(key: Any) -> str:
    plain = _json_value(key, ())
    return plain if isinstance(plain, str) else str(key)


def _scalar(value: Any) -> Any:
    """A scalar of numpy or PyTorch as Python's own; anything else as it is, numpy's dates too, whose own are counts."""
    if type(value).__name__ in ("datetime64", "timedelta64"):
        return value
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
