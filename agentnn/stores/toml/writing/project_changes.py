"""Making and changing experiments of a folder of projects: ``project.toml``, where there is something to say."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable, UsageError
from agentnn.settings import toml_folder
from agentnn.stores.toml.layout import CONFIG, PROJECT, directory_name
from agentnn.stores.toml.projects import is_name, project_folders, read_project, read_projects
from agentnn.stores.toml.runs.replacing import locked, make_private_folders, replace_file
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.stores.toml.runs.run_meta import mark_deleted, moment
from agentnn.stores.toml.text.documents import parse, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentnn.records import Experiment
    from agentnn.settings import Settings


class TomlExperimentChanges:
    """Changes projects; see :class:`~agentnn.stores.experiment_changes.ExperimentChanges`.

    Args:
        settings: Name the folder of all projects, which is made with the first of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._base = (toml_folder(settings.tracking_uri) or Path()).absolute()

    def stage_of(self, name: str) -> str | None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        found = find_project(self._base, name)
        return None if found is None else found.lifecycle_stage

    def create(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> str:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        if artifact_location is not None:
            raise UsageError(
                "the files of a run lie in its own folder here", hint="leave out the place, or use an MLflow store"
            )
        if find_project(self._base, name) is not None:
            raise ConflictError(f"there is an experiment {name!r} already", hint="agentnn experiment list")
        return make_project(self._base, name, tags).experiment_id

    def rename(self, experiment_id: str, name: str) -> None:
        """Give a project another name; its folder, which is its id, keeps its own."""
        self._change(experiment_id, lambda said: said.update(name=name))

    def set_tag(self, experiment_id: str, key: str, value: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        self._change(experiment_id, lambda said: said.update(tags={**_tags(said), key: value}))

    def delete_tag(self, experiment_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.experiment_changes.ExperimentChanges`."""
        self._change(experiment_id, lambda said: said.update(tags=_without(_tags(said), key)))

    def delete(self, experiment_id: str) -> None:
        """Mark a project and its runs as deleted; no file goes.

        The project is marked last: if that was interrupted, the same again goes on.
        """
        self._mark_runs(experiment_id, deleted=True)
        self._change(experiment_id, lambda said: said.update(lifecycle_stage="deleted"))

    def restore(self, experiment_id: str) -> None:
        """Take the mark off a project and all its runs."""
        self._mark_runs(experiment_id, deleted=False)
        self._change(experiment_id, lambda said: said.pop("lifecycle_stage", None))

    def _mark_runs(self, experiment_id: str, *, deleted: bool) -> None:
        for folder in sorted(self._folder(experiment_id).iterdir()):
            if is_name(folder.name) and (folder / CONFIG).is_file():
                RunDirectory(folder).change_config(lambda config: mark_deleted(config, deleted))

    def _change(self, experiment_id: str, change: Callable[[dict[str, Any]], Any]) -> None:
        _change(self._folder(experiment_id), change)

    def _folder(self, experiment_id: str) -> Path:
        folder = next((one for one in project_folders(self._base) if one.name == experiment_id), None)
        if folder is None:
            raise NotFoundError(f"there is no experiment {experiment_id!r}", hint="agentnn experiment list")
        return folder


def find_project(base_dir: Path, name: str) -> Experiment | None:
    """The project with this name; a folder that does not say its project's name has the one that it was made for."""
    if not base_dir.exists():
        return None
    made_for = directory_name(name)
    found = read_projects(base_dir).experiments
    named = (one for one in found if one.name == name)
    unsaid = (one for one in found if one.experiment_id == made_for == one.name)
    return next(named, None) or next(unsaid, None)


def ensure_project(base_dir: Path, name: str) -> Experiment:
    """The project with this name, or else with this id; it is made when there is neither.

    Raises:
        StoreUnavailable: It can't be made.
    """
    found = find_project(base_dir, name)
    if found is None and base_dir.exists():
        found = next((one for one in read_projects(base_dir).experiments if one.experiment_id == name), None)
    return found or make_project(base_dir, name, {})


def make_project(base_dir: Path, name: str, tags: Mapping[str, str]) -> Experiment:
    """Make a project of this name, and the folder of all projects too; another process may do so at the same time.

    A folder of this name whose project has another one by now is left to it.

    Raises:
        StoreUnavailable: It can't be made.
    """
    for candidate in _candidates(name):
        folder = base_dir / directory_name(candidate)
        try:
            make_private_folders(base_dir)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir() or read_project(folder).name not in (name, folder.name):
                continue
        except OSError as error:
            raise StoreUnavailable(
                f"{folder} can't be made: {error.strerror}", hint="check the folder's permissions, and the room there"
            ) from error
        return _described(folder, name, tags)
    raise AssertionError("there is always another name")


def _described(folder: Path, name: str, tags: Mapping[str, str]) -> Experiment:
    """The project of a new folder, which says its name, and when it was made."""
    facts = {"name": name, "created_at": moment(_now())}
    _change(folder, lambda said: said.update({**facts, **said}), updated=False)
    add_tags(folder, tags)
    return read_project(folder)


def add_tags(folder: Path, tags: Mapping[str, str]) -> None:
    """Give a project tags that it lacks."""
    if not tags.keys() <= read_project(folder).tags.keys():
        _change(folder, lambda said: said.update(tags={**tags, **_tags(said)}))


def _candidates(name: str) -> Iterable[str]:
    yield name
    yield from (f"{name} {number}" for number in count(2))


def _change(folder: Path, change: Callable[[dict[str, Any]], Any], *, updated: bool = True) -> None:
    """Change ``project.toml`` at once, whatever others write meanwhile."""
    path = folder / PROJECT
    with locked(folder):
        before = path.read_bytes() if path.exists() else b""
        said = parse(before, path)
        change(said)
        if updated:
            said["updated_at"] = moment(_now())
        replace_file(path, render(said, before))


def _tags(said: Mapping[str, Any]) -> dict[str, Any]:
    tags = said.get("tags")
    return tags if isinstance(tags, dict) else {}


def _without(tags: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: text for name, text in tags.items() if name != key}


def _now() -> int:
    return time.time_ns() // 1_000_000
