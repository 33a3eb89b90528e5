"""Changing runs that are there already: their life-cycle stage and their tags. The contract, and the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agentnn.errors import ConflictError
from agentnn.settings import toml_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.errors import AgentNNError
    from agentnn.records import Run
    from agentnn.settings import Settings

DELETION_TAG = "agentnn.deletion"
"""Says with which others a run was deleted, so that one filter restores exactly these; it goes with the restoring."""

_NAMED = 5


class RunChanges(Protocol):
    """Changes to many runs at once; a failure says what was done, and the same call again goes on."""

    def delete(self, runs: Sequence[Run], mark: str | None = None) -> None:
        """Move runs to the deleted ones.

        Args:
            runs: The runs; those that somebody else has deleted meanwhile stay as they are.
            mark: The value of :data:`DELETION_TAG` to give them first.

        Raises:
            NotFoundError: One of them is not in the store any more.
            StoreUnavailable: The store can't be written to.
        """

    def restore(self, runs: Sequence[Run]) -> None:
        """Bring deleted runs back, without the mark of their deletion.

        Raises:
            NotFoundError: One of them is not in the store any more.
            ConflictError: The experiment of one is deleted.
            StoreUnavailable: The store can't be written to.
        """

    def tag(self, runs: Sequence[Run], tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Set tags of runs, and take others off those that have them.

        Raises:
            NotFoundError: One of them is not in the store any more.
            ConflictError: One of them is deleted.
            StoreUnavailable: The store can't be written to.
        """


def open_run_changes(settings: Settings) -> RunChanges:
    """Open what changes runs in the store that the settings name.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
        StoreUnavailable, CorruptDataError, NotAStoreError: The store can't be used.
    """
    if toml_folder(settings.tracking_uri) is not None:
        from agentnn.stores.toml.writing.changes import TomlRunChanges

        return TomlRunChanges(settings)
    if settings.tracking_uri.lower().startswith(("sqlite://", "sqlite+pysqlite://")):
        from agentnn.stores.sql.mlflow_tables import SchemaMismatch
        from agentnn.stores.sql.run_changes import SqlRunChanges

        try:
            return SqlRunChanges(settings)
        except SchemaMismatch:
            pass  # MLflow says what to do about it
    from agentnn.stores.mlruns.place import mlruns_folder

    if mlruns_folder(settings) is not None:
        from agentnn.stores.mlruns.run_changes import MlrunsRunChanges

        return MlrunsRunChanges(settings)
    from agentnn.stores.rest.address import is_server

    if is_server(settings.tracking_uri):
        from agentnn.stores.rest.opening import open_rest_run_changes

        served = open_rest_run_changes(settings)
        if served is not None:
            return served
    from agentnn.stores.mlflow.run_changes import MlflowRunChanges

    return MlflowRunChanges(settings)


def say_how_far(error: AgentNNError, missing: Sequence[str], total: int, done_word: str) -> None:
    """Add to an error how far a change of several runs had come.

    Args:
        error: What went wrong.
        missing: The ids of the runs that were not changed.
        total: How many there are.
        done_word: What became of the others.
    """
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    rest = ", ".join(missing[:_NAMED]) + more
    error.message += f"; {total - len(missing)} of {total} runs were {done_word}, not {rest}"
    error.hint = error.hint or "the same command again goes on with the rest"


def deleted_run(run_id: str) -> ConflictError:
    """The error for a write to a deleted run."""
    return ConflictError(f"the run {run_id} is deleted", hint=f"agentnn run restore {run_id}")


def deleted_experiment(name: str) -> ConflictError:
    """The error for a change that a deleted experiment stands in the way of."""
    from shlex import quote

    return ConflictError(
        f"the experiment {name!r} is deleted", hint=f"restore it: agentnn experiment restore {quote(name)}"
    )
