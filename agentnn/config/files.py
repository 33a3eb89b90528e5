"""Configuration files, and the files that they build on."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.config.environment import with_environment
from agentnn.config.tree import Node, Place, Problems, mapping_node, merged, shown
from agentnn.config.yaml_tree import MAX_BYTES, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXTENDS = "extends"
_MOST_FILES = 32


class ConfigFiles:
    """Reads a file and all that it extends, each once.

    Args:
        environ: What ``${env:NAME}`` means.
        problems: What is wrong is added here.
        prepare: Done with each file's own tree before it is merged over those that it extends.
    """

    def __init__(
        self, environ: Mapping[str, str], problems: Problems, prepare: Callable[[Node, Problems], Node]
    ) -> None:
        self.read: list[str] = []
        """The files, as they were named, in the order of reading."""

        self._environ = environ
        self._problems = problems
        self._prepare = prepare
        self._trees: dict[Path, Node | None] = {}
        self._reading: list[Path] = []

    def load(self, path: Path) -> Node | None:
        """The tree of a file, merged over those that it extends; ``None`` when it can't be read."""
        return self._load(path, Place(str(path)), named_by_a_file=False)

    def _load(self, path: Path, named_at: Place, *, named_by_a_file: bool) -> Node | None:
        key = EXTENDS if named_by_a_file else ""
        where = (key,) if key else ()
        identity = Path(os.path.realpath(path))
        if identity in self._reading:
            circle = " → ".join(one.name for one in [*self._reading[self._reading.index(identity) :], identity])
            self._problems.say(named_at, f"the files extend each other in a circle: {circle}", where)
            return None
        if identity in self._trees:
            return self._trees[identity]
        if len(self._trees) + len(self._reading) >= _MOST_FILES:
            self._problems.say(named_at, f"more than {_MOST_FILES} files", where)
            return None
        text = _read(path, named_at, self._problems, must_be_a_file=named_by_a_file)
        if text is None:
            return None
        self.read.append(str(path))
        self._reading.append(identity)
        root = read_yaml(text, str(path), self._problems, order=len(self.read))
        tree = None if root is None else self._with_bases(root, path)
        self._reading.pop()
        self._trees[identity] = tree
        return tree

    def _with_bases(self, root: Node, path: Path) -> Node | None:
        if not isinstance(root.value, dict):
            self._problems.say(root.place, f"expected a mapping of sections, not {shown(root.value)}")
            return None
        root = with_environment(root, self._environ, self._problems)
        own = mapping_node({key: child for key, child in root.value.items() if key != EXTENDS}, root.place)
        tree = self._prepare(own, self._problems)
        result: Node | None = None
        for name, place in self._names(root.value.get(EXTENDS)):
            base = self._load(Path(os.path.normpath(path.parent / name)), place, named_by_a_file=True)
            if base is not None:
                result = base if result is None else merged(result, base)
        return tree if result is None else merged(result, tree)

    def _names(self, node: Node | None) -> list[tuple[str, Place]]:
        """What a file extends, and where it says so."""
        if node is None or node.value is None:
            return []
        named = node.value if isinstance(node.value, list) else [node]
        for one in named:
            if not isinstance(one.value, str) or not one.value:
                self._problems.say(one.place, f"expected the path of a file, not {shown(one.value)}", (EXTENDS,))
        return [(one.value, one.place) for one in named if isinstance(one.value, str) and one.value]


def _read(path: Path, named_at: Place, problems: Problems, *, must_be_a_file: bool) -> str | None:
    """The text of a file; ``None`` and a problem where it has none."""
    key = (EXTENDS,) if must_be_a_file else ()
    named = f"{path} " if must_be_a_file else ""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) or (must_be_a_file and not stat.S_ISREG(mode)):
            problems.say(named_at, f"{named}is {'a folder' if stat.S_ISDIR(mode) else 'not a file'}", key)
            return None
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.say(named_at, f"there is no file {path}" if must_be_a_file else "there is no such file", key)
        return None
    except (OSError, ValueError) as error:
        problems.say(named_at, f"{named}can't be read: {getattr(error, 'strerror', None) or error}", key)
        return None
    if len(content) > MAX_BYTES:
        problems.say(named_at, f"{named}is larger than {MAX_BYTES >> 20} MiB", key)
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.say(Place(str(path), line, named_at.order), "is not text in UTF-8")
        return None
