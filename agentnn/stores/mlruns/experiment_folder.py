"""The folders of experiments, and how MLflow makes one."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import CorruptDataError
from agentnn.stores.mlruns.folder_lock import held
from agentnn.stores.mlruns.layout import TAGS, TRASH, experiment_folders, find_experiment_folder
from agentnn.stores.mlruns.meta import META, as_yaml, experiment_meta, read_meta
from agentnn.stores.mlruns.names import check_experiment_name
from agentnn.stores.mlruns.place import below
from agentnn.stores.whole_files import whole_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFAULT_ID, _DEFAULT_NAME = "0", "Default"
_SMALLEST_ID = 10**17
"""MLflow's random ids have 18 digits."""


class ExperimentFolder(NamedTuple):
    """An experiment.

    Attributes:
        path: Its folder.
        meta: What its ``meta.yaml`` says.
    """

    path: Path
    meta: dict[str, Any]

    @property
    def is_deleted(self) -> bool:
        """Whether it is among the deleted ones."""
        return bool(self.meta.get("lifecycle_stage", "active") != "active")


def make_store(root: Path, artifacts: str) -> None:
    """Make a folder of runs where there is none, as MLflow does: with the experiment Default.

    Raises:
        OSError: It can't be made.
    """
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        try:
            with whole_folder(root, root.parent, str(root)) as folder:
                (folder / TRASH).mkdir()
                _fill(folder / _DEFAULT_ID, _DEFAULT_NAME, below(artifacts, _DEFAULT_ID))
        except OSError:
            if not root.is_dir():  # else somebody else was faster
                raise
    (root / TRASH).mkdir(exist_ok=True)


def find_experiment(root: Path, name: str) -> ExperimentFolder | None:
    """The experiment that holds a name, or else has it as its id; a deleted one holds its name, too."""
    found = holder_of(root, name)
    if found is not None:
        return found
    folder = find_experiment_folder(root, name) if name.isdecimal() else None
    return None if folder is None else read_experiment(folder)


def holder_of(root: Path, name: str) -> ExperimentFolder | None:
    """The experiment that holds a name, active or deleted; of several, the newest."""
    named = [
        one
        for deleted in (False, True)
        for folder in experiment_folders(root, deleted=deleted)
        if (one := read_experiment(folder)) is not None and one.meta.get("name") == name
    ]
    return min(named, key=lambda one: (-(one.meta.get("creation_time") or 0), one.path.name), default=None)


def read_experiment(folder: Path) -> ExperimentFolder | None:
    """The experiment of a folder; ``None`` when what says so is missing or damaged."""
    try:
        meta = read_meta(folder)
    except (CorruptDataError, FileNotFoundError, NotADirectoryError):
        return None
    return ExperimentFolder(folder, meta) if str(meta.get("experiment_id")) == folder.name else None


def ensure_experiment(root: Path, artifacts: str, name: str) -> ExperimentFolder:
    """The experiment that holds a name, or else has it as its id; it is made when there is neither.

    Raises:
        UsageError: MLflow does not take the name.
        OSError: It can't be made.
    """
    found = find_experiment(root, name)
    if found is not None:
        return found
    check_experiment_name(name)
    with held(root):
        return find_experiment(root, name) or make_experiment(root, artifacts, name)


def make_experiment(
    root: Path, artifacts: str, name: str, location: str | None = None, tags: Mapping[str, str] | None = None
) -> ExperimentFolder:
    """Make an experiment; the folder of runs must be held.

    Args:
        root: The folder of runs.
        artifacts: Where it keeps artifacts.
        name: The name, which must be free.
        location: Where this experiment keeps its artifacts; below the others' otherwise.
        tags: Its tags.
    """
    experiment_id = str(_SMALLEST_ID + secrets.randbelow(9 * _SMALLEST_ID))
    place, location = root / experiment_id, location or below(artifacts, experiment_id)
    # Among the experiments MLflow would take it for one; in a folder of an experiment it does not look for one.
    shelter = next(experiment_folders(root, deleted=False), None)
    if shelter is None:
        return ExperimentFolder(place, _fill(place, name, location, tags))
    with whole_folder(place, shelter, name) as folder:
        meta = _fill(folder, name, location, tags)
    return ExperimentFolder(place, meta)


def _fill(folder: Path, name: str, location: str, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    for key, text in (tags or {}).items():
        write_whole(folder / TAGS / key, text.encode("utf-8"), folder)
    meta = experiment_meta(folder.name, name, location, time.time_ns() // 1_000_000)
    write_whole(folder / META, as_yaml(meta), folder, sync=True)
    return meta
