"""Which file of a project of TOML runs is which, and which folder a name stands for."""

from __future__ import annotations

import re
from urllib.parse import quote

from agentnn.errors import UsageError

CONFIG, METRICS, HISTORY = "config.toml", "metrics.toml", "history.jsonl"
PROJECT, ORIGIN = "project.toml", "origin.toml"
LOCK = ".lock"
INDEX = ".agentnn-index.sqlite"
META, WANDB = "_meta", "_wandb"

_MOST_BYTES = 200
"""Of a folder's name: file systems take 255, and names of temporary files are longer than their targets'."""

_DIGITS = 32
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f%]|^\.|^\s|\s\Z")


def directory_name(name: str) -> str:
    """The name of the folder that a project or a run of this name has; for most names, the name itself.

    Whatever the name is, this is one part of a path, not hidden, none of our own files, and another one for every other
    name: what could lead elsewhere is percent-encoded, and a long name ends in a digest of itself.

    Raises:
        UsageError: The name is empty, or no valid Unicode.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"the name of a project or run must be text, not {name!r}", hint="give it a name")
    try:
        encoded = _FORBIDDEN.sub(lambda found: quote(found[0], safe="").replace(".", "%2E"), name)
        if encoded == PROJECT:
            encoded = f"%{ord(name[0]):02X}{name[1:]}"
        size = len(encoded.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the name {name!r} is not valid Unicode", hint="choose another name") from None
    if size <= _MOST_BYTES:
        return encoded
    import hashlib  # few names are so long, and a read should not wait for it

    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return encoded.encode()[: _MOST_BYTES - _DIGITS].decode(errors="ignore") + f"%~{digest}"
