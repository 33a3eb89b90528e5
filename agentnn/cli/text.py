"""Text that came from a store is data: nothing in it is ever acted on by a terminal, a page or a spreadsheet."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.query.expressions import to_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_JOINER = "\u200d"  # joins the parts of one emoji
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LONGEST_LINE = 1 << 20
_LINE_BREAKS = "\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"


def visible(text: str, *, keep: str = "") -> str:
    """A text whose control, direction and other invisible characters are spelled out: ``\\x1b``, ``\\u202e``.

    A backslash beside them is doubled, so that the text can be read back.

    Args:
        text: Any text.
        keep: Characters to leave as they are, such as a newline.
    """
    if text.isprintable():
        return text
    spelled = [char if _is_shown(char) or char in keep else _spelled(char) for char in text]
    if all(len(part) == 1 for part in spelled):
        return text
    return "".join("\\\\" if part == "\\" else part for part in spelled)


def _is_shown(char: str) -> bool:
    return char.isprintable() or char == _JOINER or (char.isspace() and char not in _LINE_BREAKS)


def json_safe(text: str) -> str:
    """JSON text in which every character that a terminal could act on is a JSON escape."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(char if _is_shown(char) or char == "\n" else _json_escape(char) for char in text)


def markdown_safe(text: str) -> str:
    """A text for a Markdown table: no markup and no HTML in it has a meaning."""
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", visible(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def spreadsheet_safe(text: str) -> str:
    """A cell that no spreadsheet runs as a formula: a leading ``'`` where it would.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{text}" if text[:1] in _FORMULA_SIGNS and to_number(text) is None else text


def plain(value: Any) -> str:
    """A value in full precision, without any decoration."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return ",".join(plain(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={plain(one)}" for key, one in value.items())
    return str(value)


def short(value: Any) -> str:
    """A value for a person to read: a float to four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 or value != value else f"{value:.4e}"
    return visible(plain(value))


def shown_lines(chunks: Iterable[bytes], name: str) -> Iterator[str]:
    """The text of a file for a terminal, whose control and other invisible characters are spelled out.

    Raises:
        UsageError: The file is not text in UTF-8.
    """
    decoder = getincrementaldecoder("utf-8")()
    rest = ""
    try:
        for chunk in chunks:
            if b"\0" in chunk:
                raise ValueError
            *lines, rest = (rest + decoder.decode(chunk)).split("\n")
            yield from (_shown_line(line) + "\n" for line in lines)
            if len(rest) > _LONGEST_LINE:
                yield _shown_line(rest)
                rest = ""
        yield _shown_line(rest + decoder.decode(b"", final=True))
    except ValueError:
        raise UsageError(
            f"{name!r} is not text, and this is a terminal", hint="write it into a file: … > FILE, or run artifacts get"
        ) from None


def _shown_line(line: str) -> str:
    return visible(line.removesuffix("\r"), keep="\t")


def _spelled(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or char.encode("unicode_escape", "surrogatepass").decode()


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2))
