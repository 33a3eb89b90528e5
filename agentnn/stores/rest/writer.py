"""Writing runs of an MLflow server over its REST API, without MLflow.

The sender lives beside training: importing MLflow would cost it 2 s of a core and 150 MB. Here a request is what
MLflow's client would send, and as there it is sent once: its answer alone may have been lost, and whoever sends it
again has to look before. Every endpoint is one that servers since 2.9 have.
"""

from __future__ import annotations

import math
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, StoreUnavailable, UsageError
from agentnn.stores.rest.experiments import create_experiment, find_experiment, pages
from agentnn.stores.rest.histories import every_point
from agentnn.stores.rest.run_records import run_of, text_pairs
from agentnn.stores.rest.uploading import Uploads
from agentnn.stores.run_writer import UUID_TAG
from agentnn.stores.source_commit import with_commit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Experiment, Metric, Run
    from agentnn.settings import Settings
    from agentnn.stores.rest.transport import Transport

_USER_TAG = "mlflow.user"
_PAGE = 1000
_WHOLE_NUMBERS = range(-(2**63), 2**63)


class RestWriter:
    """Writes to an MLflow server; see :class:`~agentnn.stores.run_writer.RunWriter`.

    Args:
        transport: Asks it.
        settings: Name it; the files of runs are reached by them.
    """

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._uploads = Uploads(transport, settings)

    def ensure_experiment(self, name: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        found = self._find_experiment(name)
        if found is None:
            with suppress(ConflictError):
                return create_experiment(self._transport, name)
            found = self._find_experiment(name)  # somebody else was faster
        if found is None or found.lifecycle_stage != "active":
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it: agentnn experiment restore {found.experiment_id if found else shlex.quote(name)}",
            )
        return found.experiment_id

    def create_run(
        self, experiment_id: str, name: str, start_time: int, tags: Mapping[str, str], source: str = ""
    ) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        known = with_commit(tags, source)
        asked = {"experiment_id": experiment_id, "run_name": name, "start_time": start_time}
        user = known.get(_USER_TAG, "unknown")
        run = self._write("create", {**asked, "user_id": user, "tags": text_pairs(known)}).get("run")
        info = run.get("info") if isinstance(run, dict) else None
        if not isinstance(info, dict) or not info.get("run_id"):
            raise StoreUnavailable(
                "the store's answer names no run", hint="check that the tracking URI is that of an MLflow server"
            )
        return str(info["run_id"])

    def find_runs_by_uuid(self, experiment_id: str, uuid: str) -> list[str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return [run.run_id for run in self._search(experiment_id, f"tags.`{UUID_TAG}` = '{uuid}'")]

    def find_run_without_tags(self, experiment_id: str, name: str, start_time: int) -> str | None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; a server may keep its runs in MLflow's file store."""
        found = self._search(experiment_id, f"attributes.start_time = {start_time}")
        return next((run.run_id for run in found if run.name == name and not run.tags.get(UUID_TAG)), None)

    def experiment_of(self, run_id: str) -> str:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return self._run(run_id).experiment_id

    def log_batch(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`: at most 1000 things, of which 100 params and 100 tags."""
        texts = {"params": text_pairs(params or {}), "tags": text_pairs(tags or {})}
        said = {
            name: values for name, values in {"metrics": [_point(one) for one in points], **texts}.items() if values
        }
        if said:
            self._write("log-batch", {"run_id": run_id, **said})

    def history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return every_point(self._transport, run_id, key)

    def params(self, run_id: str) -> dict[str, str]:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        return dict(self._run(run_id).params)

    def put_file(self, run_id: str, source: Path, target: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`.

        Raises:
            UsageError: An MLflow server can't keep a file of this name.
            UnsafeError: The server says that the run's files are where none may be.
            StoreUnavailable, CorruptDataError: See :class:`~agentnn.stores.run_writer.RunWriter`.
        """
        self._uploads.put(run_id, source, target)

    def terminate(self, run_id: str, status: str, end_time: int) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._write("update", {"run_id": run_id, "status": status, "end_time": end_time})

    def reopen(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`; its end stays noted, as MLflow leaves it."""
        self._say_status(run_id, "RUNNING")

    def delete_run(self, run_id: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        self._write("delete", {"run_id": run_id})

    def delete_tag(self, run_id: str, key: str) -> None:
        """See :class:`~agentnn.stores.run_writer.RunWriter`."""
        with suppress(NotFoundError):
            self._write("delete-tag", {"run_id": run_id, "key": key})

    # -- how

    def _write(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._transport.post(f"runs/{what}", body, read=False)

    def _say_status(self, run_id: str, status: str) -> None:
        """Give a run a status; a server that hears of no end may take it for the beginning of 1970."""
        end = self._run(run_id).end_time
        self._write("update", {"run_id": run_id, "status": status, **({} if end is None else {"end_time": end})})

    def _run(self, run_id: str) -> Run:
        return run_of(self._transport.get("runs/get", {"run_id": run_id}).get("run") or {}, {})

    def _search(self, experiment_id: str, condition: str) -> list[Run]:
        question = {"experiment_ids": [experiment_id], "filter": condition, "run_view_type": "ALL"}
        found = pages(self._transport, "runs/search", {**question, "max_results": _PAGE}, "runs")
        return [run_of(one, {}) for page in found for one in page]

    def _find_experiment(self, name: str) -> Experiment | None:
        found = find_experiment(self._transport, name=name, experiment_id=None)
        return found or find_experiment(self._transport, name=None, experiment_id=name)


def _point(point: Metric) -> dict[str, Any]:
    """A value of a metric; JSON has no word for what is no number, and MLflow's client writes these."""
    if point.step not in _WHOLE_NUMBERS or point.timestamp not in _WHOLE_NUMBERS:
        raise UsageError(
            f"the step or the time of a value of {point.key!r} has more than 64 bits",
            hint="MLflow keeps no such number",
        )
    value: float | str = point.value
    if not math.isfinite(point.value):
        value = "NaN" if math.isnan(point.value) else "Infinity" if point.value > 0 else "-Infinity"
    return {"key": point.key, "value": value, "timestamp": point.timestamp, "step": point.step}
