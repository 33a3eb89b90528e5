"""Striking secrets out of what is recorded of the code and the command line.

Nobody can tell a secret from other text for certain. Struck out are: values whose name sounds like a secret, passwords
in URIs, text of the shape of known tokens and keys, long random text, and whatever a secret-sounding variable of the
environment holds; where in doubt, too. A secret that neither is named nor looks like one stays.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.config.secrecy import MASK, sounds_secret
from agentnn.settings import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMES = (
    r"(?:[\w.\-]*(?:password|passwd|passphrase|secret|credential|api[_\-]?key|access[_\-]?key|private[_\-]?key)[\w.\-]*"
    r"|(?:[\w.\-]*[_.\-])?(?:pwd|pass|pw|token|auth|authorization|cookie|dsn|pat)(?:[_\-]?\d+)?"
    r"|(?-i:[a-zA-Z]\w*[a-z](?:Token|Pwd|Auth|Key)))"
)
_ASSIGNED = re.compile(
    rf"(?P<name>(?<![\w.\-]){_NAMES}[\"'\])]*\s*)(?P<sign>=>|:=|[=:,])(?!=)(?P<value>\s*\S.*)", re.IGNORECASE
)
_OPTION = re.compile(rf"(?P<name>--?{_NAMES}[\"']?)(?P<sign>[ \t]+)(?P<value>\S.*)", re.IGNORECASE)
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=\-]{6,}")
_SHAPES = re.compile(
    r"gh[opsur]_\w{16,}|github_pat_\w{20,}|glpat-[\w\-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w\-]{20,}|xox[a-z]-[\w\-]{10,}"
    r"|(?:sk|pk|rk)[-_][\w\-]{16,}|hf_\w{16,}|npm_\w{16,}|pypi-[\w\-]{16,}|dapi[0-9a-f]{16,}"
    r"|eyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?"
)
_RANDOM = re.compile(r"[A-Za-z0-9+/_\-]{24,}={0,2}")
_LEAST_ENTROPY = 4.0
"""Bits a character, from which a long text is taken for random; names and paths of code lie below."""

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY")
_SHORTEST = 6
"""Characters of a variable's value that is looked for; shorter ones stand in too many words."""

_LONGEST_LINE = 2000
_OPTION_WORDS = re.compile(
    r"(?:^|[-_.])(?:key|pass|passwd|password|passphrase|pw|pwd|pin|pat|token|secret|credentials?|auth|cookie|session|"
    r"signature|sig|sas|dsn|login|user|username|cert|url|uri)(?:$|[-_.\d])",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|true|false|yes|no|on|off|null|none", re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z][A-Za-z_.\-]{0,31}\d{0,3}|\[?[\d.,\s+\-eE]+\]?")


class Redactor:
    """Strikes secrets out.

    Args:
        environ: Where the values of secret-sounding variables are taken from; the process's own by default.
        secrets: More values that must never be seen.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, secrets: Sequence[str] = ()) -> None:
        environ = os.environ if environ is None else environ
        held = {value for name, value in environ.items() if sounds_secret(name) or _OPTION_WORDS.search(name)}
        usual = {environ.get(name) for name in ("USER", "LOGNAME", "USERNAME")}
        values = {*(value for value in held if value not in usual and not _is_path(value)), *secrets}
        self._secrets = tuple(sorted((one for one in values if len(one) >= _SHORTEST), key=len, reverse=True))

    def text(self, text: str) -> str:
        """Text of any number of lines, such as a diff; its line breaks stay."""
        lines, in_key = [], False
        for line in text.split("\n"):
            begins = bool(_KEY_BEGINS.search(line))
            lines.append(MASK if in_key or begins else self._line(line))
            in_key = (in_key or begins) and not _KEY_ENDS.search(line)
        return "\n".join(lines)

    def known(self, text: str) -> str:
        """A name, a path or an address: without passwords of URIs and without what the environment keeps secret."""
        return _SHAPES.sub(MASK, redact(text, self._secrets))

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """The arguments of a command line that may be shown: options, numbers, paths that are there, plain words."""
        shown, option = [], ""
        for argument in arguments:
            if argument.startswith("-") and not _HARMLESS.fullmatch(argument):
                name, sign, value = argument.partition("=")
                shown.append(self.known(name) + sign + (self._argument(value, name) if sign else ""))
                option = "" if sign else name
            else:
                shown.append(self._argument(argument, option))
        return shown

    def _argument(self, value: str, option: str) -> str:
        name = option.lstrip("-")
        if sounds_secret(name) or _OPTION_WORDS.search(name) or self.known(value) != value:
            return MASK
        is_word = option.startswith("--") and _WORD.fullmatch(value)
        return value if _HARMLESS.fullmatch(value) or is_word or _is_path(value) else MASK

    def _line(self, line: str) -> str:
        if len(line) > _LONGEST_LINE:
            return f"{line[:1]}{MASK} (a line of {len(line)} characters)"
        line = _BEARER.sub(rf"\1{MASK}", self.known(line))
        for pattern in (_ASSIGNED, _OPTION):
            line = pattern.sub(rf"\g<name>\g<sign> {MASK}", line)
        return _RANDOM.sub(lambda found: MASK if _is_random(found[0]) else found[0], line)


def _is_path(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):
        return False


def _is_random(text: str) -> bool:
    """Whether text is more mixed than names are: digits and letters of both cases, evenly spread."""
    if not (re.search(r"\d", text) and re.search(r"[a-z]", text) and re.search(r"[A-Z]", text)):
        return False
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values()) >= _LEAST_ENTROPY
