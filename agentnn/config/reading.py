"""What a run kept of its configuration, read back without checking it: the schema may have grown since."""

from __future__ import annotations

import json
from typing import Any

from agentnn.config.tree import Problems, plain_of
from agentnn.config.yaml_tree import read_yaml
from agentnn.config.yaml_values import scalar_of


def read_values(text: str, name: str) -> dict[str, Any]:
    """The values of a ``config.yaml``.

    Raises:
        ConfigError: It is not YAML, or no mapping.
    """
    problems = Problems()
    root = read_yaml(text, name, problems)
    if root is not None and not isinstance(root.value, dict):
        problems.say(root.place, "expected a mapping of sections")
    problems.raise_any(name, hint="")
    assert root is not None
    values: dict[str, Any] = plain_of(root)
    return values


def value_of_param(text: str) -> Any:
    """A param as what it was before it became text; lists and mappings were logged as JSON."""
    if text in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[text]
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    try:
        return scalar_of(text) if text else text
    except ValueError:
        return text
