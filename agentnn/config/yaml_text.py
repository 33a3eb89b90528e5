"""A configuration as YAML that reads back as itself."""

from __future__ import annotations

import re
from typing import Any

import yaml

from agentnn.config.environment import OPENING, escaped
from agentnn.config.secrecy import EnvironmentReference
from agentnn.config.yaml_values import FLOAT, INTEGER, NOT_FINITE

_TEXT = "tag:yaml.org,2002:str"
_BREAKS_OF_YAML_1_1 = re.compile("[\x85\u2028\u2029]")


class _Dumper(yaml.SafeDumper):
    """Puts text into quotes that YAML 1.1 or YAML 1.2 would take for something else."""

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    return dumper.represent_scalar(_TEXT, str(value), style='"' if _BREAKS_OF_YAML_1_1.search(value) else None)


def _list(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    is_short = not any(isinstance(one, (list, dict)) for one in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=is_short)


for _tag, _pattern in (("int", INTEGER), ("float", FLOAT), ("float", NOT_FINITE)):
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _whole, list("-+.0123456789"))
_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def to_yaml(values: dict[str, Any]) -> str:
    """Write plain values, in their own order; what reads them back finds the same."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120, "default_flow_style": False}
    return str(yaml.dump(_meaning_itself(values), Dumper=_Dumper, **options))


def _meaning_itself(value: Any) -> Any:
    """Text that looks like a reference to the environment and is none is marked as text."""
    if isinstance(value, dict):
        return {key: _meaning_itself(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_meaning_itself(one) for one in value]
    if isinstance(value, EnvironmentReference):
        return str(value)
    return escaped(value) if isinstance(value, str) and OPENING in value else value
