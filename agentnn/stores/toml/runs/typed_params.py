"""Params as a store keeps them, flat text, in a config of nested values; and nothing of them is lost.

A text becomes the value that is written so, ``"0.001"`` a float; dots in a name become tables. Where a name is both a
value and the beginning of other names, ``a`` and ``a.b``, the longer ones are kept whole, as quoted keys.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, UsageError
from agentnn.stores.toml.layout import META, WANDB
from agentnn.stores.toml.runs.run_documents import leaves, params_of
from agentnn.stores.toml.text.documents import NONE
from agentnn.values.logged import param_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: dict[str, Any] = {"None": None, "True": True, "False": False}
_WHOLE = re.compile(r"-?\d{1,19}")
_INT64 = 2**63
_OURS = (META, WANDB, NONE)


def put_params(config: dict[str, Any], params: Mapping[str, str]) -> None:
    """Add params to a config.

    Raises:
        ConflictError: One has another value already; nothing was added.
        UsageError: One has a name that can't be kept; nothing was added.
    """
    there = params_of(config)
    changed = next((key for key, text in params.items() if there.get(key, text) != text), None)
    if changed is not None:
        raise ConflictError(
            f"the param {changed!r} is {there[changed]!r} already, and can't become {params[changed]!r}",
            hint="log it under another name, or as a tag",
        )
    taken = next((key for key in params if key in _OURS), None)
    if taken is not None:
        raise UsageError(f"a param can't be called {taken!r} in a store of TOML files", hint="choose another name")
    for key, text in params.items():
        if key not in there:
            _put(config, key, typed(text))


def typed(text: str) -> Any:
    """The value that is written as this text, or else the text."""
    if text in _WORDS:
        return _WORDS[text]
    if text == "{}":
        return {}
    if _WHOLE.fullmatch(text):
        number = int(text)
        return number if str(number) == text and -_INT64 <= number < _INT64 else text
    if text.startswith("[") and text.endswith("]"):
        return _list_of(text)
    try:
        value = float(text)
    except ValueError:
        return text
    return value if str(value) == text else text


def _list_of(text: str) -> Any:
    try:
        values = json.loads(text)
        return values if _is_plain(values) and param_text(values) == text else text
    except (ValueError, RecursionError):
        return text


def _is_plain(value: Any) -> bool:
    """Whether a list of TOML can hold it: ``None`` has no place there, nor has a larger number."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is not None and (not isinstance(value, int) or -_INT64 <= value < _INT64)


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    table, parts = config, key.split(".") if all(key.split(".")) else [key]
    for at, part in enumerate(parts[:-1]):
        below = table.get(part)
        is_taken = part in table and not (isinstance(below, dict) and below)
        if is_taken or (table is config and part in _OURS):
            _place(table, ".".join(parts[at:]), value)
            return
        table = table.setdefault(part, {})
    _place(table, parts[-1], value)


def _place(table: dict[str, Any], name: str, value: Any) -> None:
    """Put a value where a table of longer names may be; these then are kept whole."""
    longer = table.get(name)
    table[name] = value
    if isinstance(longer, dict):
        table.update((f"{name}.{rest}", leaf) for rest, leaf in leaves(longer).items())
