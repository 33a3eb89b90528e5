"""Single runs, read straight from their files: no other run is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import NotFoundError
from agentnn.records import PARENT_TAG, RUN_NAME_TAG, Run
from agentnn.stores.toml.layout import CONFIG
from agentnn.stores.toml.projects import is_name, project_folders, read_project
from agentnn.stores.toml.runs.origin import origin_tags
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.stores.toml.runs.run_documents import facts_of

if TYPE_CHECKING:
    from pathlib import Path


class RunPlace(NamedTuple):
    """Where a run lies, and the id that it has: its folder's name, or its place where several projects have that."""

    folder: Path
    run_id: str


def find_place(base_dir: Path, run_id: str) -> RunPlace | None:
    """Where the run with this id lies, or with this place, ``PROJECT/RUN``; ``None`` when there is none.

    A name that several projects have is no id: those runs are told apart by their places.

    Raises:
        StoreUnavailable: There is no such folder, or it can't be read.
    """
    project, slash, name = run_id.rpartition("/")
    if not is_name(name) or (slash and not is_name(project)):
        return None
    folders = _folders_called(name, base_dir)
    found = [one for one in folders if one.parent.name == project] if slash else folders
    if len(found) != 1:
        return None
    return RunPlace(found[0], f"{project}/{name}" if len(folders) > 1 else name)


def read_run(place: RunPlace) -> Run | None:
    """The run at a place; ``None`` when it is gone.

    Raises:
        CorruptDataError: One of its files is no TOML.
        StoreUnavailable: One of them can't be read.
    """
    folder = place.folder
    directory = RunDirectory(folder)
    try:
        config, metrics = directory.read_config(), directory.read_metrics()
        written = (folder / CONFIG).stat().st_mtime_ns // 1_000_000
    except (NotFoundError, FileNotFoundError):
        return None
    facts = facts_of(folder.name, config, metrics, written)
    tags = {**facts.tags, **origin_tags(folder)}
    parent = tags.get(PARENT_TAG, "")
    if is_name(parent) and len(_folders_called(parent, folder.parent.parent)) > 1:
        tags[PARENT_TAG] = f"{folder.parent.name}/{parent}"
    return Run(
        place.run_id, facts.name or tags.get(RUN_NAME_TAG, ""), folder.parent.name, read_project(folder.parent).name,
        facts.status, facts.lifecycle_stage, facts.start_time, facts.end_time, facts.user, str(folder),
        dict(facts.metrics), dict(facts.params), tags, tuple(facts.datasets),
    )  # fmt: skip


def _folders_called(name: str, base_dir: Path) -> list[Path]:
    """The folders of all runs of this name, whatever their project."""
    return [one / name for one in project_folders(base_dir) if _is_run(one / name)]


def _is_run(folder: Path) -> bool:
    try:
        return (folder / CONFIG).is_file()
    except OSError:  # a name that no file can have
        return False
