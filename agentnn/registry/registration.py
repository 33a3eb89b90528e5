"""Registering a model that lies in a folder: a run of its own takes the files into the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.registry.files import check_model_folder, files_in
from agentnn.registry.moving import this_user

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agentnn.settings import Settings

ARTIFACT_PATH = "model"
FOLDER_TAG = "agentnn.registered_from"
"""Where the files of a run came from that was made to hold a model."""


def store_folder(folder: Path, name: str, settings: Settings) -> str:
    """Copy a model's folder into a new run, each file with its digest read back; the run's id.

    The version that is made of it depends on no folder of the user's. The run is in the experiment that the environment
    names, or in ``Default``, is called ``NAME (registered)``, and is FAILED if a file does not arrive.

    Args:
        folder: A folder with an ``MLmodel`` file.
        name: The registered model.
        settings: Name the store.

    Raises:
        UsageError: It is no model folder.
        UnsafeError: A link in it leads out of it.
        StoreUnavailable: The store does not take it.
    """
    from agentnn.stores.mlflow_writer import MlflowWriter  # loads MLflow

    files = list(files_in(check_model_folder(folder)))
    writer = MlflowWriter(settings)
    experiment_id = writer.ensure_experiment(settings.experiment_name or settings.experiment_id or "Default")
    user, _, _ = this_user().partition("@")
    tags = {"mlflow.user": user, FOLDER_TAG: str(folder.resolve())}
    run_id = writer.create_run(experiment_id, f"{name} (registered)", _now(), tags)
    status = "FAILED"
    try:
        for path in files:
            writer.put_file(run_id, folder / path, f"{ARTIFACT_PATH}/{path.as_posix()}")
        status = "FINISHED"
    finally:
        writer.terminate(run_id, status, _now())
    return run_id


def parse_tags(tags: Iterable[str]) -> dict[str, str]:
    """Tags from ``KEY=VALUE``.

    Raises:
        UsageError: One of them has no key, or no ``=``.
    """
    found = {}
    for text in tags:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"{text!r} is no tag", hint="--tag team=quant")
        found[key.strip()] = value
    return found


def _now() -> int:
    return round(time.time() * 1000)
