"""A column of a project's frame, as bytes that are quick to read and can be patched row by row.

A column knows of each row whether it has a value there. The values are kept one after the other: numbers, truth values
and times as machine numbers, texts behind their lengths, all else as JSON. What kind a column is of follows from its
values alone, so that a patched column is the same as one that was made anew.
"""

from __future__ import annotations

import json
from array import array
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["float", "int", "bool", "time", "text", "json"]

MISSING: Final = object()
"""Stands where a row has no value."""

_CODES: dict[Kind, str] = {"float": "d", "int": "q", "bool": "b", "time": "q"}
_KINDS: dict[type, Kind] = {float: "float", int: "int", bool: "bool", str: "text"}
_FROM_TEXT = {
    "datetime": datetime.fromisoformat, "date": date.fromisoformat, "time": time.fromisoformat,
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Column(NamedTuple):
    """A column.

    Attributes:
        kind: What all its values are; a time is one with the offset of UTC, kept in microseconds since the epoch.
        present: A byte a row, 1 where it has a value; empty when all have.
        content: The values of the rows that have one.
    """

    kind: Kind
    present: bytes
    content: bytes


class Kept(NamedTuple):
    """Some neighbouring rows of a column that stay."""

    start: int
    stop: int


Piece = Kept | list[Any]
"""A part of a patched column: rows that stay, or values that are new."""


def column_of(values: Sequence[Any]) -> Column:
    """The column of some values."""
    kinds = set(map(type, values))
    present = b""
    if type(MISSING) in kinds:
        present = bytes(value is not MISSING for value in values)
        values = list(compress(values, present))
        kinds.remove(type(MISSING))
    kind = _kind_of(kinds, values)
    try:
        return Column(kind, present, content_of(kind, values))
    except OverflowError:  # an integer of more than 64 bits
        return Column("json", present, content_of("json", values))


def check_column(column: Column, rows: int) -> None:
    """See that a column can be one of so many rows.

    Raises:
        ValueError: It is damaged.
    """
    count = column.present.count(1) if column.present else rows
    if column.present and len(column.present) != rows:
        raise ValueError("a column has another length")
    if column.kind == "text":
        found = len(text_parts(column)[0])
    elif column.kind == "json":
        found = len(json.loads(column.content))
    else:
        found, rest = divmod(len(column.content), array(_CODES[column.kind]).itemsize)
        found += rest > 0
    if found != count:
        raise ValueError("a column has another length")


def values_of(column: Column, rows: int) -> list[Any]:
    """The values of a column, :data:`MISSING` where a row has none.

    Raises:
        ValueError: The column is damaged.
    """
    check_column(column, rows)
    had = present_values(column)
    if not column.present:
        return had
    values = iter(had)
    return [next(values) if one else MISSING for one in column.present]


def present_values(column: Column) -> list[Any]:
    """The values of the rows that have one.

    Raises:
        ValueError: The column is damaged.
    """
    if column.kind == "text":
        lengths, data = text_parts(column)
        ends = list(accumulate(lengths, initial=0))
        if data.isascii():
            text = data.decode("ascii")
            return [text[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]
        return [data[start:stop].decode() for start, stop in zip(ends, ends[1:], strict=False)]
    if column.kind == "json":
        return [_from_json(value) for value in json.loads(column.content)]
    numbers = array(_CODES[column.kind], column.content).tolist()
    if column.kind == "bool":
        return [bool(number) for number in numbers]
    return [_EPOCH + number * _MICROSECOND for number in numbers] if column.kind == "time" else numbers


def text_parts(column: Column) -> tuple[array[int], bytes]:
    """The lengths of a column's texts in bytes, and all the texts, one after the other.

    Raises:
        ValueError: The column is damaged.
    """
    count = int.from_bytes(column.content[:8], "little")
    lengths = array("q", column.content[8 : 8 + 8 * count])
    data = column.content[8 + 8 * count :]
    if len(lengths) != count or sum(lengths) != len(data):
        raise ValueError("a column of texts is damaged")
    return lengths, data


def patched(column: Column, pieces: Sequence[Piece], rows: int) -> Column:
    """A column of some rows that stay and some that are new.

    Args:
        column: The column as it was.
        pieces: The parts of the new one, in its order.
        rows: How many rows the column had.

    Raises:
        ValueError: The column is damaged.
    """
    new = [value for piece in pieces if not isinstance(piece, Kept) for value in piece if value is not MISSING]
    if column.kind == "json" or (new and column_of(new).kind != column.kind):
        values = values_of(column, rows)
        return column_of(
            [one for piece in pieces for one in (values[slice(*piece)] if isinstance(piece, Kept) else piece)]
        )
    before = column.present or b"\1" * rows
    counted = list(accumulate(before, initial=0))
    present: list[bytes] = []
    parts: list[Kept | list[Any]] = []
    for piece in pieces:
        if isinstance(piece, Kept):
            present.append(before[piece.start : piece.stop])
            parts.append(Kept(counted[piece.start], counted[piece.stop]))
        else:
            present.append(bytes(value is not MISSING for value in piece))
            parts.append([value for value in piece if value is not MISSING])
    now = b"".join(present)
    join = _joined_texts if column.kind == "text" else _joined_numbers
    return Column(column.kind, now if 0 in now else b"", join(column, parts))


def _joined_numbers(column: Column, parts: list[Piece]) -> bytes:
    size = array(_CODES[column.kind]).itemsize
    return b"".join(
        column.content[size * part.start : size * part.stop]
        if isinstance(part, Kept)
        else content_of(column.kind, part)
        for part in parts
    )


def _joined_texts(column: Column, parts: list[Piece]) -> bytes:
    lengths, data = text_parts(column)
    ends = list(accumulate(lengths, initial=0))
    now, texts = array("q"), []
    for part in parts:
        if isinstance(part, Kept):
            now += lengths[part.start : part.stop]
            texts.append(data[ends[part.start] : ends[part.stop]])
        else:
            encoded = [text.encode() for text in part]
            now.extend(map(len, encoded))
            texts += encoded
    return _texts(now, b"".join(texts))


def _kind_of(types: set[type], values: Sequence[Any]) -> Kind:
    if len(types) != 1:
        return "json"
    [only] = types
    if only is datetime:
        return "time" if all(value.utcoffset() == timedelta(0) for value in values) else "json"
    return _KINDS.get(only, "json")


def content_of(kind: Kind, values: Sequence[Any]) -> bytes:
    """The content of a column of some values, all of a kind.

    Raises:
        OverflowError: An integer has more than 64 bits.
    """
    if kind == "text":
        encoded = [text.encode() for text in values]
        return _texts(array("q", map(len, encoded)), b"".join(encoded))
    if kind == "json":
        return json.dumps([_to_json(value) for value in values], ensure_ascii=False).encode()
    if kind == "time":
        return array("q", [(value - _EPOCH) // _MICROSECOND for value in values]).tobytes()
    return array(_CODES[kind], values).tobytes()


def _texts(lengths: array[int], data: bytes) -> bytes:
    return len(lengths).to_bytes(8, "little") + lengths.tobytes() + data


# -- what JSON has no word for is a list of its name and its text; a list is one of "list" and its items


def _to_json(value: Any) -> Any:
    if isinstance(value, list):
        return ["list", *map(_to_json, value)]
    if isinstance(value, dict):
        return {key: _to_json(one) for key, one in value.items()}
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    return ["time", value.isoformat()] if isinstance(value, time) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _from_json(one) for key, one in value.items()}
    if not isinstance(value, list):
        return value
    word, *inside = value
    if word == "list":
        return [_from_json(one) for one in inside]
    return _FROM_TEXT[word](*inside)
