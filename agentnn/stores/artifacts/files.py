"""The files of one run, wherever they lie: listed, found by patterns, read.

MLflow 3 keeps the models that a run logged beside the run's artifacts, though ``runs:/ID/name`` finds them; here each
is a folder of the run, on every store alike.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agentnn.errors import UnsafeError, UsageError
from agentnn.records import Artifact
from agentnn.stores.artifacts.folder import LocalFolder, no_such_artifact, relative_path, safe_path
from agentnn.stores.artifacts.places import check_place, local_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agentnn.settings import Settings

DEEPEST = 64
"""Folders within folders: a server that lists for ever ends there."""

_WILD = frozenset("*?[")


class Source(NamedTuple):
    """Where a store says that files are: an address, and the id of the run or the logged model whose they are."""

    uri: str | None
    owner: str


class RunSources(NamedTuple):
    """What a store says of the files of a run.

    Attributes:
        root: The run's own folder.
        location: Where the run's experiment keeps its artifacts.
        models: The models that the run logged, by name.
    """

    root: Source
    location: str | None
    models: Mapping[str, Source]


class ArtifactFolder(Protocol):
    """A folder of artifacts, here or elsewhere; paths are relative to it."""

    def is_there(self) -> bool:
        """Whether there may be such a folder at all."""

    def entries(self, inside: PurePosixPath) -> list[Artifact]:
        """What lies directly in a folder; of a file, and of what is not there, itself, nothing or an error."""

    def read(self, inside: PurePosixPath, size: int | None = None) -> Iterator[bytes]:
        """The bytes of a file, of which so many were listed."""


class RunFiles:
    """The files of one run.

    Args:
        sources: What the store says of them; nothing of it is believed that breaks the rule of
            :mod:`agentnn.stores.artifacts.places`.
        settings: Name the store.
    """

    def __init__(self, sources: RunSources, settings: Settings) -> None:
        self._sources = sources
        self._settings = settings
        self._opened: dict[str, ArtifactFolder] = {}

    def entries(self, path: str = "") -> list[Artifact]:
        """What lies directly under a path, or the file itself, sorted by path.

        Raises:
            UnsafeError: The path, or where the store says that the files are, leaves what may be read.
            NotFoundError: There is no such file or folder.
            StoreUnavailable: The files can't be reached.
        """
        inside = relative_path(path)
        if not inside.parts:
            return self._top()
        found = self._entries(inside)
        if found and [one.path for one in found] not in ([str(inside)], [str(inside / inside.name)]):
            return found
        # Stores list nothing under a file, and nothing under what is not there; some list a file under itself.
        itself = self._itself(inside)
        if itself is None:
            raise no_such_artifact(path)
        return found if itself.is_dir else [itself]

    def find(self, patterns: Sequence[str], *, recursive: bool = True) -> Iterator[Artifact]:
        """The files that paths and patterns name, each once; without patterns, all of them.

        Args:
            patterns: Paths, and patterns such as ``*.csv`` and ``**/*.png``; ``*`` stays in its folder, ``**`` stands
                for any folders.
            recursive: A folder means all files under it; otherwise a path means what lies directly in the folder, and a
                pattern the folder itself.

        Raises:
            NotFoundError: A path or a pattern names nothing.
            UnsafeError, StoreUnavailable: See :meth:`entries`.
        """
        seen: set[str] = set()
        for pattern in patterns or ("",):
            found = False
            for one in self._named(pattern, recursive):
                found = True
                if one.path not in seen:
                    seen.add(one.path)
                    yield one
            if not found and _is_pattern(pattern):
                raise no_such_artifact(pattern)

    def read(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, in chunks: memory does not grow with it.

        Raises:
            UsageError: It is a folder.
            NotFoundError: There is no such file.
            UnsafeError, StoreUnavailable: See :meth:`entries`.
            CorruptDataError: While it is read: it is not what was listed.
        """
        inside = relative_path(path)
        itself = self._itself(inside) if inside.parts else Artifact("", is_dir=True)
        if itself is None:
            raise no_such_artifact(path)
        if itself.is_dir:
            raise UsageError(f"{path or '.'!r} is a folder", hint="agentnn run artifacts ls RUN PATH lists it")
        return self.read_listed(itself)

    def read_listed(self, artifact: Artifact) -> Iterator[bytes]:
        """Like :meth:`read`, for a file that was listed."""
        inside = relative_path(artifact.path)
        folder, rest, _ = self._folder_of(inside)
        return folder.read(rest, artifact.size)

    def _named(self, pattern: str, recursive: bool) -> Iterator[Artifact]:
        if not _is_pattern(pattern):
            direct = self.entries(pattern)
            yield from (one for top in direct for one in self._under(top)) if recursive else direct
            return
        parts = relative_path(pattern).parts
        plain = next(index for index, part in enumerate(parts) if _WILD & set(part))
        top = str(PurePosixPath(*parts[:plain])) if plain else ""
        yield from self._matching(top, parts, recursive)

    def _matching(self, folder: str, parts: tuple[str, ...], recursive: bool) -> Iterator[Artifact]:
        for one in self.entries(folder):
            own = PurePosixPath(one.path).parts
            if one.path == folder:
                continue  # the folder is a file
            if _matches(parts, own) or own == parts:
                yield from self._under(one) if recursive else [one]
            elif one.is_dir and ("**" in parts or len(own) < len(parts)):
                _check_depth(one)
                yield from self._matching(one.path, parts, recursive)

    def _under(self, top: Artifact) -> Iterator[Artifact]:
        if not top.is_dir:
            yield top
            return
        _check_depth(top)
        for one in self.entries(top.path):
            yield from self._under(one)

    def _top(self) -> list[Artifact]:
        models = {name: Artifact(str(_folder_name(name)), is_dir=True) for name in self._sources.models}
        root = self._open("", self._sources.root)
        own = root.entries(PurePosixPath()) if root.is_there() else []
        return sorted([*models.values(), *(one for one in own if one.path not in models)], key=lambda one: one.path)

    def _itself(self, inside: PurePosixPath) -> Artifact | None:
        """The entry of a file or folder in the folder that holds it."""
        above = self._top() if len(inside.parts) == 1 else self._entries(inside.parent)
        return next((one for one in above if one.path == str(inside)), None)

    def _entries(self, inside: PurePosixPath) -> list[Artifact]:
        folder, rest, prefix = self._folder_of(inside)
        return [one._replace(path=str(PurePosixPath(prefix) / one.path)) for one in folder.entries(rest)]

    def _folder_of(self, inside: PurePosixPath) -> tuple[ArtifactFolder, PurePosixPath, str]:
        first = inside.parts[0]
        if first in self._sources.models:
            return self._open(first, self._sources.models[first]), PurePosixPath(*inside.parts[1:]), first
        return self._open("", self._sources.root), inside, ""

    def _open(self, name: str, source: Source) -> ArtifactFolder:
        if name not in self._opened:
            check_place(source.uri, source.owner, self._sources.location, self._settings)
            self._opened[name] = _opened(str(source.uri), self._settings)
        return self._opened[name]


def _opened(uri: str, settings: Settings) -> ArtifactFolder:
    folder = local_folder(uri)
    if folder is not None:
        return LocalFolder(folder)
    from agentnn.stores.mlflow.artifacts import open_folder  # what lies elsewhere is reached by MLflow's means

    return open_folder(uri, settings)


def _folder_name(model: str) -> PurePosixPath:
    name = safe_path(model)
    if len(name.parts) != 1:
        raise UnsafeError(f"{model!r} is no name for a model", hint="look at the store")
    return name


def _is_pattern(text: str) -> bool:
    return not _WILD.isdisjoint(text)


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    @cache
    def rest(at: int, where: int) -> bool:
        if at == len(pattern):
            return where == len(path)
        if pattern[at] == "**":
            return rest(at + 1, where) or (where < len(path) and rest(at, where + 1))
        return where < len(path) and fnmatchcase(path[where], pattern[at]) and rest(at + 1, where + 1)

    return rest(0, 0)


def _check_depth(folder: Artifact) -> None:
    if len(PurePosixPath(folder.path).parts) >= DEEPEST:
        raise UnsafeError(
            f"the run's folders are nested more than {DEEPEST} deep: {folder.path[:80]!r}…",
            hint="name the folders that you want",
        )
