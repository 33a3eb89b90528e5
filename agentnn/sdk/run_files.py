"""The files of a run: found, read, downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.sdk.store_access import Experiments, StoreAccess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.records import Artifact
    from agentnn.stores.artifacts.download import DownloadedFile
    from agentnn.stores.artifacts.files import RunFiles


class RunFileAccess(StoreAccess):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that reads the files of runs.

    Paths from a store are data: none leads out of the run's folder or to another host than the tracking server's, see
    :mod:`agentnn.stores.artifacts.places`. ``AGENTNN_ARTIFACT_ROOTS`` declares further places.
    """

    def find_artifacts(
        self,
        run: str,
        patterns: str | Sequence[str] = (),
        *,
        recursive: bool = True,
        experiment: Experiments = None,
    ) -> list[Artifact]:
        """The files of a run that paths and patterns name, each once; all of them when nothing is named.

        Args:
            run: The run, by a selector.
            patterns: Paths in the run, and patterns such as ``*.csv`` and ``**/*.png``: ``*`` stays in its folder,
                ``**`` stands for any folders.
            recursive: A folder means all the files under it. Otherwise a path means what lies directly in the folder,
                folders among it, and a pattern whatever it fits.
            experiment: Where the selector is looked for.

        Raises:
            NotFoundError: A path or a pattern names nothing.
            UnsafeError: A path leaves the run's folder, or the store says that the files are where none may be read.
            StoreUnavailable: The files can't be reached.
        """
        named = [patterns] if isinstance(patterns, str) else list(patterns)
        return list(self._files_of(run, experiment).find(named, recursive=recursive))

    def read_artifact(self, run: str, path: str, *, experiment: Experiments = None) -> Iterator[bytes]:
        """The bytes of one file of a run, in chunks: memory does not grow with it.

        Args:
            run: The run's selector.
            path: The file, relative to the run's files.
            experiment: Where the selector is looked for; everywhere without one.

        Raises:
            UsageError: The path is a folder.
            NotFoundError: There is no such file.
            UnsafeError, StoreUnavailable: See :meth:`find_artifacts`.
            CorruptDataError: While it is read: it is not what was listed.
        """
        return self._files_of(run, experiment).read(path)

    def download_artifacts(
        self,
        run: str,
        patterns: str | Sequence[str] = (),
        to: str | Path = ".",
        *,
        force: bool = False,
        experiment: Experiments = None,
    ) -> list[DownloadedFile]:
        """Copy files of a run into a folder, each under its path in the run, each whole or not at all.

        Args:
            run: The run, by a selector.
            patterns: What to copy, as in :meth:`find_artifacts`; everything when nothing is named.
            to: The folder; it is made when it is not there.
            force: Replace files that are there.
            experiment: Where the selector is looked for.

        Raises:
            ConflictError: There is such a file already; nothing was written.
            UnsafeError: A file would be written outside the folder; nothing was written.
            NotFoundError, StoreUnavailable: See :meth:`find_artifacts`.
            CorruptDataError: A file did not arrive whole; it was not written, those before it were.
        """
        from agentnn.stores.artifacts.download import download

        named = [patterns] if isinstance(patterns, str) else list(patterns)
        files = self._files_of(run, experiment)
        return download(files, list(files.find(named)), Path(to), force=force)

    def _files_of(self, run: str, experiment: Experiments) -> RunFiles:
        return self._store.run_files(self._find_run(run, self._scope(experiment, None, "active")))
