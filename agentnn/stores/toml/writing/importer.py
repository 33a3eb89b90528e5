"""Making runs of other stores as TOML files: under the ids that they had, with the documents that they had."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from agentnn.errors import CorruptDataError, NotFoundError
from agentnn.settings import toml_folder
from agentnn.stores.run_writer import FIRST_ID_TAG, Limits, StoredRun
from agentnn.stores.toml.asking.runs import find_place, read_run
from agentnn.stores.toml.layout import CONFIG, META, ORIGIN, directory_name
from agentnn.stores.toml.projects import is_name, project_folders
from agentnn.stores.toml.runs.origin import change_origin, is_of_origin, origin_document, origin_tags, split_tags
from agentnn.stores.toml.runs.replacing import locked, make_private_folders, replace_file
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.stores.toml.runs.run_meta import end
from agentnn.stores.toml.text.documents import render
from agentnn.stores.toml.writing.importer_documents import take_up_documents
from agentnn.stores.toml.writing.project_changes import add_tags, find_project, make_project
from agentnn.stores.toml.writing.writer import TomlWriter, deleted_project, id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agentnn.records import Metric
    from agentnn.settings import Settings
    from agentnn.stores.toml.asking.runs import RunPlace

_DATASET = ("name", "digest", "source_type", "source", "schema", "profile")
_CONTEXT = "mlflow.data.context"


class TomlImporter(TomlWriter):
    """Writes past runs to a folder of projects; see :class:`~agentnn.stores.run_writer.RunImporter`."""

    limits = Limits(param=None, tag=None, points=20_000, texts=20_000, any_key=True)

    def runs_with_tag(self, key: str) -> Iterator[StoredRun]:
        """See :class:`~agentnn.stores.run_writer.RunImporter`; one whose own files are damaged is there too."""
        for project in project_folders(self._base) if self._base.exists() else ():
            for folder in sorted(one for one in project.iterdir() if (one / ORIGIN).is_file()):
                tags = origin_tags(folder)
                place = find_place(self._base, f"{project.name}/{folder.name}") if key in tags else None
                if place is None:
                    continue
                try:
                    found = _stored(place)
                except CorruptDataError:
                    found = StoredRun(place.run_id, folder.name, project.name, None, tags)
                if found is not None:
                    yield found

    def find_run(self, run_id: str) -> StoredRun | None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`; an export has no slash in an id, but ``%2F``."""
        if not self._base.exists():
            return None
        place = find_place(self._base, run_id) or find_place(self._base, unquote(run_id))
        return None if place is None else _stored(place)

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """Make a run under the id that it had first, if that is free.

        ``origin.toml`` comes first: before there is a ``config.toml`` nobody takes the folder for a run.
        """
        origin, own = split_tags(tags)
        run_id = self._free_id(tags.get(FIRST_ID_TAG, ""), experiment_id)
        folder = self._base / experiment_id / run_id
        make_private_folders(folder)
        with locked(folder):
            replace_file(folder / ORIGIN, render(origin_document(origin)))
        RunDirectory.make(folder, self._config(experiment_id, run_id, name, start_time, own))
        return run_id

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        origin, own = split_tags(tags or {})
        if origin:
            change_origin(self._run(run_id).path, lambda said: said.update(origin))
        super().log_batch(run_id, points, params, own)

    def delete_tag(self, run_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        if is_of_origin(key):
            change_origin(self._run(run_id).path, lambda said: said.pop(key, None))
        else:
            super().delete_tag(run_id, key)

    def experiment_named(self, name: str, tags: Mapping[str, str]) -> str:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        found = find_project(self._base, name) or make_project(self._base, name, tags)
        if found.lifecycle_stage != "active":
            raise deleted_project(found, hint="restore it, or choose another one with -e")
        add_tags(self._base / found.experiment_id, tags)
        return found.experiment_id

    def put_files(self, run_id: str, files: Iterable[tuple[str, Path]]) -> None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        for path, file in files:
            self.put_file(run_id, file, path)

    def log_datasets(self, run_id: str, datasets: Sequence[Mapping[str, Any]]) -> None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""

        def change(config: dict[str, Any]) -> None:
            meta = config[META]
            there = _entries(meta)
            known = {(one.get("name"), one.get("digest")) for one in there}
            new = [one for one in datasets if (one["name"], one["digest"]) not in known]
            meta["datasets"] = [*there, *map(_entry, new)]

        self._change(self._run(run_id), change)

    def set_status(self, run_id: str, status: str, end_time: int | None) -> None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`; then the run gets the very documents that it had."""
        run = self._run(run_id)
        self._change(run, lambda config: end(config, status, end_time))
        take_up_documents(run)

    def _free_id(self, first: str, experiment_id: str) -> str:
        """An id that no project has: the first one of the run, if it can be the name of a folder."""
        readable = (one for one in (first, unquote(first).replace("/", ".")) if is_name(one))
        wanted = [one for one in readable if directory_name(one) == one]
        return next(one for one in (*wanted, id_of(first), uuid.uuid4().hex) if self._is_free(one, experiment_id))

    def _is_free(self, run_id: str, experiment_id: str) -> bool:
        """Whether no project has a run of this id, nor the one it is for a folder with anything in it.

        The folder may hold what an import left that was killed at once.
        """
        if any((project / run_id / CONFIG).exists() for project in project_folders(self._base)):
            return False
        folder = self._base / experiment_id / run_id
        return not folder.exists() or (
            folder.is_dir() and all(one.name == ORIGIN or one.name.startswith(".") for one in folder.iterdir())
        )


def dataset_inputs(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """See :func:`agentnn.stores.run_writer.dataset_inputs`."""
    place = find_place((toml_folder(settings.tracking_uri) or Path()).absolute(), run_id)
    if place is None:
        raise NotFoundError(f"there is no run {run_id!r}", hint="agentnn run list")
    return [_dataset(one) for one in _entries(RunDirectory(place.folder).read_config().get(META, {}))]


def _stored(place: RunPlace) -> StoredRun | None:
    run = read_run(place)
    return None if run is None else StoredRun(run.run_id, run.name, run.experiment, run.start_time, run.tags)


def _entries(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = meta.get("datasets")
    return [one for one in found if isinstance(one, dict) and one.get("name")] if isinstance(found, list) else []


def _entry(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """A data set as a table of ``_meta.datasets``."""
    said = {key: dataset[key] for key in _DATASET if dataset[key] is not None}
    return {**said, **({"tags": dict(dataset["tags"])} if dataset["tags"] else {})}


def _dataset(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of ``_meta.datasets`` says, as an export has it; a source is needed in every other store."""
    texts = {key: str(entry[key]) if entry.get(key) is not None else None for key in _DATASET}
    context = {_CONTEXT: str(entry["context"])} if entry.get("context") else {}
    tags = entry.get("tags")
    said = {key: str(text) for key, text in tags.items()} if isinstance(tags, dict) else {}
    return {
        **texts,
        "digest": texts["digest"] or "",
        "source_type": texts["source_type"] or "local",
        "source": texts["source"] or "{}",
        "tags": dict(sorted({**context, **said}.items())),
    }
