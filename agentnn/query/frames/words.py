"""The words of a query: names, numbers, texts and symbols, each with its place in the user's own text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from agentnn.query.pointing import error_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.errors import FilterError
    from agentnn.query.frames.expressions import Value

MAX_LENGTH = 500_000
"""Room for ten thousand run ids in a list, and for nothing absurd."""
_MAX_INTEGER = 2**64

_WORD = re.compile(
    r"""
      (?P<space>  [ \t\f]+ | \#.* )
    | (?P<quoted> ` [^`]* (?: `` [^`]* )* ` )
    | (?P<text>   (?P<prefix> [bB][rR] | [rR][bB] | [fF][rR] | [rR][fF] | [rRuUbBfF] )?
                  (?: '[^'\\]*(?:\\.[^'\\]*)*' | "[^"\\]*(?:\\.[^"\\]*)*" ) )
    | (?P<number> 0[xXoObB]\w+ | (?: [0-9][0-9_]*(?:\.[0-9_]*)? | \.[0-9][0-9_]* ) (?: [eE][+-]?[0-9][0-9_]* )? )
    | (?P<name>   [^\W\d]\w* )
    | (?P<symbol> \*\* | // | << | >> | == | != | <= | >= | <> | := | && | \|\| | [-+*/%<>=&|~().,\[\]@^!:;{}] )
    """,
    re.VERBOSE,
)
_AFTER_NUMBER = re.compile(r"[\w.]")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|[0-7]{1,3}|[\\'\"abfnrtvxuUN])")

Kind = Literal["name", "quoted", "text", "number", "symbol", "end"]


class Word(NamedTuple):
    """One word. ``value`` is what it stands for: a name without its backticks, a number, a text without its quotes."""

    kind: Kind
    spelling: str
    position: int
    value: Value

    def is_symbol(self, *spellings: str) -> bool:
        """Whether it is one of these operators or words of the language."""
        return self.kind in ("symbol", "name") and self.spelling in spellings

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.spelling[:20])


def query_error(message: str, text: str, position: int, hint: str = "") -> FilterError:
    """The error for one place of a query."""
    return error_at("query", message, text, position, hint)


def words_of(text: str) -> Iterator[Word]:
    """The words of a query, one by one, and an end.

    Raises:
        FilterError: The text is too long, has more than one line, or holds what is no word.
    """
    if len(text) > MAX_LENGTH:
        raise query_error(f"more than {MAX_LENGTH:,} characters", text, MAX_LENGTH)
    position, end = len(text) - len(text.lstrip()), len(text.rstrip())
    first_line = text[position:end].splitlines()[:1]
    if first_line and len(first_line[0]) < end - position:
        hint = "a line break within a text is written \\n"
        raise query_error("a query is one line", text, position + len(first_line[0]), hint)
    while position < end:
        match = _WORD.match(text, position, end)
        if match is None:
            raise _no_word(text, position)
        if match["space"] is None:
            yield _word(match, text)
        position = match.end()
    yield Word("end", "", end, None)


def _word(match: re.Match[str], text: str) -> Word:
    spelling, position = match[0], match.start()
    if match["quoted"] is not None:
        return Word("quoted", spelling, position, spelling[1:-1].replace("``", "`"))
    if match["text"] is not None:
        return Word("text", spelling, position, _text_value(match, text))
    if match["number"] is not None:
        return Word("number", spelling, position, _number_value(match, text))
    return Word("name" if match["name"] is not None else "symbol", spelling, position, None)


def _text_value(match: re.Match[str], text: str) -> str:
    prefix, position = (match["prefix"] or "").lower(), match.start()
    if "b" in prefix or "f" in prefix:
        raise query_error(f"{match[0][: len(prefix) + 1]}… is no plain text", text, position, "leave the prefix out")
    quote = match[0][len(prefix)]
    if len(match[0]) == len(prefix) + 2 and text.startswith(quote, match.end()):
        raise query_error("three quotes", text, position, "a text stands between single or double quotes")
    content = match[0][len(prefix) + 1 : -1]
    if prefix == "r" or "\\" not in content:
        return content
    try:
        return _ESCAPE.sub(_unescaped, content)
    except UnicodeDecodeError:
        raise query_error(
            "a \\x, \\u or \\N escape that is no character", text, position, r"\\ is a backslash"
        ) from None


def _unescaped(match: re.Match[str]) -> str:
    """What an escape stands for. As in Python, a backslash before any other character is a backslash."""
    return match[0].encode("ascii", "replace").decode("unicode_escape")


def _number_value(match: re.Match[str], text: str) -> int | float:
    spelling, position = match[0], match.start()
    after = _AFTER_NUMBER.match(text, match.end())
    try:
        if after:
            raise ValueError
        number = int(spelling, 0) if _is_whole(spelling) else float(spelling)
    except ValueError:
        hint = "a name that begins with a digit is put in backticks"
        raise query_error(
            f"{spelling[:20] + (after[0] if after else '')!r} is no number", text, position, hint
        ) from None
    return bounded(number, text, position)


def bounded(number: int | float, text: str, position: int) -> int | float:
    """The number itself.

    Raises:
        FilterError: It is a whole one of more than 64 bits.
    """
    if isinstance(number, int) and abs(number) >= _MAX_INTEGER:
        raise query_error("a whole number of more than 64 bits", text, position, "1e30 is a number of any size")
    return number


def _is_whole(spelling: str) -> bool:
    return spelling[:2].lower() in ("0x", "0o", "0b") or not any(one in spelling for one in ".eE")


def _no_word(text: str, position: int) -> FilterError:
    found = text[position]
    if found in "'\"`":
        hint = "within a text, \\' and \\\" are quotes" if found != "`" else "within a name, `` is a backtick"
        return query_error("this quote is not closed", text, position, hint)
    return query_error(f"unexpected {found!r}", text, position)
