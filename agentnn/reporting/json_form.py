"""A report as JSON, and back again.

The form is that of :mod:`agentnn.reporting.document`, field by field; a block names its class under ``type``. A field
that is empty, false or null is left out where that is its default, so that a thousand runs stay small. ``format`` is
the version of the form.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from agentnn.errors import CorruptDataError
from agentnn.reporting import document
from agentnn.reporting.document import FORMAT, Block, Report

_SCALARS = (str, int, float, bool, type(None))
_BLOCKS: dict[str, type] = {one.__name__: one for one in get_args(Block)}
_HINT = "make the report again with agentnn report"


def to_json(report: Report) -> str:
    """A report as one line of JSON."""
    told = {"format": FORMAT, **_told(report)}
    return json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def sealed(report: Report, version: str) -> Report:
    """A report with the version of agentnn that made it, and its own checksum."""
    open_ = replace(report, source=replace(report.source, version=version, digest=""))
    return replace(open_, source=replace(open_.source, digest=_digest(open_)))


def is_intact(report: Report) -> bool:
    """Whether nothing of a report was changed since it was sealed."""
    return report.source.digest == _digest(replace(report, source=replace(report.source, digest="")))


def from_json(text: str) -> Report:
    """The report that JSON tells.

    Raises:
        CorruptDataError: It is damaged, no report, or of a later version of agentnn.
    """
    try:
        read = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"the data of the report are no JSON: {error}", hint=_HINT) from error
    if not isinstance(read, dict) or not isinstance(read.get("format"), int):
        raise CorruptDataError("the data are no report", hint=_HINT)
    if read["format"] > FORMAT:
        raise CorruptDataError("the report was made by a later version of agentnn", hint="update agentnn")
    del read["format"]
    found = _read(Report, read, "report")
    assert isinstance(found, Report)
    return found


def _digest(report: Report) -> str:
    return sha256(to_json(report).encode("utf-8", "surrogatepass")).hexdigest()


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _told(one: Any) -> Any:
    if isinstance(one, float):
        return one if math.isfinite(one) else None  # what has overflowed has no value
    if isinstance(one, _SCALARS):
        return one
    if isinstance(one, tuple):
        return [_told(part) for part in one]
    told: dict[str, Any] = {"type": type(one).__name__} if type(one).__name__ in _BLOCKS else {}
    for field in fields(one):
        value = getattr(one, field.name)
        default = () if field.default_factory is not MISSING else field.default
        if value or value != default or type(value) is not type(default):
            told[field.name] = _told(value)
    return told


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of a declared type.

    Raises:
        CorruptDataError: It is of another.
    """
    if is_dataclass(kind):
        return _record(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, value)
        return _items(arguments[0], value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise _wrong(where, value)
        return value
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where)
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise _wrong(where, value)


def _items(kind: Any, values: list[Any], where: str) -> tuple[Any, ...]:
    if is_dataclass(kind) or get_origin(kind) is tuple or any(map(is_dataclass, get_args(kind))):
        return tuple(_read(kind, value, f"{where}[{place}]") for place, value in enumerate(values))
    allowed = {float: (float, int)}.get(kind, get_args(kind) or (kind,))
    allowed = (*allowed, int) if float in allowed else allowed  # 1.0 may be written 1
    for place, value in enumerate(values):
        if type(value) not in allowed:
            raise _wrong(f"{where}[{place}]", value)
    return tuple(values)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if isinstance(value, dict):
        kind = _BLOCKS.get(value.get("type", ""))
        if kind not in kinds:
            raise _wrong(where, value.get("type"))
        return _record(kind, {name: part for name, part in value.items() if name != "type"}, where)
    for kind in kinds:
        if kind is type(None) and value is None:
            return None
        if kind is not type(None):
            try:
                return _read(kind, value, where)
            except CorruptDataError:
                continue
    raise _wrong(where, value)


def _record(kind: Any, value: Any, where: str) -> Any:
    hints = _hints(kind)
    if not isinstance(value, dict) or not value.keys() <= hints.keys():
        raise _wrong(where, value)
    try:
        return kind(**{name: _read(hints[name], part, f"{where}.{name}") for name, part in value.items()})
    except TypeError as error:  # a field without a default is not there
        raise CorruptDataError(f"the data of the report are damaged at {where}: {error}", hint=_HINT) from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, vars(document))


def _wrong(where: str, value: Any) -> CorruptDataError:
    told = repr(value)
    return CorruptDataError(
        f"the data of the report are damaged at {where}: {told[:40]}{'…' if len(told) > 40 else ''}", hint=_HINT
    )
