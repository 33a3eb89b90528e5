"""Writing through MLflow's own client, by explicit run id: one method a request, and nothing kept in mind between."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, CorruptDataError, NotFoundError, StoreUnavailable
from agentnn.records import Metric
from agentnn.stores.artifacts.folder import local_folder
from agentnn.stores.mlflow.artifacts import check_names
from agentnn.stores.mlflow.calls import TIMEOUT_S, mlflow_call
from agentnn.stores.mlflow.client import check_before_writing, make_client
from agentnn.stores.mlflow.schema import ensure_schema
from agentnn.stores.run_writer import UUID_TAG
from agentnn.stores.source_commit import with_commit
from agentnn.stores.whole_files import digest_of, put_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from mlflow import MlflowClient

    from agentnn.settings import Settings

UPLOAD_TIMEOUT_S = 300
"""How long a server may be silent after it was sent a file, which it may hand on to a cloud store."""


class MlflowWriter:
    """Writes to the store that the settings name; see :class:`~agentnn.stores.run_writer.RunWriter`.

    Raises:
        UsageError: The store is a database whose schema MLflow would have to migrate first.
        StoreUnavailable: The store can't be reached, or there can be none.
        CorruptDataError, NotAStoreError: There is something else at its path.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        ensure_schema(settings)
        check_before_writing(settings.tracking_uri)
        self._client: MlflowClient = make_client(settings.tracking_uri, settings, read=False)

    def ensure_experiment(self, name: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        found = self._find_experiment(name)
        if found is None:
            with suppress(ConflictError), self._call():
                return str(self._client.create_experiment(name))
            found = self._find_experiment(name)  # somebody else was faster
        if found is None or found.lifecycle_stage != "active":
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it: agentnn experiment restore {found.experiment_id if found else shlex.quote(name)}",
            )
        return str(found.experiment_id)

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            known = with_commit(tags, source)
            run = self._client.create_run(experiment_id, start_time=start_time, tags=known, run_name=name)
        if not run.info.run_id:
            raise StoreUnavailable(
                "the store's answer names no run", hint="check that the tracking URI is that of an MLflow server"
            )
        return str(run.info.run_id)

    def find_runs_by_uuid(self, experiment_id: str, uuid: str) -> list[str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return [str(run.info.run_id) for run in self._search(experiment_id, f"tags.`{UUID_TAG}` = '{uuid}'")]

    def find_run_without_tags(self, experiment_id: str, name: str, start_time: int) -> str | None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; MLflow's file store makes a run first, then tag by tag."""
        found = self._search(experiment_id, f"attributes.start_time = {start_time}")
        ours = [run for run in found if run.info.run_name == name and not run.data.tags.get(UUID_TAG)]
        return str(ours[0].info.run_id) if ours else None

    def experiment_of(self, run_id: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            return str(self._client.get_run(run_id).info.experiment_id)

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`: at most 1000 things, of which 100 params and 100 tags."""
        with self._call():
            from mlflow.entities import Metric as MlflowMetric
            from mlflow.entities import Param, RunTag

            self._client.log_batch(
                run_id,
                metrics=[MlflowMetric(one.key, one.value, one.timestamp, one.step) for one in points],
                params=[Param(key, value) for key, value in (params or {}).items()],
                tags=[RunTag(key, value) for key, value in (tags or {}).items()],
            )

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            found = self._client.get_metric_history(run_id, key)
        return [Metric(key, one.value, one.step, one.timestamp) for one in found]

    def params(self, run_id: str) -> dict[str, str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            return dict(self._client.get_run(run_id).data.params)

    def put_file(self, run_id: str, source: Path, target: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; an MLflow server can't keep every name."""
        root = self._artifact_root(run_id)
        if root is not None:
            put_whole(source, root / target, root.parent)
            return
        check_names([target], self._settings)
        with self._call(UPLOAD_TIMEOUT_S):
            self._client.log_artifact(run_id, str(source), target.rpartition("/")[0] or None)
            if self._digest_of_stored(run_id, target) != digest_of(source):
                raise CorruptDataError(f"{target} did not arrive whole", hint="it is sent again: agentnn run sync")

    def terminate(self, run_id: str, status: str, end_time: int) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            self._client.set_terminated(run_id, status, end_time)

    def reopen(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            self._client.update_run(run_id, status="RUNNING")

    def delete_run(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with self._call():
            self._client.delete_run(run_id)

    def delete_tag(self, run_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with suppress(NotFoundError), self._call():
            self._client.delete_tag(run_id, key)

    def _call(self, timeout_s: int = TIMEOUT_S) -> AbstractContextManager[None]:
        return mlflow_call(self._settings, read=False, timeout_s=timeout_s)

    def _search(self, experiment_id: str, text: str) -> list[Any]:
        with self._call():
            from mlflow.entities import ViewType

            return list(self._client.search_runs([experiment_id], text, run_view_type=ViewType.ALL))

    def _find_experiment(self, name: str) -> Any:
        with self._call():
            found = self._client.get_experiment_by_name(name)
        if found is None and name.isdecimal():
            with suppress(NotFoundError), self._call():
                return self._client.get_experiment(name)
        return found

    def _artifact_root(self, run_id: str) -> Path | None:
        with self._call():
            return local_folder(self._client.get_run(run_id).info.artifact_uri)

    def _digest_of_stored(self, run_id: str, path: str) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            return digest_of(Path(self._client.download_artifacts(run_id, path, scratch)))
