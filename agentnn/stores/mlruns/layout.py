"""Where experiments and runs lie in a folder of runs, as MLflow looks for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentnn.stores.mlruns.names import EXPERIMENT_ID, RUN_ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRASH, MODELS = ".trash", "models"
METRICS, PARAMS, TAGS, ARTIFACTS = "metrics", "params", "tags", "artifacts"
RESERVED = ("tags", "datasets", "traces", "models")
"""Folders in that of an experiment that are no runs."""

HIDDEN = ".agentnn."
"""How the names of what is not finished begin; MLflow takes it for nothing, or its folder for no run."""


def experiment_folders(root: Path, *, deleted: bool) -> Iterator[Path]:
    """The folders of the active or the deleted experiments; what else lies there is left out."""
    folder = root / TRASH if deleted else root
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a store may hold thousands
    except FileNotFoundError:
        return
    for name in names:
        if (deleted or name != MODELS) and EXPERIMENT_ID.fullmatch(name) and (folder / name).is_dir():
            yield folder / name


def find_experiment_folder(root: Path, experiment_id: str) -> Path | None:
    """The folder of an experiment, active or deleted."""
    if EXPERIMENT_ID.fullmatch(experiment_id) and experiment_id != MODELS:
        for folder in (root / experiment_id, root / TRASH / experiment_id):
            if folder.is_dir():
                return folder
    return None


def find_run_folder(root: Path, run_id: str) -> Path | None:
    """The folder of a run, whatever the stage of its experiment."""
    if not RUN_ID.fullmatch(run_id):
        return None
    for deleted in (False, True):
        for experiment in experiment_folders(root, deleted=deleted):
            if is_run_folder(experiment / run_id):
                return experiment / run_id
    return None


def is_run_folder(folder: Path) -> bool:
    """Whether a folder has what every run has; a run's artifacts may hold a ``meta.yaml``, too."""
    return all((folder / name).is_dir() for name in (METRICS, PARAMS, ARTIFACTS))


def run_folders(experiment: Path) -> Iterator[Path]:
    """The folders that may be runs of an experiment."""
    for name in os.listdir(experiment):  # noqa: PTH208 - an experiment may hold many thousands
        if name not in RESERVED and not name.startswith(HIDDEN):
            yield experiment / name
