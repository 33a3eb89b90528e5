"""The artifacts of a TOML run: what lies in its folder, under the names that it was logged by."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agentnn.errors import UnsafeError
from agentnn.stores.artifacts.files import RunFiles, RunSources, Source
from agentnn.stores.artifacts.folder import LocalFolder, no_such_artifact
from agentnn.stores.artifacts.places import ROOTS, local_folder
from agentnn.stores.toml.layout import ORIGIN
from agentnn.stores.toml.runs.artifact_names import artifact_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.records import Artifact, Run
    from agentnn.settings import Settings


class TomlRunFiles(RunFiles):
    """The files of a TOML run.

    Args:
        base_dir: The folder of all projects; a run's folder that a link takes out of it is not read, unless
            ``AGENTNN_ARTIFACT_ROOTS`` declares where it leads.
        run: Whose files.
        settings: What was declared.
    """

    def __init__(self, base_dir: Path, run: Run, settings: Settings) -> None:
        self._folder = base_dir / run.experiment_id / run.run_id.rpartition("/")[2]
        super().__init__(RunSources(Source(str(self._folder), run.run_id), str(base_dir), {}), settings)
        declared = (local_folder(root) for root in settings.artifact_roots)
        self._allowed = [base_dir, *(one for one in declared if one is not None)]

    def _open(self, name: str, source: Source) -> RunFolder:
        del name, source  # a TOML run has one folder
        folder = self._folder.resolve()
        if not any(folder.is_relative_to(place.resolve()) for place in self._allowed):
            raise UnsafeError(
                f"{str(self._folder)!r} is a link that leaves the store, and is not followed",
                hint=f"if you know who put it there and want it read, name its folder in {ROOTS}",
            )
        return RunFolder(folder)


class RunFolder:
    """A run's folder as its artifacts: without what is ours, and with the names of those that lie under another.

    Args:
        root: The folder; nothing outside it is shown or read, whatever links lie in it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = LocalFolder(root)

    def is_there(self) -> bool:
        """Whether there is a folder."""
        return self._files.is_there()

    def entries(self, inside: PurePosixPath) -> list[Artifact]:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`."""
        if inside.parts:
            top = inside.parts[0]
            return [
                one._replace(path=str(PurePosixPath(top, *PurePosixPath(one.path).parts[1:])))
                for one in self._files.entries(self._stored(inside))
            ]
        listed = {one.path: one for one in self._files.entries(inside)}
        names = self._names()
        found = [listed[stored]._replace(path=name) for name, stored in names.items() if stored in listed]
        return sorted(found, key=lambda one: one.path)

    def read(self, inside: PurePosixPath, size: int | None = None) -> Iterator[bytes]:
        """See :class:`~agentnn.stores.artifacts.files.ArtifactFolder`."""
        return self._files.read(self._stored(inside), size)

    def _names(self) -> dict[str, str]:
        """The artifacts at the top of the folder, each with the name of what it is there."""
        return artifact_names((one.name for one in self._root.iterdir()), is_foreign=(self._root / ORIGIN).exists())

    def _stored(self, inside: PurePosixPath) -> PurePosixPath:
        stored = self._names().get(inside.parts[0]) if self.is_there() else None
        if stored is None:
            raise no_such_artifact(str(inside))
        return PurePosixPath(stored, *inside.parts[1:])
