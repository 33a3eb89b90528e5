"""Another configuration: this one, with some of its values changed."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

from agentnn.config.checking import checked
from agentnn.config.loader import record_of
from agentnn.config.tree import Place, Problems, node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.schema import Config
    from agentnn.config.tree import KeyPath


def with_changes(config: Config, changes: Mapping[KeyPath, Any], what: str) -> Config:
    """A configuration with other values, checked as a whole; the given one stays as it is.

    What was a default before is one still, and what was secret is.

    Args:
        config: Where all other values come from.
        changes: The new values, by the path of their key.
        what: What the changes are, for messages: ``trial 3``.

    Raises:
        ConfigError: The values don't fit the schema, or not each other; ``problems`` are all that is wrong.
    """
    values = config.model_dump(exclude_unset=True)
    for path, value in changes.items():
        _put(values, path, value)
    problems = Problems()
    changed = checked(node_of(values, Place(what), problems), problems)
    problems.raise_any(what, hint="")
    assert changed is not None
    record = record_of(config)
    kept, new = copy.deepcopy(dict(record.values)), changed.to_dict()
    for path in changes:
        _put(kept, path, _at(new, path))
    changed._record = dataclasses.replace(record, values=kept)
    return changed


def _put(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    *around, key = (str(part) for part in path)
    for part in around:
        inner = values.get(part)
        values[part] = inner = inner if isinstance(inner, dict) else {}
        values = inner
    values[key] = value


def _at(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values
