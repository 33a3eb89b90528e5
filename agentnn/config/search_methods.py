"""How a search goes about it: the sampler, the pruner, their arguments, and what does not go together."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from agentnn.config.checking import expected, told
from agentnn.config.schema_types import folded
from agentnn.config.search_arguments import PRUNER_ARGUMENTS, SAMPLER_ARGUMENTS
from agentnn.config.secrecy import is_secret
from agentnn.config.tree import Node, Place, Problems, nearest_node, node_of, plain_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from agentnn.config.schema import HpoSection
    from agentnn.config.schema_types import Section
    from agentnn.config.tree import KeyPath

Kind = Literal["sampler", "pruner"]
_ARGUMENTS = {"sampler": SAMPLER_ARGUMENTS, "pruner": PRUNER_ARGUMENTS}
_DEFAULTS = {"sampler": "tpe", "pruner": "none"}
_HPO = ("hpo",)


def check_methods(root: Node, problems: Problems) -> None:
    """Add what is wrong with the sampler and the pruner of a search."""
    hpo = nearest_node(root, _HPO)
    if hpo is root or not isinstance(hpo.value, dict):
        return
    names = {kind: _name_of(kind, hpo) for kind in _DEFAULTS}
    for kind, name in names.items():
        if name in _ARGUMENTS[kind]:
            _check_arguments(kind, name, hpo, problems)
    _check_objectives(hpo, names, problems)
    if names["sampler"] == "cmaes" and not _has_range(hpo):
        problems.say(
            _at(hpo, "sampler").place, "expected another one: cmaes needs a range to search", (*_HPO, "sampler")
        )


def arguments_of(hpo: HpoSection, kind: Kind) -> Section:
    """The arguments of a search's sampler or pruner, with their defaults.

    Raises:
        ConfigError: One of them is unknown or wrong, or the method can't do such a search.
    """
    problems = Problems()
    values = {"hpo": {**hpo.to_dict(), "param_space": _space(hpo)}}
    check_methods(node_of(values, Place("dict"), problems), problems)
    problems.raise_any("the search")
    return _ARGUMENTS[kind][hpo[kind]].model_validate(dict(hpo[f"{kind}_params"]))


def _space(hpo: HpoSection) -> dict[str, Any]:
    """The search space without the keys that a range leaves out."""
    dumped: dict[str, Any] = hpo.model_dump(exclude_unset=True)["param_space"]
    return dumped


def _name_of(kind: str, hpo: Node) -> str:
    name = plain_of(_at(hpo, kind)) if kind in hpo.value else _DEFAULTS[kind]
    return folded(name) if isinstance(name, str) else ""


def _check_arguments(kind: str, name: str, hpo: Node, problems: Problems) -> None:
    key = f"{kind}_params"
    node = hpo.value.get(key)
    given = {} if node is None else plain_of(node)
    if not isinstance(given, dict):
        return
    arguments = _ARGUMENTS[kind][name]
    try:
        arguments.model_validate(given)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            path = (*_HPO, key, *_place_of(details))
            found = nearest_node(hpo, path[1:])
            place = found if node is not None else _at(hpo, kind)
            problems.say(place.place, _what(details, kind, name, arguments, _told(details, path, found)), path)


def _place_of(details: ErrorDetails) -> tuple[str | int, ...]:
    key = details.get("ctx", {}).get("key")
    return (*details["loc"][:1], key) if key else details["loc"][:1]


def _told(details: ErrorDetails, path: KeyPath, node: Node) -> str:
    return "" if is_secret(path, node) else f", not {told(details['input'], node)}"


def _what(details: ErrorDetails, kind: str, name: str, arguments: type[Section], instead: str) -> str:
    if details["type"] == "extra_forbidden":
        return f"the {kind} {name} has no such argument{_meant(str(details['loc'][0]), arguments)}"
    if details["type"] == "section":
        return str(details["ctx"]["message"])
    return f"expected {expected(details)}{instead}"


def _meant(key: str, arguments: type[Section]) -> str:
    if key == "seed":
        return " (did you mean hpo.seed?)"
    known = list(arguments.model_fields)
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (one of {', '.join(known)})" if known else ""


def _check_objectives(hpo: Node, names: dict[str, str], problems: Problems) -> None:
    """Optuna compares the steps of trials, and the generations of cmaes, by one value."""
    objectives = hpo.value.get("objectives")
    if objectives is None or not isinstance(objectives.value, list) or len(objectives.value) < 2:
        return
    for kind, name, instead in (("pruner", names["pruner"], "none"), ("sampler", names["sampler"], "another one")):
        if (kind == "pruner" and name not in ("", "none")) or name == "cmaes":
            text = f"expected {instead}: {name} can't be used with several objectives"
            problems.say(_at(hpo, kind).place, text, (*_HPO, kind))


def _has_range(hpo: Node) -> bool:
    space = hpo.value.get("param_space")
    if space is None or not isinstance(space.value, dict):
        return True
    return any(isinstance(one.value, dict) and "choices" not in one.value for one in space.value.values())


def _at(hpo: Node, key: str) -> Node:
    found = hpo.value.get(key, hpo)
    assert isinstance(found, Node)
    return found
