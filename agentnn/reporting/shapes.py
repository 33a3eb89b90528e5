"""Cells as a person reads them, the same in every renderer; ``templates/text.js`` says it again for the browser.

Both round as written decimals do, half away from zero, so that a table looks the same before and after it was sorted.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentnn.reporting.document import Cell, Shape

NOTHING = "–"
NUMERIC: frozenset[Shape] = frozenset({"number", "percent", "duration"})

_SIGNIFICANT = 4
_MOST_DECIMALS = 6
_FEW_DECIMALS = 3
_GROUPED_FROM = 10_000
_PLAIN = (1e-4, 1e6)
_WIDEST = 100
_BEYOND = 1e15
_JOINER = "\u200d"
_DURATIONS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def shown(value: Cell, shape: Shape = "text", *, digits: int | None = None, is_signed: bool = False) -> str:
    """A cell as text.

    Args:
        value: The cell.
        shape: How it is shown.
        digits: Decimal places of a number or a percentage; ``None`` for about four significant digits.
        is_signed: Whether a plus sign is shown.
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value, shape)
    if shape == "duration":
        return duration(value)
    percent = shape == "percent"
    text = number(value * 100, 2 if digits is None else digits) + "%" if percent else number(value, digits)
    return f"+{text}" if is_signed and value > 0 else text


def number(value: float, digits: int | None = None) -> str:
    """A finite number: with so many decimal places, or with about four significant digits."""
    if digits is not None and abs(value) < _BEYOND:
        return _grouped(_fixed(value, digits))
    if value == int(value) and abs(value) < _BEYOND:
        return _grouped(str(int(value)))
    if _PLAIN[0] <= abs(value) < _PLAIN[1]:
        decimals = max(_SIGNIFICANT - 1 - math.floor(math.log10(abs(value))), 0)
        fixed = _fixed(value, decimals)
        return _grouped(fixed.rstrip("0").rstrip(".") if "." in fixed else fixed)
    return _scientific(value)


def duration(seconds: float) -> str:
    """Seconds in their two greatest units: ``12 min 4 s``."""
    if abs(seconds) >= _BEYOND:
        return f"{number(seconds)} s"
    if abs(seconds) < 60:
        return f"{number(seconds, 0 if seconds == int(seconds) else 1 if abs(seconds) >= 1 else 3)} s"
    rest = int(_fixed(abs(seconds), 0))
    place = next(place for place, (size, _) in enumerate(_DURATIONS) if rest >= size)
    (size, unit), (finer, finer_unit) = _DURATIONS[place : place + 2]
    parts = f"{'-' if seconds < 0 else ''}{rest // size} {unit}"
    below = rest % size // finer
    return f"{parts} {below} {finer_unit}" if below else parts


def moment(text: str) -> str:
    """An ISO 8601 time as ``2026-01-05 09:30:15``; what is none stays as it is."""
    if len(text) < 16 or text[10] != "T" or not text.endswith(("Z", "+00:00")):
        return text
    clock = text[11:].removesuffix("Z").removesuffix("+00:00").partition(".")[0]
    return f"{text[:10]} {clock}"


def common_digits(values: Iterable[Cell]) -> int | None:
    """The decimal places with which a column of numbers is best read; ``None`` where one number of them suits none.

    They lose nothing that was given, or leave every number three significant digits.
    """
    sizes = [abs(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if not sizes or max(sizes) >= _PLAIN[1]:
        return 0 if sizes and all(size == int(size) for size in sizes) and max(sizes) < _BEYOND else None
    written = max(map(_decimals, sizes))
    if written <= _FEW_DECIMALS:
        return written
    least, most = min(size for size in sizes if size), max(sizes)
    if most / least > _WIDEST:
        return None
    decimals = max(_SIGNIFICANT - 1 - math.floor(math.log10(most)), 2 - math.floor(math.log10(least)), 0)
    return min(decimals, written) if min(decimals, written) <= _MOST_DECIMALS else None


def _decimals(size: float) -> int:
    """The decimal places that a number has when it is written out."""
    return max(-int(Decimal(repr(size)).normalize().as_tuple().exponent), 0)


def visible(text: str, *, keep: str = "") -> str:
    """A text whose control, direction and other invisible characters are spelled out: ``\\x1b``, ``\\u202e``."""
    if text.isprintable():
        return text
    return "".join(char if _is_shown(char) or char in keep else _spelled(char) for char in text)


def _is_shown(char: str) -> bool:
    return char.isprintable() or char == _JOINER


def _spelled(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or char.encode("unicode_escape", "surrogatepass").decode()


def _text(value: str, shape: Shape) -> str:
    if shape == "time":
        return moment(visible(value))
    return visible(value[:8] if shape == "id" else value)


def _fixed(value: float, digits: int) -> str:
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, Context(prec=400))
    return f"{rounded:f}" if rounded else f"{abs(rounded):f}"


def _grouped(fixed: str) -> str:
    whole, point, decimals = fixed.partition(".")
    return f"{int(whole):,}{point}{decimals}" if abs(int(whole)) >= _GROUPED_FROM else fixed


def _scientific(value: float) -> str:
    rounded = Context(prec=_SIGNIFICANT, rounding=ROUND_HALF_UP).create_decimal(Decimal(value))
    mantissa = f"{rounded.scaleb(-rounded.adjusted()):f}"
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{rounded.adjusted()}"
