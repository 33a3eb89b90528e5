"""What of a configuration may be shown and kept: no password, and no value of a variable that sounds like one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentnn.settings import redact

if TYPE_CHECKING:
    from agentnn.config.tree import KeyPath, Node

_WORDS = (
    "passwords?|passwd|passphrase|pwd|secrets?|token|credentials?|auth|api_?key|access_?key|secret_?key|private_?key"
)
_SOUNDS_SECRET = re.compile(rf"(?:^|[_.\-])(?:{_WORDS})$", re.IGNORECASE)
_SOUNDS_SECRET_IN_CAMEL = re.compile(r"[a-z](?:Password|Passphrase|Secret|Token|Credentials?|Key)$")
MASK = "***"


class EnvironmentReference(str):
    """``${env:NAME}`` where it stands for a value that is not kept."""

    __slots__ = ()


def sounds_secret(name: str) -> bool:
    """Whether a key or a variable is named like a password, a token or a key to something."""
    return bool(_SOUNDS_SECRET.search(name) or _SOUNDS_SECRET_IN_CAMEL.search(name))


def is_secret(path: KeyPath, node: Node) -> bool:
    """Whether a value must not be shown: its key or its variable says so, or it is a URI with a password."""
    if any(isinstance(part, str) and sounds_secret(part) for part in path):
        return isinstance(node.value, str)
    if any(sounds_secret(name) for name in node.variables):
        return True
    return isinstance(node.value, str) and redact(node.value) != node.value


def without_secrets(value: Any, node: Node | None, path: KeyPath = ()) -> Any:
    """A checked value as it may be shown; ``node`` is what it was made of, ``None`` for a default."""
    if isinstance(value, dict):
        return {key: without_secrets(one, _inside(node, key), (*path, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [without_secrets(one, _inside(node, index), (*path, index)) for index, one in enumerate(value)]
    if node is None or not is_secret(path, node):
        return value
    if node.variables:
        return EnvironmentReference(node.written)
    redacted = redact(node.value)
    return redacted if redacted != node.value else MASK


def _inside(node: Node | None, part: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(node.value, dict):
        found = node.value.get(part)
    elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
        found = node.value[part]
    else:
        return None
    return found if found is None or hasattr(found, "place") else None
