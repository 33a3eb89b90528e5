"""Errors that point into the text of a question, in one form for every language."""

from __future__ import annotations

from agentnn.errors import FilterError

_CONTEXT = 30
_MARK = "\u25b8"


def error_at(language: str, message: str, text: str, position: int, hint: str = "") -> FilterError:
    """The error for one place of a text: ``filter: no closing quote (character 7, at ▸ in 'a.b = ▸\\'x')``."""
    before = text[max(0, position - _CONTEXT) : position]
    after = text[position : position + _CONTEXT]
    where = f"character {position + 1}, at {_MARK} in {before + _MARK + after!r}"
    return FilterError(f"{language}: {message} ({where})", text=text, position=position, hint=hint)
