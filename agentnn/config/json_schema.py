"""The schema for editors and other programs: JSON Schema, draft 2020-12."""

from __future__ import annotations

from typing import Any

from agentnn.config.environment import OPENING
from agentnn.config.files import EXTENDS
from agentnn.config.schema import ALIASES, SECTIONS, VALUES, Config

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{env:[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}"}


def json_schema() -> dict[str, Any]:
    """The schema of a file, with ``extends``, aliases, empty sections and ``${env:NAME}``."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    for section in definitions.values():
        for key, value in section.get("properties", {}).items():
            section["properties"][key] = _or_from_environment(value)
    for (section, alias), (home, key) in ALIASES.items():
        target = definitions[f"{home.capitalize()}Section"]["properties"][key]
        properties = definitions[f"{section.capitalize()}Section"]["properties"]
        properties[alias] = {**target, "description": f"The same as {home}.{key}."}
    for name in VALUES:
        schema["properties"][name] = _or_from_environment(schema["properties"][name])
    for name in SECTIONS:
        reference = next(one for one in _alternatives(schema["properties"][name]) if "$ref" in one)
        schema["properties"][name] = {"anyOf": [reference, {"type": "null"}]}
    one = {"type": "string", "minLength": 1}
    extends = {"anyOf": [one, {"type": "array", "items": one}, {"type": "null"}]}
    schema["properties"][EXTENDS] = {**extends, "description": "Files that this one builds on, seen from this one."}
    definitions["FromEnvironment"] = {
        **_FROM_ENVIRONMENT,
        "description": f"{OPENING}NAME}} or {OPENING}NAME:-default}}.",
    }
    return {"$schema": _DIALECT, **schema, "title": "agentnn configuration"}


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return list(schema.get("anyOf", [schema]))


def _or_from_environment(schema: dict[str, Any]) -> dict[str, Any]:
    """A property that may also be ``${env:NAME}``; sections and mappings may not, what is in them may."""
    about: dict[str, Any] = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in about}
    if rest.get("type") == "object" or "$ref" in rest:
        return schema
    return {**about, "anyOf": [*_alternatives(rest), {"$ref": "#/$defs/FromEnvironment"}]}
