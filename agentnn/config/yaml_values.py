"""What a YAML scalar means: the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

``1e-4`` is a number, ``012`` is twelve, and ``on``, ``no``, ``12:30``, ``1_000`` and ``2024-01-31`` are text.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 400
_BASES = {"0o": 8, "0x": 16}


def scalar_of(text: str) -> Scalar:
    """What text without quotes means.

    Raises:
        ValueError: It is a number that no computer can hold, or none that JSON can.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if NOT_FINITE.fullmatch(text):
        raise ValueError(f"a configuration can't hold {text}: write null, or leave the key out")
    is_integer = INTEGER.fullmatch(text) is not None
    if not is_integer and FLOAT.fullmatch(text) is None:
        return text
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"the number {text[:20]}… has {len(text)} characters")
    if is_integer:
        return int(text[2:], _BASES[text[:2]]) if text[:2] in _BASES else int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number
