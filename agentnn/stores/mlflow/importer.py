"""What an import asks of a store, and no other writer: runs by their first id, a whole past run, its data sets."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, CorruptDataError, NotFoundError, UsageError
from agentnn.stores.artifacts.places import check_place
from agentnn.stores.mlflow.artifacts import ServerFolder, is_kept_by_server
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import make_client
from agentnn.stores.mlflow.writer import MlflowWriter
from agentnn.stores.run_writer import Limits, StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.settings import Settings

_PAGE = 1000


class MlflowImporter(MlflowWriter):
    """Writes past runs to the store that the settings name; see :class:`~agentnn.stores.run_writer.RunImporter`."""

    limits = Limits()

    def runs_with_tag(self, key: str) -> Iterator[StoredRun]:
        """Every run that has a tag, deleted ones included."""
        names = {one.experiment_id: one.name for one in self._pages("search_experiments")}
        if names:
            wanted = {"experiment_ids": list(names), "filter_string": f"tags.`{key}` LIKE '%'"}
            yield from (_stored(run, names) for run in self._pages("search_runs", "run_view_type", **wanted))

    def find_run(self, run_id: str) -> StoredRun | None:
        """A run by its own id."""
        try:
            with self._call():
                run = self._client.get_run(run_id)
                experiment = self._client.get_experiment(run.info.experiment_id)
        except (NotFoundError, UsageError):  # an id that this store can't have is simply not there
            return None
        return _stored(run, {experiment.experiment_id: experiment.name})

    def experiment_named(self, name: str, tags: Mapping[str, str]) -> str:
        """The id of the experiment with this name, which is made when there is none; tags that it lacks are set.

        Raises:
            ConflictError: A deleted experiment holds the name.
        """
        with self._call():
            found = self._client.get_experiment_by_name(name)
            if found is None:
                return str(self._client.create_experiment(name, tags=dict(tags)))
        if found.lifecycle_stage != "active":
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it, or choose another one with -e: agentnn experiment restore {found.experiment_id}",
            )
        with self._call():
            for key, value in tags.items():
                if key not in found.tags:
                    self._client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def put_files(self, run_id: str, files: Iterable[tuple[str, Path]]) -> None:
        """Store files in a run under these paths, and read back whether they arrived.

        Raises:
            UnsafeError: The store says that the run's files are where none may be; see
                :func:`~agentnn.stores.artifacts.places.check_place`.
            StoreUnavailable, CorruptDataError: See :meth:`put_file`.
        """
        with self._call():
            info = self._client.get_run(run_id).info
            location = self._client.get_experiment(info.experiment_id).artifact_location
        check_place(info.artifact_uri, run_id, location, self._settings)
        folder = ServerFolder(info.artifact_uri, self._settings) if is_kept_by_server(info.artifact_uri) else None
        for path, file in files:
            if folder is None:
                self.put_file(run_id, file, path)
            else:
                _send(folder, file, PurePosixPath(path))

    def log_datasets(self, run_id: str, datasets: Sequence[Mapping[str, Any]]) -> None:
        """Note data sets as inputs of a run; one that is noted already is left as it is."""
        with self._call():
            from mlflow.entities import Dataset, DatasetInput, InputTag

            inputs = [
                DatasetInput(
                    Dataset(**{key: value for key, value in one.items() if key != "tags"}),
                    [InputTag(key, value) for key, value in one["tags"].items()],
                )
                for one in datasets
            ]
            self._client.log_inputs(run_id, inputs)

    def set_status(self, run_id: str, status: str, end_time: int | None) -> None:
        """Give a run its status, and its end where it has one."""
        if end_time is not None:
            self.terminate(run_id, status, end_time)
            return
        with self._call():
            self._client.update_run(run_id, status=status)

    def _pages(self, search: str, view_argument: str = "view_type", **arguments: Any) -> Iterator[Any]:
        token = None
        while True:
            with self._call():
                from mlflow.entities import ViewType

                view = {view_argument: ViewType.ALL}
                page = getattr(self._client, search)(max_results=_PAGE, page_token=token, **view, **arguments)
            yield from page
            token = page.token
            if not token:
                return


def _send(folder: ServerFolder, file: Path, path: PurePosixPath) -> None:
    folder.write(path, file)
    digest = hashlib.sha256()
    for chunk in folder.read(path):
        digest.update(chunk)
    with file.open("rb") as source:
        if hashlib.file_digest(source, "sha256").digest() != digest.digest():
            raise CorruptDataError(f"{str(path)!r} did not arrive whole", hint="import again")


def dataset_inputs(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """See :func:`agentnn.stores.run_writer.dataset_inputs`."""
    client = make_client(settings.tracking_uri, settings)
    with mlflow_call(settings):
        inputs = client.get_run(run_id).inputs
    return [_dataset(one) for one in (inputs.dataset_inputs if inputs else [])]


def _dataset(one: Any) -> dict[str, Any]:
    kept = one.dataset
    return {
        "name": kept.name,
        "digest": kept.digest,
        "source_type": kept.source_type,
        "source": kept.source,
        "schema": kept.schema or None,
        "profile": kept.profile or None,
        "tags": {tag.key: tag.value for tag in sorted(one.tags, key=lambda tag: tag.key)},
    }


def _stored(run: Any, experiments: Mapping[str, str]) -> StoredRun:
    name = run.info.run_name or ""
    return StoredRun(
        run.info.run_id, name, experiments.get(run.info.experiment_id, ""), run.info.start_time, dict(run.data.tags)
    )
