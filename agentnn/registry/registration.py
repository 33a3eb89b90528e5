"""Registering a model that lies in a folder: a run of its own takes the files into the store."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, UsageError
from agentnn.registry.files import check_model_folder, files_in
from agentnn.registry.moving import this_user
from agentnn.settings import toml_folder
from agentnn.stores.run_writer import open_writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agentnn.settings import Settings

ARTIFACT_PATH = "model"
FOLDER_TAG = "agentnn.registered_from"
"""Where the files of a run came from that was made to hold a model."""


@contextmanager
def holding_run(folder: Path, name: str, settings: Settings) -> Iterator[str]:
    """Copy a model's folder into a new run, each file with its digest read back; gives the run's id.

    The version that is made of it depends on no folder of the user's. The run is in the experiment that the environment
    names, or in ``Default``, and is called ``NAME (registered)``. It is FAILED if a file does not arrive, and deleted
    if what is done with it inside fails.

    Args:
        folder: A folder with an ``MLmodel`` file.
        name: The registered model.
        settings: Name the store.

    Raises:
        UsageError: It is no model folder.
        UnsafeError: A link in it leads out of it.
        StoreUnavailable: The store does not take it.
    """
    files = list(files_in(check_model_folder(folder)))
    writer = open_writer(settings)
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
    try:
        yield run_id
    except AgentNNError:
        writer.delete_run(run_id)
        raise


def check_registrable(settings: Settings) -> None:
    """Refuse what MLflow's registry can't point to: it knows nothing of TOML runs.

    Raises:
        UsageError: The runs are in a store of TOML runs.
    """
    if toml_folder(settings.tracking_uri) is not None:
        raise UsageError(
            "a registered model belongs to a run of an MLflow store, and these are TOML runs",
            hint="bring the run there first: agentnn --tracking-uri URI run import RUN --from toml:DIR",
        )


def check_model_name(name: str) -> str:
    """A name that MLflow takes for a registered model.

    Raises:
        UsageError: It is empty, or holds what MLflow needs for its addresses.
    """
    if not name.strip() or name in (".", "..") or any(char in name for char in "/:"):
        raise UsageError(f"{name!r} can't be the name of a model", hint="any text without / and :")
    return name


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
