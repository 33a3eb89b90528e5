"""The door through which all stores are opened: each kind by its own reader, the rest through MLflow's client."""

from __future__ import annotations

import difflib
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from agentnn.errors import AgentNNWarning, StoreUnavailable, UsageError
from agentnn.settings import holds_runs, redact, toml_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.settings import Settings
    from agentnn.stores.base import ModelRegistry, TrackingStore

    Opened = TypeVar("Opened")

Kind = Literal["sqlite", "toml", "server", "database server", "folder", "other"]

_MLFLOW_SCHEMES = ("http", "https", "file", "databricks", "databricks-uc", "uc")
_BARE_SCHEMES = ("databricks", "databricks-uc", "uc")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def open_store(settings: Settings) -> TrackingStore:
    """Open the store of runs that the settings name.

    Raises:
        UsageError: The URI's scheme is unknown.
        StoreUnavailable, CorruptDataError, NotAStoreError: The store can't be read.
    """
    door = _STORES.get(_kind(settings))
    opened = door(settings) if door is not None else None
    if opened is not None:
        return opened
    from agentnn.stores.mlflow.store import MlflowClientStore

    return MlflowClientStore(_checked(settings.tracking_uri), settings)


def open_registry(settings: Settings) -> ModelRegistry:
    """Open the model registry that the settings name.

    Raises:
        UsageError: The URI's scheme is unknown.
        StoreUnavailable, CorruptDataError, NotAStoreError: The store can't be read.
    """
    door = _REGISTRIES.get(_kind(replace(settings, tracking_uri=settings.registry_uri)))
    opened = door(settings) if door is not None else None
    if opened is not None:
        return opened
    from agentnn.stores.mlflow.registry import MlflowClientRegistry

    return MlflowClientRegistry(_checked(settings.registry_uri), settings)


def _kind(settings: Settings) -> Kind:
    """What the tracking URI names."""
    uri = settings.tracking_uri
    scheme = uri.lower().partition("://")[0]
    if scheme in ("sqlite", "sqlite+pysqlite"):
        return "sqlite"
    if toml_folder(uri) is not None:
        return "toml"
    if scheme in ("http", "https"):
        return "server"
    if scheme.startswith(("postgresql", "mysql")):
        return "database server"
    from agentnn.stores.mlruns.place import mlruns_folder

    return "other" if mlruns_folder(settings) is None else "folder"


# -- a door a kind; None is for MLflow's client ---------------------------------------------------------


def _sqlite_store(settings: Settings) -> TrackingStore | None:
    from agentnn.stores.sql.store import SqlStore

    return _unless_unknown(lambda: SqlStore(settings.tracking_uri, workspace=settings.workspace, settings=settings))


def _sqlite_registry(settings: Settings) -> ModelRegistry | None:
    from agentnn.stores.sql.registry import SqlRegistry

    return _unless_unknown(lambda: SqlRegistry(settings.registry_uri, workspace=settings.workspace))


def _toml_store(settings: Settings) -> TrackingStore:
    from agentnn.stores.toml.asking.store import TomlStore

    return TomlStore(settings)


def _toml_registry(_: Settings) -> ModelRegistry:
    from agentnn.stores.toml.asking.registry import NoRegistry

    return NoRegistry()


def _rest_store(settings: Settings) -> TrackingStore | None:
    from agentnn.stores.rest.opening import open_rest_store

    return open_rest_store(settings)


def _rest_registry(settings: Settings) -> ModelRegistry | None:
    from agentnn.stores.rest.opening import open_rest_registry

    return open_rest_registry(settings)


def _database_store(settings: Settings) -> TrackingStore | None:
    from agentnn.stores.sql_server.opening import open_server_store

    return _unless_unknown(lambda: open_server_store(settings))


def _database_registry(settings: Settings) -> ModelRegistry | None:
    from agentnn.stores.sql_server.opening import open_server_registry

    return _unless_unknown(lambda: open_server_registry(settings))


def _mlruns_store(settings: Settings) -> TrackingStore:
    from agentnn.stores.mlruns.store import MlrunsStore

    _checked(settings.tracking_uri)
    return MlrunsStore(settings)


def _mlruns_registry(settings: Settings) -> ModelRegistry:
    from agentnn.stores.mlruns.registry import MlrunsRegistry

    _checked(settings.registry_uri)
    return MlrunsRegistry(settings)


_STORES: dict[Kind, Callable[[Settings], TrackingStore | None]] = {
    "sqlite": _sqlite_store,
    "toml": _toml_store,
    "server": _rest_store,
    "database server": _database_store,
    "folder": _mlruns_store,
}
_REGISTRIES: dict[Kind, Callable[[Settings], ModelRegistry | None]] = {
    "sqlite": _sqlite_registry,
    "toml": _toml_registry,
    "server": _rest_registry,
    "database server": _database_registry,
    "folder": _mlruns_registry,
}


def _unless_unknown(opening: Callable[[], Opened]) -> Opened | None:
    """What opens tables of MLflow's; ``None``, and a note, where their columns are not as they are known here."""
    from agentnn.stores.sql.mlflow_tables import SchemaMismatch

    try:
        return opening()
    except SchemaMismatch as mismatch:
        warnings.warn(f"{mismatch}; MLflow's own client answers instead, slowly", AgentNNWarning, stacklevel=5)
        return None


# -- what MLflow can open -------------------------------------------------------------------------------


def _checked(uri: str) -> str:
    """A URI that MLflow can open without making anything up.

    Raises:
        UsageError: MLflow does not know the scheme, or the path is a file.
        StoreUnavailable: There is no such folder; MLflow would make one.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator and not uri.startswith("file:"):
        if uri in _BARE_SCHEMES or _is_plugin(uri.partition(":")[0]):
            return uri
        return _checked_folder(uri, Path(uri))
    if uri.startswith("file:"):
        from agentnn.stores.artifacts.places import local_folder

        return _checked_folder(uri, local_folder(uri) or Path(uri))
    dialect = scheme.lower().partition("+")[0]
    if dialect in _DATABASES or dialect in _MLFLOW_SCHEMES or _is_plugin(scheme):
        return uri
    near = difflib.get_close_matches(dialect, (*_DATABASES, *_MLFLOW_SCHEMES), n=1)
    hint = (
        f"did you mean {near[0]}://{rest}?"
        if near
        else "for instance sqlite:///mlflow.db, http://127.0.0.1:5000, ./mlruns, toml:./checkpoints"
    )
    raise UsageError(f"unknown scheme {scheme!r} in the tracking URI {redact(uri)!r}", hint=redact(hint))


def _checked_folder(uri: str, folder: Path) -> str:
    if folder.is_file():
        raise UsageError(f"{uri} is a file, not a folder of runs", hint=f"for a database write sqlite:///{folder}")
    if not holds_runs(folder):  # MLflow would make it into a store
        raise StoreUnavailable(f"there is no store at {uri}", hint=_meant_by(uri))
    return uri


def _meant_by(path: str) -> str:
    """What to do about a folder that is none: a server without its scheme is taken for one, and so is a database."""
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", path):
        return f"did you mean http://{path}?"
    if path.endswith((".db", ".sqlite", ".sqlite3")):
        return f"did you mean sqlite:///{path}?"
    return "check --tracking-uri or MLFLOW_TRACKING_URI"


def _is_plugin(scheme: str) -> bool:
    from importlib.metadata import entry_points  # slow, and only reached by an unknown scheme

    return bool(scheme) and any(one.name == scheme for one in entry_points(group="mlflow.tracking_store"))
