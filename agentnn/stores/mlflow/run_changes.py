"""Deleting, restoring and tagging runs through MLflow's own client, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.records import RUN_NAME_TAG
from agentnn.stores.many_runs import AT_ONCE, MOST_TAGS, changed, saying_how_far, says_deleted
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import check_before_writing, make_client
from agentnn.stores.run_changes import DELETION_TAG, deleted_experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient

    from agentnn.records import Run
    from agentnn.settings import Settings


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
            from mlflow.exceptions import MlflowException

            try:
                if mark is not None:
                    self._client.set_tag(run.run_id, DELETION_TAG, mark)
            except MlflowException as error:
                if says_deleted(error):  # somebody else was faster
                    return
                raise
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
        for start in range(0, len(rest), MOST_TAGS):
            self._client.log_batch(run_id, tags=rest[start : start + MOST_TAGS])

    def _drop_tag(self, run_id: str, key: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.delete_tag(run_id, key)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # somebody else has taken it off
                raise

    def _for_each(self, runs: Sequence[Run], change: Callable[[Run], None], done_word: str) -> None:
        """Change each run; threads share what one call to MLflow puts into the environment."""
        has_server = self._settings.tracking_uri.lower().startswith(("http://", "https://"))
        with saying_how_far(runs, done_word) as done, mlflow_call(self._settings, read=False):
            # A database or a folder gets one after the other.
            for run in changed(runs, change, at_once=AT_ONCE if has_server else 1):
                done.append(run.run_id)
