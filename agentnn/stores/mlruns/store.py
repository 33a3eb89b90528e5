"""A folder of runs as a tracking store, read without MLflow and without its opt-in.

MLflow opens every file of every run for each question, and for each page of an answer again. Here a question opens the
``meta.yaml`` of the runs that it is about, then the files of the fields that it names, and all files only of the runs
that it gives back; of many runs an index knows what the files have said.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from agentnn.errors import CorruptDataError, StoreUnavailable, UsageError
from agentnn.query.evaluation import sorted_runs
from agentnn.settings import holds_runs
from agentnn.stores.artifacts.files import RunFiles, RunSources, Source
from agentnn.stores.base import History
from agentnn.stores.mlruns.best import Looks, best_of
from agentnn.stores.mlruns.index import RunIndex
from agentnn.stores.mlruns.layout import METRICS, MODELS, PARAMS, TAGS
from agentnn.stores.mlruns.names import RUN_ID
from agentnn.stores.mlruns.place import mlruns_folder
from agentnn.stores.mlruns.reading import Damage, names_in, read_meta
from agentnn.stores.mlruns.scanning import FolderScan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Artifact, Experiment, Metric, Run
    from agentnn.settings import Settings
    from agentnn.stores.explained.between import Between
    from agentnn.stores.measures import StoreMeasures

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
        self._folder = folder.absolute()
        index = RunIndex(self._folder, settings.cache_mb) if settings.cache_mb else None
        self._scan = FolderScan(self._folder, self._damage, index)

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the folder."""
        self._scan = between.folder(self._scan)

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._scan.experiments(view)

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if experiment_id is not None:
            return self._scan.experiment(experiment_id)
        return next((one for one in self._scan.experiments("all") if one.name == name), None)

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`; of very many runs the places are kept, not the runs."""
        if query.order_by or query.limit is not None:
            yield from self._ordered(query) if query.order_by else self._newest(query)
            return
        with self._scan.asked(query, indexed=query.filter is not None) as asked:
            looks = Looks(query.filter)
            kept = [(one.order, place) for place in asked.places() if (one := asked.open(place)) and looks.accept(one)]
        kept.sort(key=itemgetter(0), reverse=True)
        while kept:
            run = asked.open(kept.pop()[1])
            if run is not None:
                yield run.record()

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        with self._scan.asked(query) as asked:
            looks = Looks(query.filter)
            return dict(Counter(one.head.status for one in asked.runs() if looks.accept(one)))

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
        with self._scan.asked(query.scope) as asked:
            return best_of(asked, query)

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        with self._scan.asked(query) as asked:
            looks = Looks(query.filter)
            return sorted({key for one in asked.runs() if looks.accept(one) for key in one.keys(_FOLDERS[kind])})

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

    def measure(self) -> StoreMeasures:
        """See :class:`~agentnn.stores.measures.MeasuresItself`."""
        from agentnn.stores.mlruns.measures import measure_folder

        return measure_folder(self._folder, self._scan)

    # -- how

    def _newest(self, query: RunQuery) -> Iterator[Run]:
        """The runs that a limited query asks for: only as many are looked at as it takes."""
        with self._scan.asked(query) as asked:
            looks = Looks(query.filter)
            runs = sorted(asked.runs(), key=lambda one: one.order)
            yield from (one.record() for one in islice(filter(looks.accept, runs), query.limit))

    def _ordered(self, query: RunQuery) -> Iterator[Run]:
        """The runs that a query with an order of its own asks for."""
        with self._scan.asked(query) as asked:
            looks = Looks(query.filter, (key.field for key in query.order_by))
            found = {one.run_id: one for one in asked.runs() if looks.accept(one)}
            ordered = sorted_runs(map(looks.glance, found.values()), query.order_by)[: query.limit]
            yield from (found[run.run_id].record() for run in ordered)

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
