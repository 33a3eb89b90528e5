"""A folder of runs as a tracking store, read without MLflow and without its opt-in.

MLflow opens every file of every run for each question, and for each page of an answer again. Here a question opens the
``meta.yaml`` of the runs that it is about, then the files of the fields that it names, and all files only of the runs
that it gives back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError, StoreUnavailable, UsageError
from agentnn.query.evaluation import matches, sorted_runs
from agentnn.query.expressions import fields_of
from agentnn.query.selection import Best, aggregate_history, rank
from agentnn.records import PARENT_TAG
from agentnn.settings import holds_runs
from agentnn.stores.artifact_files import RunFiles, RunSources, Source
from agentnn.stores.base import History
from agentnn.stores.mlruns.layout import METRICS, MODELS, PARAMS, TAGS
from agentnn.stores.mlruns.names import RUN_ID
from agentnn.stores.mlruns.place import mlruns_folder
from agentnn.stores.mlruns.reading import Damage, names_in, read_meta
from agentnn.stores.mlruns.scanning import FolderScan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from agentnn.query.expressions import Field
    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import BestQuery
    from agentnn.records import Artifact, Experiment, Metric, Run
    from agentnn.settings import Settings
    from agentnn.stores.mlruns.stored_run import StoredRun

_FOLDERS = {"metric": METRICS, "param": PARAMS, "tag": TAGS}


class MlrunsStore:
    """Reads a folder of runs; see :class:`~agentnn.stores.base.TrackingStore`.

    What can't be read is left out and warned of, once; a run that is asked for by its id must be readable.

    Args:
        settings: Name the folder.

    Raises:
        UsageError: The URI names no folder.
        StoreUnavailable: There is no store.
    """

    def __init__(self, settings: Settings) -> None:
        folder = mlruns_folder(settings)
        if folder is None or folder.is_file():
            raise UsageError(f"{settings.tracking_uri} is no folder of runs", hint="check the tracking URI")
        if not holds_runs(folder):
            raise StoreUnavailable(
                f"there is no store at {settings.tracking_uri}", hint="check --tracking-uri or MLFLOW_TRACKING_URI"
            )
        self._settings = settings
        self._damage = Damage()
        self._scan = FolderScan(folder.absolute(), self._damage)

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._scan.experiments(view)

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if experiment_id is not None:
            return self._scan.experiment(experiment_id)
        return next((one for one in self._scan.experiments("all") if one.name == name), None)

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        found = list(self._scan.runs(query))
        if query.order_by:
            datasets = _asks_for_datasets([*fields_of(query.filter), *(key.field for key in query.order_by)])
            glances = (one.glance(datasets=datasets) for one in found)
            runs = (run for run in glances if matches(query.filter, run))
            by_id = {one.run_id: one for one in found}
            chosen = iter([by_id[run.run_id] for run in sorted_runs(runs, query.order_by)])
        else:
            found.sort(key=lambda one: one.order)
            chosen = self._matching(query, found)
        for count, one in enumerate(chosen):
            if count == query.limit:
                return
            yield one.record()

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return dict(Counter(one.status for one in self._matching(query, self._scan.runs(query))))

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`.

        Raises:
            CorruptDataError: A run that was asked for is damaged.
        """
        experiments = self._scan.experiments("all")
        found = (self._scan.run(run_id, experiments) for run_id in run_ids if RUN_ID.fullmatch(run_id))
        return [one.record() for one in found if one is not None]

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = query.scope._replace(order_by=(), limit=None)
        datasets = _asks_for_datasets(fields_of(scope.filter))
        stored: dict[str, StoredRun] = {}

        def judged() -> Iterator[tuple[Run, float | None]]:
            for one in self._scan.runs(scope):
                run = one.glance(datasets=datasets)
                if matches(scope.filter, run) and (query.include_children or PARENT_TAG not in run.tags):
                    stored[run.run_id] = one
                    yield run, self._judged_value(query, one)

        best = rank(query, judged())
        whole = (one._replace(run=stored[one.run.run_id].record()) for one in best.candidates)
        return best._replace(candidates=tuple(whole))

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        runs = self._matching(query, self._scan.runs(query))
        return sorted({key for one in runs for key in one.keys(_FOLDERS[kind])})

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if not RUN_ID.fullmatch(run_id):
            return []
        found = self._scan.run(run_id, self._scan.experiments("all"))
        return [] if found is None else found.points(key)

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        experiments = {one.experiment_id: one for one in self._scan.experiments("all")}
        for run in runs:
            its = [experiments[run.experiment_id]] if run.experiment_id in experiments else []
            found = self._scan.run(run.run_id, its)
            if found is None:
                continue
            there = found.keys(METRICS)
            for key in sorted(there if keys is None else set(there) & set(keys)):
                points = found.points(key)
                if points:
                    yield History(run.run_id, key, points)

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self.run_files(run).entries(path)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        experiment = self._scan.experiment(run.experiment_id)
        location = None if experiment is None else experiment.artifact_location
        sources = RunSources(Source(run.artifact_uri, run.run_id), location, self._logged_models(run))
        return RunFiles(sources, self._settings)

    # -- how

    def _matching(self, query: RunQuery, runs: Iterator[StoredRun] | list[StoredRun]) -> Iterator[StoredRun]:
        if query.filter is None:
            yield from runs
            return
        datasets = _asks_for_datasets(fields_of(query.filter))
        yield from (one for one in runs if matches(query.filter, one.glance(datasets=datasets)))

    def _judged_value(self, query: BestQuery, run: StoredRun) -> float | None:
        if run.status != "FINISHED" and not query.include_unfinished:
            return None
        if query.aggregate == "last":
            return run.latest(query.metric)
        return aggregate_history(run.points(query.metric), query.aggregate)

    def _logged_models(self, run: Run) -> dict[str, Source]:
        """The models that a run logged, by name; of two, the later one."""
        folder = f"{self._scan.folder_of(run.experiment_id)}/{MODELS}"
        said = [
            meta for name in names_in(folder, self._damage) if (meta := self._model(f"{folder}/{name}")) is not None
        ]
        its = [
            one for one in said if one.get("source_run_id") == run.run_id and one.get("lifecycle_stage") != "deleted"
        ]
        its.sort(key=lambda one: one.get("creation_timestamp") or 0)
        return {one["name"]: Source(one.get("artifact_location"), one["model_id"]) for one in its}

    def _model(self, folder: str) -> dict[str, Any] | None:
        try:
            return read_meta(folder)
        except CorruptDataError as error:
            self._damage.tell(error.message)
            return None


def _asks_for_datasets(fields: Iterable[Field]) -> bool:
    return any(field.kind == "dataset" for field in fields)
