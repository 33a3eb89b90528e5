"""Values of Python, numpy, pandas and PyTorch as those that a TOML document can hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from agentnn.errors import UsageError
from agentnn.values.plain import as_date
from agentnn.values.tabular import is_frame, is_series, items_of, table_of_frame, table_of_series

DEEPEST = 100
"""Levels of tables and lists in each other."""

_MOST_BITS = 14_000
"""Of an integer: Python refuses to read one of more than 4300 digits (sys.set_int_max_str_digits)."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MINUTE = timedelta(minutes=1)


class PlainDocument(NamedTuple):
    """A document of nothing but tables, lists, text, numbers, truth values, dates and times.

    Attributes:
        table: The document.
        nones: The places of what was ``None`` and is left out, in order, as dotted keys: ``layers.2."a.b"``; an item of
            a list is named by the place that it had.
        has_crlf: A text in it has line ends of Windows.
    """

    table: dict[str, Any]
    nones: list[str]
    has_crlf: bool


def plain_document(mapping: Mapping[Any, Any]) -> PlainDocument:
    """A mapping as a document; it is not changed.

    NaN stays NaN; missing values of pandas and numpy are ``None``; arrays, tuples and series are lists, sets sorted
    lists, frames lists of tables, dataclasses tables, members of an enum their values, paths and everything else text.

    Raises:
        UsageError: A text is no valid Unicode, an integer has thousands of digits, two keys are the same as text, or
            it is nested too deeply, as a collection is that holds itself.
    """
    cleaning = _Cleaning()
    table = cleaning.table(mapping, ())
    return PlainDocument(table, cleaning.nones, cleaning.has_crlf)


class _Missing:
    """Stands for what is left out."""


class _Cleaning:
    def __init__(self) -> None:
        self.nones: list[str] = []
        self.has_crlf = False

    def table(self, mapping: Mapping[Any, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for given, value in mapping.items():
            key = given if type(given) is str else _key(given)
            inside = (*place, key)
            if key in table:
                raise UsageError(f"two keys are {dotted(inside)} as text", hint="rename one of them")
            if not key.isascii():
                _check_unicode(key, inside)
            plain = self.value(value, inside)
            if plain is not _Missing:
                table[key] = plain
        return table

    def value(self, value: Any, place: tuple[str | int, ...]) -> Any:
        kind = type(value)
        if kind is float or kind is bool:
            return value
        if kind is str:
            return self._text(value, place)
        if kind is int:
            return _integer(value, place)
        if value is None or kind.__name__ in ("NAType", "NaTType"):
            self.nones.append(dotted(place))
            return _Missing
        if isinstance(value, Enum):
            return self.value(value.value, place)
        if kind.__name__ == "datetime64":
            return self._numpy_time(value, place)
        if isinstance(value, date | time):
            return _time(value)
        if isinstance(value, str | int | float | Decimal):
            return self.value(_own(value), place)
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            return self._scalar(value, place)
        return self._collection(value, place)

    def _text(self, text: str, place: tuple[str | int, ...]) -> str:
        if not text.isascii():
            _check_unicode(text, place)
        self.has_crlf = self.has_crlf or "\r\n" in text
        return text

    def _numpy_time(self, value: Any, place: tuple[str | int, ...]) -> Any:
        if value != value:
            return self.value(None, place)
        moment = as_date(value)
        return str(value) if moment is None else _time(moment)

    def _scalar(self, value: Any, place: tuple[str | int, ...]) -> Any:
        if type(value).__name__ == "timedelta64":
            return self.value(None if value != value else str(value), place)
        scalar = value.item()
        return self.value(
            float(value) if type(scalar) is type(value) else scalar, place
        )  # a long double is its own item

    def _collection(self, value: Any, place: tuple[str | int, ...]) -> Any:
        if len(place) >= DEEPEST:
            raise UsageError(
                f"{dotted(place[:3])} is nested more than {DEEPEST} deep, or holds itself", hint="log less of it"
            )
        if is_dataclass(value) and not isinstance(value, type):
            return self.table({one.name: getattr(value, one.name) for one in fields(value)}, place)
        if isinstance(value, Mapping):
            return self.table(value, place)
        items = _items(value)
        if items is None:
            return self._text(str(value), place)
        plain = [self.value(one, (*place, index)) for index, one in enumerate(items)]
        return [one for one in plain if one is not _Missing]


def dotted(place: tuple[str | int, ...]) -> str:
    """A place as a dotted key of TOML."""
    texts = map(str, place)
    return ".".join(
        one if _BARE.fullmatch(one) else json.dumps(one, ensure_ascii=not one.isprintable()) for one in texts
    )


def _items(value: Any) -> Any:
    if isinstance(value, Set):
        return _sorted(value)
    if is_frame(value):
        return table_of_frame(value).records()
    if is_series(value):
        table = table_of_series(value, "value")
        return table.records() if len(table.columns) > 1 else table.column("value")
    return items_of(value)


def _sorted(values: Set[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    return key.isoformat() if isinstance(key, date | time) else str(key)


def _own(value: Any) -> Any:
    """A value of a subclass as one of Python's own class."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    return float("nan") if isinstance(value, Decimal) and value.is_nan() else float(value)


def _integer(value: int, place: tuple[str | int, ...]) -> int:
    if value.bit_length() > _MOST_BITS:
        raise UsageError(f"{dotted(place)} is an integer of thousands of digits", hint="log it as text")
    return value


def _time(value: date | time) -> Any:
    """A date or a time as Python's own; as text where TOML has none of the kind."""
    if isinstance(value, time):
        return value.isoformat() if value.tzinfo else time(value.hour, value.minute, value.second, value.microsecond)
    if not isinstance(value, datetime):
        return date(value.year, value.month, value.day)
    offset = value.utcoffset()
    moment = datetime(  # noqa: DTZ001
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    )
    if offset is None:
        return moment
    if offset % _MINUTE:
        try:
            return (moment - offset).replace(tzinfo=UTC)
        except OverflowError:
            return value.isoformat()
    return moment.replace(tzinfo=timezone(offset))


def _check_unicode(text: str, place: tuple[str | int, ...]) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = dotted(place).encode(errors="backslashreplace").decode()
        raise UsageError(f"{shown} holds text that is not valid Unicode", hint="decode it properly first") from None
