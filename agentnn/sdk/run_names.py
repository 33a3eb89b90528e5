"""Names of runs, made from a pattern."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME_PATTERN = "{model_type}-{time:%Y%m%d-%H%M%S}"


def filled(pattern: str, values: Mapping[str, Any]) -> str:
    """A pattern with its values; a missing one goes with the signs before it.

    Raises:
        UsageError: The pattern is malformed or names another value.
    """
    known = ", ".join(f"{{{name}}}" for name in values)
    text = ""
    try:
        for literal, name, form, conversion in string.Formatter().parse(pattern):
            is_missing = name is not None and name in values and values[name] is None
            text += literal.rstrip("-_./ ") if is_missing else literal
            if name is not None and not is_missing:
                value = values[name]  # a plain name: no attribute or item of a value can be reached
                text += format(str(value) if conversion else value, form or "")
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"the pattern of run names {pattern!r} can't be filled in: {error}", hint=f"it may hold {known}"
        ) from error
    return text.strip("-_./ ") or f"run-{values['time']:%Y%m%d-%H%M%S}"
