"""From a file or a dict, overrides and the environment to a checked configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.config.checking import checked
from agentnn.config.environment import with_environment
from agentnn.config.files import EXTENDS, ConfigFiles
from agentnn.config.history import ConfigRecord, name_of_source
from agentnn.config.overrides import Overrides, overrides_of
from agentnn.config.schema import ALIASES, SECTIONS, VALUES, Config
from agentnn.config.search_space import check_search
from agentnn.config.secrecy import without_secrets
from agentnn.config.trainer_choice import check_trainer
from agentnn.config.tree import Node, Place, Problems, dotted, mapping_node, merged, nearest_node, node_of
from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.config.overrides import Override
    from agentnn.config.tree import KeyPath

_DICT = "dict"


def load_config(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read, resolve and check a configuration.

    A file's ``extends`` are read first, then the file, then the overrides, each over what was there before; mappings
    are merged key by key, everything else is replaced. An empty section counts as left out.

    Args:
        source: A YAML file, or a dict of the same shape.
        overrides: By dotted key, or as arguments: ``["--model.learning_rate", "0.005"]``.
        environ: What ``${env:NAME}`` means; the environment of the process by default.

    Returns:
        The configuration; :func:`record_of` tells where it came from.

    Raises:
        ConfigError: Something is wrong with it; ``problems`` are all that is wrong, a line each.
        UsageError: An override is malformed.
    """
    given = overrides_of(overrides, SECTIONS, VALUES)
    environ = os.environ if environ is None else environ
    problems = Problems()
    root, name, files = _tree(source, environ, problems)
    what = files[0] if files else (str(source) if not isinstance(source, Mapping) else "the configuration")
    if root is None:
        problems.raise_any(what, hint="")
        raise UsageError(f"{what} can't be read")  # pragma: no cover - a missing tree always has its problem
    for order, override in enumerate(given):
        node = with_environment(override.node(problems, order), environ, problems)
        root = merged(root, _without_aliases(node, problems))
    config = checked(root, problems)
    check_trainer(root, problems)
    check_search(root, problems)
    problems.raise_any(what)
    assert config is not None
    config._record = _record(config, root, name, files, given)
    return config


def record_of(config: Config) -> ConfigRecord:
    """Where a configuration came from; for one that was made by hand, what it holds."""
    if config._record is None:
        config._record = _record(config, node_of(config.to_dict(), Place(_DICT), Problems()), _DICT, [], [])
    record: ConfigRecord = config._record
    return record


def _record(config: Config, root: Node, name: str, files: list[str], given: list[Override]) -> ConfigRecord:
    return ConfigRecord(
        values=without_secrets(config.to_dict(), root),
        source=name,
        files=tuple(files),
        overrides=tuple(one.written for one in given),
        environment={dotted(path): node.variables for path, node in _from_environment(root)},
    )


def _tree(
    source: str | Path | Mapping[str, Any], environ: Mapping[str, str], problems: Problems
) -> tuple[Node | None, str, list[str]]:
    """The tree of the source, what its history calls it, and the files that were read."""
    if isinstance(source, Config):
        return node_of(source.to_dict(), Place(_DICT), problems), _DICT, []
    if isinstance(source, Mapping):
        node = with_environment(node_of(source, Place(_DICT), problems), environ, problems)
        if EXTENDS in node.value:
            problems.say(node.place, "only a file can extend another", (EXTENDS,))
        return _without_aliases(node, problems), _DICT, []
    path = Path(source)
    files = ConfigFiles(environ, problems, _without_aliases)
    return files.load(path), name_of_source(path), files.read


def _without_aliases(root: Node, problems: Problems) -> Node:
    """A layer whose values stand under the keys that they are kept under."""
    for alias, key in ALIASES.items():
        node = _at(root, alias)
        if node is None:
            continue
        same = _at(root, key)
        if same is not None:
            text = f"means the same as {dotted(key)}, which is given too: leave one of them out"
            problems.say(node.place, text, alias)
        root = merged(_without(root, alias), _wrapped(node, key))
    return root


def _at(root: Node, path: KeyPath) -> Node | None:
    found = nearest_node(root, path[:-1])
    return found.value.get(path[-1]) if isinstance(found.value, dict) and _reaches(root, path[:-1]) else None


def _reaches(root: Node, path: KeyPath) -> bool:
    node = root
    for part in path:
        if not isinstance(node.value, dict) or part not in node.value:
            return False
        node = node.value[part]
    return True


def _without(root: Node, path: KeyPath) -> Node:
    first, *rest = path
    children = dict(root.value)
    if rest:
        children[first] = _without(children[first], tuple(rest))
    else:
        del children[first]
    return mapping_node(children, root.place)


def _wrapped(node: Node, path: KeyPath) -> Node:
    for part in reversed(path):
        node = mapping_node({str(part): node}, node.place)
    return node


def _from_environment(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    if node.variables:
        yield path, node
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _from_environment(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from _from_environment(child, (*path, index))
