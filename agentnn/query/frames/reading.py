"""A query that is read word by word, with an eye on how deep and how long it gets."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.query.frames.words import Word, query_error, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.errors import FilterError
    from agentnn.query.frames.hints import NameHints

MAX_DEPTH = 20
MAX_OPERATIONS = 1_000
_INSTEAD = {
    "=": "did you mean == ?",
    ":=": "did you mean == ?",
    "<>": "did you mean != ?",
    "!": "did you mean not, or != ?",
    "&&": "did you mean and ?",
    "||": "did you mean or ?",
    "AND": "did you mean and ?",
    "OR": "did you mean or ?",
    "NOT": "did you mean not ?",
    "IN": "did you mean in ?",
    "is": "a missing value: name.isna(), otherwise ==",
    "^": "a power is written **",
    "[": "parts of a column can't be taken here",
    "@": "variables can't be used: put the value itself into the text",
}


class QueryReader:
    """The current word of a query, and the way to the next; :mod:`agentnn.query.frames.parsing` has the grammar."""

    def __init__(self, text: str, hints: NameHints) -> None:
        self.text = text
        self.hints = hints
        self.words = words_of(text)
        self.word = next(self.words)
        self.previous: Word | None = None
        self.last_name: int | None = None
        self.depth = self.operations = 0

    def _prefixes(self, *spellings: str) -> list[Word]:
        found = []
        while self.word.is_symbol(*spellings):
            found.append(self._operator())
        return found

    @contextmanager
    def _nested(self, levels: int) -> Iterator[None]:
        self.depth += levels
        if self.depth > MAX_DEPTH:
            raise self._error(
                f"more than {MAX_DEPTH} levels", self.word.position, "take some parentheses or signs away"
            )
        yield
        self.depth -= levels

    def at_end(self) -> bool:
        return self.word.kind == "end"

    def _operator(self) -> Word:
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise self._error(
                f"more than {MAX_OPERATIONS:,} operations",
                self.word.position,
                "many values of one column: a in [1, 2, 3]",
            )
        return self._take()

    def _take(self) -> Word:
        self.previous, self.word = self.word, next(self.words)
        return self.previous

    def _expect(self, symbol: str) -> None:
        if not self.word.is_symbol(symbol):
            raise self._unexpected(repr(symbol))
        self._take()

    def _unexpected(self, wanted: str, hint: str = "") -> FilterError:
        misread = self.previous if self.previous and self.previous.is_symbol("AND", "OR", "NOT") else self.word
        hint = _INSTEAD.get(misread.spelling, "") or self.hints.for_quoting(self.last_name) or hint
        return self._error(f"expected {wanted}, found {self.word}", self.word.position, hint)

    def _error(self, message: str, position: int, hint: str = "") -> FilterError:
        return query_error(message, self.text, position, hint)
