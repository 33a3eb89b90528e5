"""What writes runs to a store, whichever it is: the contracts, and the doors."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from agentnn.settings import toml_folder
from agentnn.stores.rest.address import is_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Metric
    from agentnn.settings import Settings

UUID_TAG = "agentnn.run_uuid"
"""Holds our own id of a run, by which it is found when the answer to its making was lost."""

FIRST_ID_TAG, UNFINISHED_TAG = "agentnn.imported_run_id", "agentnn.import_unfinished"
"""Of an imported run: the id that it had first; and, as long as something of it is missing, that it does."""

LONGEST_PARAM, LONGEST_TAG = 6000, 8000
"""Characters that MLflow keeps of a value."""


class RunWriter(Protocol):
    """Delivers runs to a store by their ids: one method a request, and nothing kept in mind between."""

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment with this name, or else with this id; it is made when there is neither.

        Raises:
            ConflictError: A deleted experiment holds the name.
        """

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """Make a run; its id.

        Args:
            experiment_id: The experiment.
            name: The run's name.
            start_time: Milliseconds since the epoch.
            tags: Tags to start with.
            source: The script that trains; its commit is noted where it lies in a Git repository.
        """

    def find_runs_by_uuid(self, experiment_id: str, uuid: str) -> list[str]:
        """The ids of the runs that bear our uuid: one, unless the store was asked twice."""

    def find_run_without_tags(self, experiment_id: str, name: str, start_time: int) -> str | None:
        """The id of a run that was begun to be made, in a store that makes a run first, and then tag by tag."""

    def experiment_of(self, run_id: str) -> str:
        """The id of a run's experiment.

        Raises:
            NotFoundError: There is no such run.
        """

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log what fits into one request.

        Raises:
            UsageError, ConflictError: The store refuses something of it; some of the rest may be there.
        """

    def history(self, run_id: str, key: str) -> list[Metric]:
        """Every point of a metric that the store has, as often as it has it."""

    def params(self, run_id: str) -> dict[str, str]:
        """The params that a run has."""

    def put_file(self, run_id: str, source: Path, target: str) -> None:
        """Store a file in a run, and read back whether it arrived.

        Args:
            run_id: The run.
            source: The file.
            target: Its path in the run; the last part is the source's own name.

        Raises:
            UsageError: The store can't keep a file of this name.
            StoreUnavailable: There is no room for it, or the store does not take it.
            CorruptDataError: What arrived is something else.
        """

    def terminate(self, run_id: str, status: str, end_time: int) -> None:
        """Give a run its last status and its end, in milliseconds since the epoch."""

    def reopen(self, run_id: str) -> None:
        """Give a run the status RUNNING again."""

    def delete_run(self, run_id: str) -> None:
        """Move a run to the deleted ones."""

    def delete_tag(self, run_id: str, key: str) -> None:
        """Take a tag off a run, if it has it."""


@runtime_checkable
class RunMender(Protocol):
    """A writer to a store in which a killed one may have left a run that nobody can read."""

    def mend_run(self, experiment_id: str, run_id: str, name: str, start_time: int) -> None:
        """Give a run that is damaged what it began with; one that is whole, or not there, stays as it is."""


class StoredRun(NamedTuple):
    """A run that is in the store, as far as an import has to know it."""

    run_id: str
    name: str
    experiment: str
    start_time: int | None
    tags: Mapping[str, str]


class Limits(NamedTuple):
    """What a store takes of a run that comes from another one.

    Attributes:
        param, tag: Characters of a value; ``None`` for any number of them.
        points: Values of metrics in one request.
        texts: Params or tags in one request.
        any_key: Whether any text may be the name of a param, a tag or a metric, and not only what MLflow takes.
    """

    param: int | None = LONGEST_PARAM
    tag: int | None = LONGEST_TAG
    points: int = 1000
    texts: int = 100
    any_key: bool = False


class RunImporter(RunWriter, Protocol):
    """Makes whole past runs.

    Attributes:
        limits: What the store takes.
    """

    limits: Limits

    def runs_with_tag(self, key: str) -> Iterator[StoredRun]:
        """Every run that has a tag, deleted ones included; asked only for tags that an import sets."""

    def find_run(self, run_id: str) -> StoredRun | None:
        """A run by its own id."""

    def experiment_named(self, name: str, tags: Mapping[str, str]) -> str:
        """The id of the experiment with this name, which is made when there is none; tags that it lacks are set.

        Raises:
            ConflictError: A deleted experiment holds the name.
        """

    def put_files(self, run_id: str, files: Iterable[tuple[str, Path]]) -> None:
        """Store files in a run under these paths, and read back whether they arrived.

        Raises:
            UnsafeError: The store says that the run's files are where none may be.
            StoreUnavailable, CorruptDataError: See :meth:`put_file`.
        """

    def log_datasets(self, run_id: str, datasets: Sequence[Mapping[str, Any]]) -> None:
        """Note data sets as inputs of a run; one that is noted already is left as it is."""

    def set_status(self, run_id: str, status: str, end_time: int | None) -> None:
        """Give a run its status, and its end where it has one, once everything else of it is there."""


def open_writer(settings: Settings) -> RunWriter:
    """Open what delivers runs to the store that the settings name.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
        StoreUnavailable: The store can't be reached, or there can be none.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """
    if toml_folder(settings.tracking_uri) is not None:
        from agentnn.stores.toml.writing.writer import TomlWriter

        return TomlWriter(settings)
    if settings.tracking_uri.lower().startswith(("sqlite://", "sqlite+pysqlite://")):
        from agentnn.stores.destination import check_sqlite_path
        from agentnn.stores.mlflow.schema import ensure_schema
        from agentnn.stores.sql.mlflow_tables import SchemaMismatch
        from agentnn.stores.sql.sqlite_file import sqlite_path
        from agentnn.stores.sql.writer import SqlWriter

        check_sqlite_path(sqlite_path(settings.tracking_uri))
        ensure_schema(settings)
        with suppress(SchemaMismatch):  # MLflow says what to do about it
            return SqlWriter(settings)
    elif is_server(settings.tracking_uri):
        from agentnn.stores.rest.opening import open_rest_writer

        if (writer := open_rest_writer(settings)) is not None:
            return writer
    elif _is_folder(settings):
        from agentnn.stores.mlruns.writer import MlrunsWriter

        return MlrunsWriter(settings)
    from agentnn.stores.mlflow.writer import MlflowWriter

    return MlflowWriter(settings)


