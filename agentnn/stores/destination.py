"""What can be known about a store before a run starts, without MLflow and without waiting.

A store that does not answer is no reason to stop training; a place that no run can ever be written to is.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError, NotAStoreError, NotFoundError, StoreUnavailable, UsageError
from agentnn.settings import toml_folder
from agentnn.stores.artifacts.folder import local_folder

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.records import Experiment
    from agentnn.settings import Settings

_LOCK_TIMEOUT_S = 0.2
_OPT_IN = "MLFLOW_ALLOW_FILE_STORE"


def check_destination(settings: Settings) -> None:
    """Look whether there can be a store where the settings say.

    Raises:
        StoreUnavailable: The folder is not there, or the file or the folder can't be written to.
        CorruptDataError, NotAStoreError: There is something else at the path.
        UsageError: It is a folder of runs, which MLflow writes to only with an opt-in; or a ``toml:`` URI of a file.
    """
    uri = settings.tracking_uri
    projects = toml_folder(uri)
    if projects is not None:
        _check_projects(projects)
        return
    if uri.lower().startswith("sqlite"):
        from agentnn.stores.sql.sqlite_file import sqlite_path

        check_sqlite_path(sqlite_path(uri))
        return
    folder = local_folder(uri) if "://" not in uri or uri.startswith("file:") else None
    if folder is not None:
        _check_folder(folder)


def check_sqlite_path(path: Path) -> None:
    """Look at a SQLite path before MLflow does, which retries for minutes and makes its tables in any database.

    Raises:
        StoreUnavailable: The folder is not there, or the place can't be written to.
        CorruptDataError, NotAStoreError: There is something else at the path.
    """
    try:
        if path.exists():
            path.open("ab").close()
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise StoreUnavailable(
                    f"{path} can't be written to: SQLite keeps its journal beside it, and that folder is read-only",
                    hint="check the folder's permissions",
                )
        elif not path.parent.is_dir():
            raise StoreUnavailable(f"there is no folder {path.parent}", hint="make it, or check the tracking URI")
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        if isinstance(error, StoreUnavailable):
            raise
        raise StoreUnavailable(f"{path} can't be written to: {error.strerror}", hint="check its permissions") from error
    if path.exists() and path.stat().st_size:
        from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase

        with suppress(StoreUnavailable):  # somebody writes, or died while writing: the next writer undoes that
            ReadOnlyDatabase(path, required={}, lock_timeout_s=_LOCK_TIMEOUT_S).close()


def check_experiment(settings: Settings, name: str) -> None:
    """Refuse a deleted experiment, where the store is on this machine and looking costs nothing.

    Raises:
        ConflictError: It is deleted but still holds its name.
    """
    try:
        found = _local_experiment(settings, name)
    except (NotAStoreError, NotFoundError, StoreUnavailable):
        return  # it is not there yet, or busy: the sender will see
    if found is not None and found.lifecycle_stage != "active":
        raise ConflictError(
            f"the experiment {name!r} is deleted but still holds its name",
            hint=f"restore it: agentnn experiment restore {found.experiment_id}",
        )


def _local_experiment(settings: Settings, name: str) -> Experiment | None:
    if toml_folder(settings.tracking_uri) is not None:
        from agentnn.stores.toml.asking.store import TomlStore

        return TomlStore(settings).find_experiment(name=name)
    if not settings.tracking_uri.lower().startswith("sqlite"):
        return None
    from agentnn.stores.sql.mlflow_tables import SchemaMismatch
    from agentnn.stores.sql.store import SqlStore

    try:
        store = SqlStore(settings.tracking_uri, workspace=settings.workspace, lock_timeout_s=_LOCK_TIMEOUT_S)
    except SchemaMismatch:
        return None  # only MLflow knows it
    try:
        return store.find_experiment(name=name)
    finally:
        store.close()


def check_opt_in() -> None:
    """Write to a folder of runs only where MLflow would.

    Raises:
        UsageError: Its opt-in is not set.
    """
    if os.environ.get(_OPT_IN, "").lower() not in ("true", "1"):
        raise UsageError(
            f"MLflow writes to an mlruns folder only with {_OPT_IN}=true",
            hint="set it, or move the runs to a database: mlflow migrate-filestore --help",
        )


def _check_folder(folder: Path) -> None:
    check_opt_in()
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StoreUnavailable(f"{folder} can't be written to", hint="check its permissions, or the tracking URI")


def _check_projects(folder: Path) -> None:
    """A folder of TOML runs is made by the first run of it."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder of TOML runs", hint="toml:DIR names the folder of projects")
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreUnavailable(f"{folder} can't be written to", hint="check its permissions, or the tracking URI")


def is_there(settings: Settings) -> bool:
    """Whether there is a store already, as far as that can be seen from here: a server is taken to be there."""
    uri = settings.tracking_uri
    if uri.lower().startswith("sqlite"):
        from agentnn.stores.sql.sqlite_file import sqlite_path

        return sqlite_path(uri).exists()
    folder = toml_folder(uri) or (local_folder(uri) if "://" not in uri or uri.startswith("file:") else None)
    return folder is None or folder.exists()
