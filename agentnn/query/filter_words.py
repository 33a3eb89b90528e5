"""The words of a filter: numbers, quoted texts, names and keywords, and where in the text an error is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentnn.query.pointing import error_at

if TYPE_CHECKING:
    from agentnn.errors import FilterError

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")
_INFINITY = re.compile(r"[+-]?inf(?:inity)?(?!\w)", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_]\w*")
_BARE_KEY = re.compile(r"[^\s'\"`(),=<>!~]+")
_SPACE = re.compile(r"\s*")


class FilterWords:
    """A text that is read word by word, from its beginning; :mod:`agentnn.query.filters` has the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self._skip_space()

    def _value(self) -> str | float | bool:
        if match := _NUMBER.match(self.text, self.position) or _INFINITY.match(self.text, self.position):
            self._advance(match.end())
            return _exact_number(match[0])
        if self._at_quote("'\""):
            value = self._quoted(self.text[self.position])
            self._skip_space()
            return value
        for word, truth in (("true", True), ("false", False)):
            if self.keyword(word):
                return truth
        raise self._error(f"expected a number or a quoted text, found {self._found()}")

    def _bare_key(self) -> str:
        match = _BARE_KEY.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def _at_quote(self, quotes: str) -> bool:
        return not self.at_end() and self.text[self.position] in quotes

    def _quoted(self, quote: str) -> str:
        """A quoted text; the quote itself is written twice, as in SQL."""
        start = self.position
        end = start + 1
        while True:
            end = self.text.find(quote, end)
            if end < 0:
                raise self._error("this quote is not closed", at=start)
            if self.text[end + 1 : end + 2] != quote:
                break
            end += 2
        self.position = end + 1
        return self.text[start + 1 : end].replace(quote * 2, quote)

    def keyword(self, word: str) -> bool:
        match = _WORD.match(self.text, self.position)
        if match is None or match[0].upper() != word.upper():
            return False
        self._advance(match.end())
        return True

    def _symbol(self, symbol: str) -> bool:
        if not self.text.startswith(symbol, self.position):
            return False
        self._advance(self.position + len(symbol))
        return True

    def _expect_symbol(self, symbol: str) -> None:
        if not self._symbol(symbol):
            raise self._error(f"expected {symbol!r}, found {self._found()}")

    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def expect_end(self) -> None:
        if not self.at_end():
            raise self._error(f"expected nothing more, found {self._found()}")

    def _advance(self, position: int) -> None:
        self.position = position
        self._skip_space()

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        if match:
            self.position = match.end()

    def _found(self) -> str:
        words = self.text[self.position :].split(maxsplit=1)
        return repr(words[0][:20]) if words else "the end"

    def _error(self, message: str, *, at: int | None = None, hint: str = "") -> FilterError:
        return error_at("filter", message, self.text, self.position if at is None else at, hint)


def _exact_number(text: str) -> float:
    """A number; a whole one that fits 64 bits stays an ``int``, so that times and large params compare exactly."""
    number = float(text)
    return int(text) if text.lstrip("+-").isdigit() and abs(number) < 2**63 else number
