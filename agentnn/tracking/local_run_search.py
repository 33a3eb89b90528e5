"""Finding a local-first run by its id, in one project or in all of them."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError
from agentnn.stores.toml.layout import CONFIG, directory_name
from agentnn.stores.toml.projects import is_name, project_folders
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.tracking.local_run import LocalRun

if TYPE_CHECKING:
    from pathlib import Path


def load_local_run(base_dir: Path, run_id: str, project: str | None = None) -> LocalRun:
    """A run, as its files have it, in whichever project it is; see :func:`find_local_run`.

    Raises:
        CorruptDataError: One of its files is damaged; the message names it.
    """
    directory = find_local_run(base_dir, run_id, project)
    return LocalRun(directory, directory.read_config(), directory.read_metrics())


def find_local_run(base_dir: Path, run_id: str, project: str | None = None) -> RunDirectory:
    """The folder of a run.

    Args:
        base_dir: The folder of all projects.
        run_id: The run's id, or ``PROJECT/RUN``.
        project: Its project; without one all are searched.

    Raises:
        NotFoundError: There is none, or several projects have one; the candidates say which.
        StoreUnavailable: There is no such folder, or it can't be read.
    """
    projects = project_folders(base_dir)
    found = _runs_of(projects, run_id, project)
    if not found and project is None and "/" in run_id:
        of_project, _, name = run_id.rpartition("/")
        found = _runs_of(projects, name, of_project)
    if len(found) == 1:
        return RunDirectory(found[0])
    where = base_dir if project is None else f"the project {project!r} of {base_dir}"
    if found:
        candidates = tuple(f"{one.parent.name}/{one.name}" for one in found)
        raise NotFoundError(
            f"{run_id!r} is ambiguous in {where}: {', '.join(candidates)}",
            candidates=candidates,
            hint="name one of them",
        )
    near = _near(projects, run_id)
    raise NotFoundError(
        f"there is no run {run_id!r} in {where}",
        candidates=near,
        hint=f"did you mean {', '.join(near)}?" if near else f"agentnn --tracking-uri toml:{base_dir} run list",
    )


def _runs_of(projects: list[Path], run_id: str, project: str | None) -> list[Path]:
    of_projects = None if project is None else _folder_names(project)
    names = _folder_names(run_id)
    return [
        folder / name
        for folder in projects
        if of_projects is None or folder.name in of_projects
        for name in names
        if (folder / name / CONFIG).is_file()
    ]


def _folder_names(name: str) -> list[str]:
    """The folders that a name may mean: that of its own name, as listings show it, or the one that was made for it."""
    if not name:
        return []
    made = directory_name(name)
    return [made, name] if name != made and is_name(name) and len(name.encode()) < 256 else [made]


def _near(projects: list[Path], run_id: str) -> tuple[str, ...]:
    names: set[str] = set()
    for folder in projects:
        with suppress(OSError):  # one that may not be looked into has none for us
            names.update(one.name for one in folder.iterdir() if is_name(one.name))
    return tuple(get_close_matches(run_id.rpartition("/")[2], sorted(names), n=3))
