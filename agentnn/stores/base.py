"""The contract that every store keeps, and the door through which all are opened."""

from __future__ import annotations

import difflib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from agentnn.errors import AgentNNWarning, StoreUnavailable, UsageError
from agentnn.settings import holds_runs, redact, toml_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.query.expressions import Field
    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Artifact, Experiment, Metric, ModelVersion, RegisteredModel, Run
    from agentnn.settings import Settings
    from agentnn.stores.artifact_files import RunFiles

_MLFLOW_SCHEMES = ("http", "https", "file", "databricks", "databricks-uc", "uc")
_BARE_SCHEMES = ("databricks", "databricks-uc", "uc")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class History(NamedTuple):
    """A metric of a run: its values by (step, timestamp), at least one."""

    run_id: str
    key: str
    points: list[Metric]


class TrackingStore(Protocol):
    """Experiments and runs."""

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """The experiments, the newest first, as MLflow lists them."""

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """One experiment by its name or its id, deleted ones included."""

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """The runs that a query asks for, in its order."""

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """How many runs a query is about, by status; its order and limit mean nothing here."""

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs with these ids, in this order, deleted ones included; unknown ids are left out."""

    def best_runs(self, query: BestQuery) -> Best:
        """The best runs by a metric, as :mod:`agentnn.query.selection` defines best."""

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """The names of the metrics, params or tags that runs in scope have, sorted; a limit means nothing here."""

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Every logged value of a metric, by (step, timestamp); empty when there is none."""

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """The values of some metrics of some runs, or of all their metrics, each as :meth:`metric_history` gives them.

        They come one history after the other, run by run, by the metric's name; few questions are asked of the store,
        and memory grows with the longest history, not with their number.
        """

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """The files and folders directly under a path of the run, sorted by path."""

    def run_files(self, run: Run) -> RunFiles:
        """The files of the run, the models that it logged among them."""


class ModelRegistry(Protocol):
    """Registered models and their versions."""

    def list_models(self) -> list[RegisteredModel]:
        """Every registered model, by name, with its aliases."""

    def find_model(self, name: str) -> RegisteredModel | None:
        """One registered model, with its aliases and tags."""

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """The versions of a model, newest first; empty when there is no such model."""

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """The versions of whatever model that these runs made, with their aliases, by name and the newest first."""


@runtime_checkable
class FindsFields(Protocol):
    """A store that says sooner whether runs have a field than what fields they have."""

    def has_field(self, field: Field, query: RunQuery) -> bool:
        """Whether a run in scope has this metric, param or tag; a limit means nothing here."""


def has_field(store: TrackingStore, field: Field, query: RunQuery) -> bool:
    """Whether a run in scope has a metric, a param or a tag of that name."""
    if isinstance(store, FindsFields):
        return store.has_field(field, query)
    match field.kind:
        case "metric" | "param" | "tag" as kind:
            return field.key in store.field_keys(kind, query)
    return False


def open_store(settings: Settings) -> TrackingStore:
    """Open the store of runs that the settings name.

    Raises:
        UsageError: The URI's scheme is unknown.
        StoreUnavailable, CorruptDataError, NotAStoreError: The store can't be read.
    """
    uri = settings.tracking_uri
    if _is_sqlite(uri):
        from agentnn.stores.sql import SqlStore
        from agentnn.stores.sqlite_file import SchemaMismatch

        try:
            return SqlStore(uri, workspace=settings.workspace, settings=settings)
        except SchemaMismatch as mismatch:
            _warn_of_slow_path(mismatch)
    elif toml_folder(uri) is not None:
        from agentnn.stores.toml.asking.store import TomlStore

        return TomlStore(settings)
    elif _is_server(uri):
        from agentnn.stores.rest.opening import open_rest_store

        server = open_rest_store(settings)
        if server is not None:
            return server
    elif _is_database_server(uri):
        from agentnn.stores.sql_server.opening import open_server_store
        from agentnn.stores.sqlite_file import SchemaMismatch

        try:
            database = open_server_store(settings)
        except SchemaMismatch as mismatch:
            _warn_of_slow_path(mismatch)
        else:
            if database is not None:
                return database
    elif _is_folder(settings):
        from agentnn.stores.mlruns.store import MlrunsStore

        _checked(uri)
        return MlrunsStore(settings)
    return _through_mlflow(settings)


def open_registry(settings: Settings) -> ModelRegistry:
    """Open the model registry that the settings name.

    Raises:
        UsageError: The URI's scheme is unknown.
        StoreUnavailable, CorruptDataError, NotAStoreError: The store can't be read.
    """
    uri = settings.registry_uri
    if _is_sqlite(uri):
        from agentnn.stores.sql_registry import SqlRegistry
        from agentnn.stores.sqlite_file import SchemaMismatch

        try:
            return SqlRegistry(uri, workspace=settings.workspace)
        except SchemaMismatch as mismatch:
            _warn_of_slow_path(mismatch)
    elif toml_folder(uri) is not None:
        from agentnn.stores.toml.asking.registry import NoRegistry

        return NoRegistry()
    elif _is_server(uri):
        from agentnn.stores.rest.opening import open_rest_registry

        registry = open_rest_registry(settings)
        if registry is not None:
            return registry
    elif _is_folder(replace(settings, tracking_uri=uri)):
        from agentnn.stores.mlruns.registry import MlrunsRegistry

        _checked(uri)
        return MlrunsRegistry(settings)
    elif _is_database_server(uri):
        from agentnn.stores.sql_server.opening import open_server_registry
        from agentnn.stores.sqlite_file import SchemaMismatch

        try:
            models = open_server_registry(settings)
        except SchemaMismatch as mismatch:
            _warn_of_slow_path(mismatch)
        else:
            if models is not None:
                return models
    from agentnn.stores.mlflow_client import MlflowClientRegistry

    return MlflowClientRegistry(_checked(uri), settings)


def _through_mlflow(settings: Settings) -> TrackingStore:
    from agentnn.stores.mlflow_client import MlflowClientStore

    return MlflowClientStore(_checked(settings.tracking_uri), settings)


def _is_sqlite(uri: str) -> bool:
    return uri.lower().startswith(("sqlite://", "sqlite+pysqlite://"))


def _is_server(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def _is_folder(settings: Settings) -> bool:
    from agentnn.stores.mlruns.place import mlruns_folder

    return mlruns_folder(settings) is not None


def _is_database_server(uri: str) -> bool:
    return uri.lower().startswith(("postgresql", "mysql"))


def _warn_of_slow_path(mismatch: Exception) -> None:
    warnings.warn(f"{mismatch}; MLflow's own client answers instead, slowly", AgentNNWarning, stacklevel=4)


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
        from agentnn.stores.artifact_places import local_folder

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
        raise StoreUnavailable(f"there is no store at {uri}", hint="check --tracking-uri or MLFLOW_TRACKING_URI")
    return uri


def _is_plugin(scheme: str) -> bool:
    from importlib.metadata import entry_points  # slow, and only reached by an unknown scheme

    return bool(scheme) and any(one.name == scheme for one in entry_points(group="mlflow.tracking_store"))
