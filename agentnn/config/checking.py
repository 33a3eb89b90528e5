"""A tree of values against the schema: everything that is wrong, each with its place and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from agentnn.config.schema import CHOICES, RANGE, SECTIONS, Config, SearchRange
from agentnn.config.schema_types import Section
from agentnn.config.secrecy import is_secret
from agentnn.config.trainer_choice import trainer_of
from agentnn.config.trainers import TRAINERS
from agentnn.config.tree import KeyPath, Node, Problems, nearest_node, plain_of, shown
from agentnn.config.yaml_values import FLOAT, INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

_OTHER_NAMES = {
    "lr": "learning_rate", "bs": "batch_size", "max_epochs": "epochs", "num_epochs": "epochs", "n_epochs": "epochs",
    "hidden_size": "hidden_layers", "n_layers": "hidden_layers", "hidden_sizes": "hidden_layers", "type": "family",
    "architecture": "family", "n_features": "input_dim", "criterion": "loss", "gradient_clip": "clip_norm",
    "grad_clip": "clip_norm", "early_stopping": "patience", "n_trials": "num_trials", "search_space": "param_space",
    "direction": "mode", "objective": "metric", "timeout": "timeout_s", "n_jobs": "workers", "file": "path",
    "standardize": "standardise", "val": "validation", "tracking_uri": "uri", "experiment_name": "name",
    "min": "low", "max": "high", "values": "choices",
}  # fmt: skip
"""What other tools call these keys; only for the question what was meant."""

_KINDS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "int_parsing_size": "a smaller number",
    "float_type": "a number", "number": "a number", "finite_number": "a number that is not infinite",
    "string_type": "text", "bool_type": "true or false", "list_type": "a list", "dict_type": "a mapping",
    "model_type": "a mapping", "model_attributes_type": "a mapping", "dict_attributes_type": "a mapping",
}  # fmt: skip
_BOUNDS = {
    "greater_than": ("a number greater than {}", "gt"), "greater_than_equal": ("at least {}", "ge"),
    "less_than": ("a number less than {}", "lt"), "less_than_equal": ("at most {}", "le"),
}  # fmt: skip
_YAML_1_1_TRUTH = ("yes", "no", "on", "off", "y", "n")
_FEW = 8
"""As many keys are listed where one is not known; of more of them nobody would read the list."""


def checked(root: Node, problems: Problems) -> Config | None:
    """A tree as a configuration; ``None`` where it is none, and then ``problems`` say why."""
    values = {key: value for key, value in plain_of(root).items() if value is not None}  # an empty section is left out
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        for number, details in enumerate(found):
            if problems.are_many:
                problems.leave_out(len(found) - number)
                break
            _say(details, root, problems)
        return None


def _say(details: ErrorDetails, root: Node, problems: Problems) -> None:
    location = details["loc"]
    path = tuple(part for part in location if part not in (CHOICES, RANGE))
    context = details.get("ctx", {})
    if context.get("key"):
        path = (*path, *context["key"].split("."))
    node = nearest_node(root, path)
    if details["type"] == "extra_forbidden":
        text = f"unknown key{_meant(location, trainer_of(root))}"
    elif details["type"] == "missing":
        text = "is missing"
    elif details["type"] == "section":
        text = str(context["message"])
    else:
        text = f"expected {expected(details)}{_instead(details, path, node)}"
    problems.say(node.place, text, path)


def expected(details: ErrorDetails) -> str:
    """What the schema wants where pydantic found something else."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return words.format(f"{context[bound]:g}" if isinstance(context[bound], float) else context[bound])
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "too_short":
        return "a list or a mapping that is not empty"
    if kind == "string_too_short":
        return "text that is not empty"
    return details["msg"].removeprefix("expected ")


def _instead(details: ErrorDetails, path: KeyPath, node: Node) -> str:
    """What stands there, and what to make of it, as far as that says anything and may be shown."""
    value = details["input"]
    if node.variables:
        return f", not {told(value, node)}"
    if is_secret(path, node):
        return ""
    return (f", not {shown(value)}" if value not in ([], {}, "") else "") + _advice(details)


def told(value: Any, node: Node) -> str:
    """A value in a message: what came from the environment is never shown."""
    return f"what ${{env:{node.variables[0]}}} holds" if node.variables else shown(value)


def _advice(details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    if details.get("ctx", {}).get("near"):
        return f" (did you mean {details['ctx']['near']}?)"
    if kind == "literal_error" and isinstance(value, str):
        names = str(details["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(value.lower(), names, n=1)
        return f" (did you mean {near[0]}?)" if near else ""
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return " (in quotes it is text)"
    if kind in ("int_type", "float_type", "number") and isinstance(value, str):
        without = value.replace("_", "")
        if INTEGER.fullmatch(without) or (kind != "int_type" and FLOAT.fullmatch(without)):
            return f" ({without} without quotes is one)"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in _YAML_1_1_TRUTH:
        return " (in YAML 1.2 this word is text)"
    return ""


def _meant(location: Iterable[str | int], trainer: str | None) -> str:
    """What an unknown key may have been meant to be, with this trainer."""
    *around, key = location
    known = known_keys(around)
    folded = str(key).replace("-", "_").casefold()
    other = _OTHER_NAMES.get(folded)
    if other in known:
        return f" (did you mean {other}?)"
    near = difflib.get_close_matches(folded, known, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]}?)"
    for name in filter(None, (folded, other)):
        elsewhere = [section for section in SECTIONS if name in known_keys([section])]
        if elsewhere and len(around) <= 1:
            return _there(name, elsewhere, trainer)
    listed = [one for one in known if around or one not in TRAINERS]
    return f" (one of {', '.join(listed)})" if 0 < len(listed) <= _FEW else ""


def _there(name: str, sections: list[str], trainer: str | None) -> str:
    """Where a key is known that is none where it stands."""
    usable = [section for section in sections if section not in TRAINERS or section == trainer]
    return f" (did you mean {usable[0]}.{name}?)" if usable else f" (it belongs to trainer: {sections[0]})"


def known_keys(path: Iterable[str | int]) -> list[str]:
    """The keys of the section at a place; none where it holds free-form values."""
    current: type[Section] | None = Config
    for part in path:
        if part == RANGE:
            current = SearchRange
        elif isinstance(part, str) and current is not None and part in current.model_fields:
            current = _section_in(current.model_fields[part].annotation)
    return [] if current is None else list(current.model_fields)


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, (_section_in(one) for one in get_args(annotation))), None)


def key_exists(path: KeyPath) -> bool:
    """Whether the schema has such a key; everything has that stands in a free-form mapping."""
    current: Any = Config
    is_name = False
    for position, part in enumerate(path):
        if is_name:  # of a section among several of a kind
            is_name = False
            continue
        if not (isinstance(current, type) and issubclass(current, Section)):
            return True
        if part not in current.model_fields:
            return False
        annotation = current.model_fields[str(part)].annotation
        section = _section_in(annotation)
        is_name = section is not None and _is_mapping(annotation)
        current = section or (Mapping if _is_mapping(annotation) else object)
        if current is object and position < len(path) - 1:
            return False
    return True


def _is_mapping(annotation: Any) -> bool:
    origin = getattr(annotation, "__origin__", annotation)
    return isinstance(origin, type) and issubclass(origin, dict)
