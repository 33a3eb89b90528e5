"""Deleting, restoring and tagging runs through MLflow's own client, run by run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, NoReturn

from agentnn.errors import AgentNNError, UsageError
from agentnn.records import RUN_NAME_TAG
from agentnn.stores.mlflow_calls import mlflow_call
from agentnn.stores.mlflow_client import check_before_writing, make_client
from agentnn.stores.run_changes import DELETION_TAG, deleted_experiment, deleted_run, say_how_far

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mlflow import MlflowClient

    from agentnn.records import Run
    from agentnn.settings import Settings

_AT_ONCE = 8
"""Requests to a server at the same time; a database or a folder gets one after the other."""

_MOST_TAGS = 100
"""Tags in one request, as MLflow's server takes them."""

_IS_DELETED = ("must be in the 'active' state", "must be in 'active' lifecycle_stage")


class MlflowRunChanges:
    """Changes runs of any store that MLflow knows; see :class:`~agentnn.stores.run_changes.RunChanges`.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
        StoreUnavailable: The store can't be reached.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        check_before_writing(settings.tracking_uri)
        self._client: MlflowClient = make_client(settings.tracking_uri, settings, read=False)

    def delete(self, runs: Sequence[Run], mark: str | None = None) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(run: Run) -> None:
            if mark is not None:
                self._client.set_tag(run.run_id, DELETION_TAG, mark)
            self._client.delete_run(run.run_id)

        self._for_each(runs, change, "deleted")

    def restore(self, runs: Sequence[Run]) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        for experiment_id in dict.fromkeys(run.experiment_id for run in runs):
            with mlflow_call(self._settings):
                experiment = self._client.get_experiment(experiment_id)
            if experiment.lifecycle_stage != "active":
                raise deleted_experiment(experiment.name)

        def change(run: Run) -> None:
            self._client.restore_run(run.run_id)
            if DELETION_TAG in run.tags:
                self._drop_tag(run.run_id, DELETION_TAG)

        self._for_each(runs, change, "restored")

    def tag(self, runs: Sequence[Run], tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(run: Run) -> None:
            self._set_tags(run.run_id, tags)
            for key in remove:
                if key in run.tags:
                    self._drop_tag(run.run_id, key)

        self._for_each(runs, change, "tagged")

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        if RUN_NAME_TAG in tags:  # a batch would not rename the run in every store
            self._client.set_tag(run_id, RUN_NAME_TAG, tags[RUN_NAME_TAG])
        rest = [RunTag(key, value) for key, value in tags.items() if key != RUN_NAME_TAG]
        for start in range(0, len(rest), _MOST_TAGS):
            self._client.log_batch(run_id, tags=rest[start : start + _MOST_TAGS])

    def _drop_tag(self, run_id: str, key: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.delete_tag(run_id, key)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # somebody else has taken it off
                raise

    def _for_each(self, runs: Sequence[Run], change: Callable[[Run], None], done_word: str) -> None:
        """Change each run; threads share what one call to MLflow puts into the environment."""
        done: list[str] = []
        try:
            with mlflow_call(self._settings, read=False):
                for run in self._attempted(runs, change):
                    done.append(run.run_id)
        except AgentNNError as error:
            _raise_with_what_was_done(error, runs, done, done_word)

    def _attempted(self, runs: Sequence[Run], change: Callable[[Run], None]) -> Iterator[Run]:
        """The runs that were changed, until one can't be; the error comes behind all that were begun."""
        if len(runs) < 2 or not self._settings.tracking_uri.lower().startswith(("http://", "https://")):
            for run in runs:
                change(run)
                yield run
            return
        stop = Event()

        def attempt(run: Run) -> bool:
            if stop.is_set():
                return False
            try:
                change(run)
            except BaseException:
                stop.set()
                raise
            return True

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [(run, pool.submit(attempt, run)) for run in runs]
            failure: BaseException | None = None
            try:
                for run, future in futures:
                    error = future.exception()
                    failure = failure or error
                    if error is None and future.result():
                        yield run
            finally:
                stop.set()  # also when we are interrupted
        if failure is not None:
            raise failure


def _raise_with_what_was_done(
    error: AgentNNError, runs: Sequence[Run], done: Sequence[str], done_word: str
) -> NoReturn:
    """The error, with how far the change had come."""
    missing = [run.run_id for run in runs if run.run_id not in set(done)]
    if isinstance(error, UsageError) and any(text in str(error) for text in _IS_DELETED):
        gone = next((run_id for run_id in missing if run_id in str(error)), missing[0])
        error = deleted_run(gone)
    if len(runs) > 1:
        say_how_far(error, missing, len(runs), done_word)
    raise error