def _is_folder(settings: Settings) -> bool:
    from agentnn.stores.mlruns.place import mlruns_folder

    return mlruns_folder(settings) is not None


def open_importer(settings: Settings) -> RunImporter:
    """Open what makes whole past runs in the store that the settings name.

    Raises:
        UsageError, StoreUnavailable, CorruptDataError, NotAStoreError: See :func:`open_writer`.
    """
    if toml_folder(settings.tracking_uri) is not None:
        from agentnn.stores.toml.writing.importer import TomlImporter

        return TomlImporter(settings)
    if is_server(settings.tracking_uri):
        from agentnn.stores.rest.opening import open_rest_importer

        if (importer := open_rest_importer(settings)) is not None:
            return importer
    from agentnn.stores.mlflow.importer import MlflowImporter

    return MlflowImporter(settings)


def dataset_inputs(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """The data sets that a run has as inputs, with all that the store knows of them, in a fixed order."""
    found = _dataset_inputs(settings, run_id)
    return sorted(found, key=lambda one: (one["name"], one["digest"], str(one["source"]), sorted(one["tags"].items())))


def _dataset_inputs(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    if toml_folder(settings.tracking_uri) is not None:
        from agentnn.stores.toml.writing.importer import dataset_inputs as kept_in_files

        return kept_in_files(settings, run_id)
    if is_server(settings.tracking_uri):
        from agentnn.stores.rest.importer import dataset_inputs as kept_by_server
        from agentnn.stores.rest.opening import open_transport

        if (transport := open_transport(settings.tracking_uri, settings)) is not None:
            with closing(transport):
                return kept_by_server(transport, run_id)
    from agentnn.stores.mlflow.importer import dataset_inputs as known_to_mlflow

    return known_to_mlflow(settings, run_id)
