"""The figures of a folder of runs, and what would make it faster."""

from __future__ import annotations

import os
from shlex import join
from typing import TYPE_CHECKING

from agentnn.stores.measures import FOLDER, Advice, StoreMeasures
from agentnn.stores.mlruns.layout import HIDDEN, RESERVED
from agentnn.stores.mlruns.names import RUN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.stores.mlruns.scanning import FolderScan

_MANY_RUNS = 1_000
"""MLflow takes two seconds for a question about so many, and opens every file of each."""


def measure_folder(root: Path, scan: FolderScan) -> StoreMeasures:
    """What a folder of runs tells of itself; runs are counted by their folders."""
    experiments = scan.experiments("all")
    folders = (scan.folder_of(one.experiment_id) for one in experiments)
    runs = sum(_is_run(name) for folder in folders if folder is not None for name in _names_in(folder))
    return StoreMeasures(
        reader=FOLDER,
        experiments=len(experiments),
        runs=runs,
        advice=(_migration(root, runs),) if runs >= _MANY_RUNS else (),
    )


def _names_in(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - it may hold many thousands


def _is_run(name: str) -> bool:
    return RUN_ID.fullmatch(name) is not None and name not in RESERVED and not name.startswith(HIDDEN)


def _migration(root: Path, runs: int) -> Advice:
    target = f"sqlite:///{root.parent / 'mlflow.db'}"
    problem = (
        f"a folder of {runs:,} runs is read file by file, and MLflow itself opens it only with "
        f"MLFLOW_ALLOW_FILE_STORE=true; a database answers sooner: afterwards MLFLOW_TRACKING_URI={target}"
    )
    return Advice("migrate", problem, join(["mlflow", "migrate-filestore", "--source", str(root), "--target", target]))
