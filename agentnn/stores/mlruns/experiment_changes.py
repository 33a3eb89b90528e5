"""Making and changing experiments of MLflow's file store, straight in its folders, file by whole file.

To delete or restore an experiment MLflow rewrites each of its runs, then moves the folder. Here the move comes last, so
that the same command goes on where one was killed.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, CorruptDataError, NotFoundError, UsageError
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.experiment_changes import check_location
from agentnn.stores.mlruns.experiment_folder import holder_of, make_experiment, read_experiment
from agentnn.stores.mlruns.folder_lock import held
from agentnn.stores.mlruns.layout import TAGS, TRASH, find_experiment_folder, run_folders
from agentnn.stores.mlruns.meta import META, as_yaml, experiment_meta
from agentnn.stores.mlruns.names import check_experiment_name, check_experiment_tag, check_name
from agentnn.stores.mlruns.place import artifact_root
from agentnn.stores.mlruns.reading import names_below
from agentnn.stores.mlruns.run_folder import RunFolder
from agentnn.stores.mlruns.writer import MlrunsWriter, on_disk
from agentnn.stores.run_changes import deleted_experiment
from agentnn.stores.whole_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.settings import Settings
    from agentnn.stores.mlruns.experiment_folder import ExperimentFolder

_DEFAULT_ID = "0"


class MlrunsExperimentChanges:
    """Changes experiments of a folder of runs; see :class:`~agentnn.stores.experiment_changes.ExperimentChanges`.

    Args:
        settings: Name the folder, which is made where there is none.

    Raises:
        UsageError, StoreUnavailable: See :class:`~agentnn.stores.mlruns.writer.MlrunsWriter`.
    """

    def __init__(self, settings: Settings) -> None:
        writer = MlrunsWriter(settings)
        self._root, self._artifacts = writer.root, writer.artifacts

    def stage_of(self, name: str) -> str | None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        with on_disk(self._root):
            found = holder_of(self._root, name)
        return None if found is None else str(found.meta.get("lifecycle_stage", "active"))

    def create(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> str:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        check_experiment_name(name)
        for key, text in tags.items():
            check_experiment_tag(key, text)
        check_location(artifact_location)
        with on_disk(self._root), held(self._root):
            self._check_free(name)
            folder = local_folder(artifact_location)
            location = artifact_root(artifact_location, folder) if artifact_location and folder else artifact_location
            return make_experiment(self._root, self._artifacts, name, location, tags).path.name

    def rename(self, experiment_id: str, name: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        check_experiment_name(name)
        with self._active(experiment_id) as found, held(self._root):
            self._check_free(name)
            _rewrite(found, name=name)

    def set_tag(self, experiment_id: str, key: str, value: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        check_experiment_tag(key, value)
        with self._active(experiment_id) as found:
            write_whole(found.path / TAGS / key, value.encode("utf-8"), found.path)

    def delete_tag(self, experiment_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        check_name("tag", key)
        with self._active(experiment_id) as found, suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            (found.path / TAGS / key).unlink()

    def delete(self, experiment_id: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`.

        Raises:
            UsageError: It is MLflow's own, which it does not do without.
        """
        if experiment_id == _DEFAULT_ID:
            raise UsageError("MLflow keeps the experiment 0, and deletes it never", hint="agentnn run delete --help")
        with self._held(experiment_id) as found:
            for run in _runs_of(found):
                if not run.is_deleted:
                    run.delete()
            _rewrite(found, lifecycle_stage="deleted")
            found.path.rename(self._root / TRASH / experiment_id)

    def restore(self, experiment_id: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`.

        Raises:
            ConflictError: There is an active one with this id.
        """
        if (self._root / experiment_id).exists():
            raise ConflictError(f"there is an experiment {experiment_id} already", hint="agentnn experiment list")
        with self._held(experiment_id) as found:
            for run in _runs_of(found):
                if run.is_deleted:
                    run.restore()
            _rewrite(found, lifecycle_stage="active")
            found.path.rename(self._root / experiment_id)

    # -- how

    @contextmanager
    def _active(self, experiment_id: str) -> Iterator[ExperimentFolder]:
        with self._held(experiment_id) as found:
            if found.is_deleted:
                raise deleted_experiment(str(found.meta.get("name")))
            yield found

    @contextmanager
    def _held(self, experiment_id: str) -> Iterator[ExperimentFolder]:
        with on_disk(self._root):
            folder = find_experiment_folder(self._root, experiment_id)
            if folder is None:
                raise NotFoundError(f"there is no experiment {experiment_id}", hint="agentnn experiment list")
            with held(folder):
                found = read_experiment(folder)
                if found is None:
                    raise CorruptDataError(f"{folder / META} is damaged", hint="restore it from a backup")
                yield found

    def _check_free(self, name: str) -> None:
        holder = holder_of(self._root, name)
        if holder is not None:
            how = "is deleted but still holds its name" if holder.is_deleted else "exists already"
            raise ConflictError(f"the experiment {name!r} {how}", hint="choose another name")


def _runs_of(experiment: ExperimentFolder) -> Iterator[RunFolder]:
    """The runs of an experiment, each held in its turn; what is no run of it stays as it is."""
    for folder in run_folders(experiment.path):
        if (folder / META).is_file():
            with held(folder), suppress(CorruptDataError):
                run = RunFolder(folder)
                yield run
                run.finish()


def _rewrite(experiment: ExperimentFolder, **changes: Any) -> None:
    """Change what ``meta.yaml`` says; MLflow then puts a copy of the tags into it."""
    meta, tags = experiment.meta, experiment.path / TAGS
    begun = experiment_meta(
        experiment.path.name,
        str(meta.get("name")),
        str(meta.get("artifact_location") or ""),
        time.time_ns() // 1_000_000,
    )
    kept = {key: meta.get(key) for key in ("lifecycle_stage", "creation_time")}
    texts = {key: (tags / key).read_bytes().decode("utf-8") for key in names_below(str(tags))}
    content = {**begun, **kept, "tags": texts, **changes}
    write_whole(experiment.path / META, as_yaml(content), experiment.path, sync=True)
