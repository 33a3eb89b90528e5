"""``${env:NAME}`` and ``${env:NAME:-default}``: the only way by which the environment gets into a configuration.

``$${env:NAME}`` is the text itself. Without quotes around it, what a variable holds is read as YAML would read it;
with quotes it is text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentnn.config.tree import KeyPath, Node, Problems, list_node, mapping_node
from agentnn.config.yaml_values import scalar_of

if TYPE_CHECKING:
    from collections.abc import Mapping

OPENING = "${env:"
_REFERENCE = re.compile(r"\$(\$?)\{env:([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def escaped(text: str) -> str:
    """A text that means itself when it is read."""
    return text.replace(OPENING, f"${OPENING}")


def with_environment(node: Node, environ: Mapping[str, str], problems: Problems, path: KeyPath = ()) -> Node:
    """A tree with the variables put in.

    Args:
        node: The tree.
        environ: The variables.
        problems: What is missing or malformed is added here, with its line.
        path: Where the tree stands.
    """
    if isinstance(node.value, dict):
        children = {key: with_environment(one, environ, problems, (*path, key)) for key, one in node.value.items()}
        return mapping_node(children, node.place)
    if isinstance(node.value, list):
        items = [with_environment(one, environ, problems, (*path, index)) for index, one in enumerate(node.value)]
        return list_node(items, node.place)
    if not isinstance(node.value, str) or OPENING not in node.value:
        return node
    return _filled(node, environ, problems, path)


def _filled(node: Node, environ: Mapping[str, str], problems: Problems, path: KeyPath) -> Node:
    variables: list[str] = []

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        name, has_default, default = found[2].partition(":-")
        if not found[3]:
            problems.say(node.place, f"the }} of {OPENING}{name} is missing", path)
        elif not _NAME.fullmatch(name):
            problems.say(node.place, f"{name!r} is not the name of an environment variable", path)
        elif name in environ and (environ[name] or not has_default):
            variables.append(name)
            return environ[name]
        elif has_default:
            return default
        else:
            problems.say(
                node.place, f"the environment variable {name} is not set; ${{env:{name}:-…}} gives a default", path
            )
        return ""

    text = _REFERENCE.sub(value, node.value)
    result: object = text
    if node.is_plain and text and escaped(text) != node.value:
        try:
            result = scalar_of(text)
        except ValueError as error:
            problems.say(
                node.place, str(error) if not variables else "the number in the environment can't be held", path
            )
    return node._replace(value=result, variables=tuple(dict.fromkeys(variables)), written=node.value, is_plain=False)
