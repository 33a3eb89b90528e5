"""Names of metrics, params and tags as every store can keep them, and back.

MLflow takes letters, digits, ``_ - . : /`` and spaces, and no name that is not a tidy relative path; the SQL stores and
the file store then fail in different places. What does not fit is written as ``_xHHHH_``, the escape of .NET's
XmlConvert.EncodeName (https://learn.microsoft.com/dotnet/api/system.xml.xmlconvert.encodename), so that the same name
reaches every store and can be read back.
"""

from __future__ import annotations

import re

from agentnn.errors import UsageError

LONGEST = 250
"""Characters of a name, and bytes of each of its parts between slashes: what every store of MLflow can keep."""

_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-F]{4})")
_FOREIGN = re.compile(r"[^/\w.\- :]")
_UNTIDY = re.compile(r"^/|(?<=/)/|/$|(?:^|(?<=/))\.(?=/|$)|(?:^|(?<=/))\.(?=\.(?:/|$))|^\.(?=\.)")
_ESCAPED = re.compile(r"_x([0-9A-F]{8}|[0-9A-F]{4})_")


def encode_key(key: str) -> str:
    """The name under which a metric, param or tag is stored; most names are their own.

    Raises:
        UsageError: The name is no text, empty, or longer than any store can keep.
    """
    if not isinstance(key, str):
        raise UsageError(f"the name of a metric, param or tag must be text, not {key!r}")
    encoded = _FOREIGN.sub(_escape, _UNTIDY.sub(_escape, _LOOKS_ESCAPED.sub(_escape, key)))
    if not encoded:
        raise UsageError("the name of a metric, param or tag is empty", hint="give it a name")
    if len(encoded) > LONGEST or any(len(part.encode()) > LONGEST for part in encoded.split("/")):
        raise UsageError(
            f"the name {key[:40]!r}… is too long", hint=f"no store keeps names of more than {LONGEST} characters"
        )
    return encoded


def can_be_encoded(key: str) -> bool:
    """Whether there is a name under which every store can keep this one."""
    try:
        encode_key(key)
    except UsageError:
        return False
    return True


def is_common(key: str) -> bool:
    """Whether every store can keep a name as it is."""
    return 0 < len(key) <= LONGEST and not _FOREIGN.search(key) and not _UNTIDY.search(key)


def decode_key(stored: str) -> str:
    """The name that :func:`encode_key` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), stored)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"_x{code:04X}_" if code <= 0xFFFF else f"_x{code:08X}_"
