"""What an import asks of a server, and no other writer: runs by their first id, a whole past run, its data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError, NotFoundError, UsageError
from agentnn.stores.rest.experiments import create_experiment, find_experiment, list_experiments, pages
from agentnn.stores.rest.run_records import odd_answer, run_of, text_pairs, texts
from agentnn.stores.rest.writer import RestWriter
from agentnn.stores.run_writer import Limits, StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from agentnn.records import Run
    from agentnn.stores.rest.transport import Transport

_PAGE = 1000


class RestImporter(RestWriter):
    """Writes past runs to an MLflow server; see :class:`~agentnn.stores.run_writer.RunImporter`."""

    limits = Limits()

    def runs_with_tag(self, key: str) -> Iterator[StoredRun]:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        names = {one.experiment_id: one.name for one in list_experiments(self._transport, "all")}
        if names:
            question = {"experiment_ids": list(names), "filter": f"tags.`{key}` LIKE '%'", "run_view_type": "ALL"}
            for page in pages(self._transport, "runs/search", {**question, "max_results": _PAGE}, "runs"):
                yield from (_stored(run_of(one, names)) for one in page)

    def find_run(self, run_id: str) -> StoredRun | None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        try:
            run = self._run(run_id)
        except (NotFoundError, UsageError):  # an id that this store can't have is simply not there
            return None
        experiment = find_experiment(self._transport, name=None, experiment_id=run.experiment_id)
        return _stored(run)._replace(experiment="" if experiment is None else experiment.name)

    def experiment_named(self, name: str, tags: Mapping[str, str]) -> str:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        found = find_experiment(self._transport, name=name, experiment_id=None)
        if found is None:
            return create_experiment(self._transport, name, tags=tags)
        if found.lifecycle_stage != "active":
            raise ConflictError(
                f"the experiment {name!r} is deleted but still holds its name",
                hint=f"restore it, or choose another one with -e: agentnn experiment restore {found.experiment_id}",
            )
        for key, value in tags.items():
            if key not in found.tags:
                asked = {"experiment_id": found.experiment_id, "key": key, "value": value}
                self._transport.post("experiments/set-experiment-tag", asked, read=False)
        return found.experiment_id

    def put_files(self, run_id: str, files: Iterable[tuple[str, Path]]) -> None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        for path, file in files:
            self._uploads.put(run_id, file, path)

    def log_datasets(self, run_id: str, datasets: Sequence[Mapping[str, Any]]) -> None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        inputs = [
            {
                "dataset": {key: value for key, value in one.items() if key != "tags" and value is not None},
                "tags": text_pairs(one["tags"]),
            }
            for one in datasets
        ]
        self._write("log-inputs", {"run_id": run_id, "datasets": inputs})

    def set_status(self, run_id: str, status: str, end_time: int | None) -> None:
        """See :class:`~agentnn.stores.run_writer.RunImporter`."""
        if end_time is None:
            self._say_status(run_id, status)
        else:
            self.terminate(run_id, status, end_time)


def dataset_inputs(transport: Transport, run_id: str) -> list[dict[str, Any]]:
    """See :func:`agentnn.stores.run_writer.dataset_inputs`."""
    run = transport.get("runs/get", {"run_id": run_id}).get("run") or {}
    try:
        return [_dataset(one) for one in (run.get("inputs") or {}).get("dataset_inputs", ())]
    except (KeyError, TypeError, AttributeError) as error:
        raise odd_answer("a data set") from error


def _dataset(one: Mapping[str, Any]) -> dict[str, Any]:
    kept = one["dataset"]
    return {
        "name": kept["name"],
        "digest": kept["digest"],
        "source_type": kept["source_type"],
        "source": kept["source"],
        "schema": kept.get("schema") or None,
        "profile": kept.get("profile") or None,
        "tags": dict(sorted(texts(one.get("tags", ())).items())),
    }


def _stored(run: Run) -> StoredRun:
    return StoredRun(run.run_id, run.name, run.experiment, run.start_time, run.tags)
