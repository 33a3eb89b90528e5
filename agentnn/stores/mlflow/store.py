"""Runs of any store that MLflow knows, read through MLflow's own client: correct though slow."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from agentnn.errors import NotFoundError, StoreUnavailable, UsageError
from agentnn.query.evaluation import matches, sorted_runs
from agentnn.query.runs import RunQuery
from agentnn.query.selection import Best, rank
from agentnn.records import PARENT_TAG, Artifact, Experiment, Metric, Run
from agentnn.stores.aggregates import Summarised, judged_values, summarised
from agentnn.stores.artifacts.files import RunFiles, RunSources, Source
from agentnn.stores.base import History
from agentnn.stores.history_cache import HistoryCache
from agentnn.stores.history_traces import Trace, trace_of
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import RUNS_IN_A_FILTER, make_client, pages, view_type
from agentnn.stores.mlflow.entities import experiment_of, finite_as_kept, latest_points, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from agentnn.query.runs import FieldKind, View
    from agentnn.query.selection import BestQuery
    from agentnn.settings import Settings
    from agentnn.stores.explained.between import Between

_PAGE = 1000
_NO_SUCH_ENDPOINT = ("error code 404", "ENDPOINT_NOT_FOUND")

_MANY = 5
"""Runs that are asked of a server one by one; of more, many at once."""

_RUNS_AT_ONCE = 20
"""Runs whose histories are read before what they come to is kept."""

_SERVERS = ("http:", "https:", "databricks")


class MlflowClientStore:
    """Reads runs through ``MlflowClient``.

    Args:
        uri: A tracking URI that MLflow can open.
        settings: Where credentials come from.
    """

    def __init__(self, uri: str, settings: Settings) -> None:
        self.uri = uri
        self._settings = settings
        self._client = make_client(uri, settings)
        self._between: Between | None = None

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the client."""
        self._client = between.client(self._client)
        self._between = between

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        with mlflow_call(self._settings):
            return [experiment_of(one) for one in pages(self._client.search_experiments, view_type=view_type(view))]

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if experiment_id is not None and not is_experiment_id(experiment_id):
            return None
        try:
            with mlflow_call(self._settings):
                if experiment_id is not None:
                    return experiment_of(self._client.get_experiment(experiment_id))
                found = self._client.get_experiment_by_name(name or "")
        except (NotFoundError, UsageError):  # an id that this store can't have is simply not there
            return None
        return None if found is None else experiment_of(found)

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        runs = (run for run in self._runs(query) if matches(query.filter, run))
        if query.order_by:
            yield from sorted_runs(runs, query.order_by)[: query.limit]
            return
        for count, run in enumerate(runs):
            if count == query.limit:
                return
            yield run

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = RunQuery(query.experiment_ids, query.filter, view=query.view)
        return dict(Counter(run.status for run in self.search_runs(scope)))

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        names = self._experiment_names()
        if len(run_ids) > _MANY and self.uri.startswith(("http:", "https:")):
            return self._search_by_id(run_ids, names)
        found = []
        for run_id in run_ids:
            try:
                with mlflow_call(self._settings):
                    found.append(run_of(self._client.get_run(run_id), names))
            except (NotFoundError, UsageError):
                continue
        return found

    def _search_by_id(self, run_ids: Sequence[str], names: Mapping[str, str]) -> list[Run]:
        """Many runs in few requests, in the order of their ids."""
        wanted = [run_id for run_id in dict.fromkeys(run_ids) if run_id.isalnum()]
        found: dict[str, Run] = {}
        for start in range(0, len(wanted), RUNS_IN_A_FILTER):
            ids = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + RUNS_IN_A_FILTER])
            with mlflow_call(self._settings):
                page = self._client.search_runs(
                    list(names),
                    f"attributes.run_id IN ({ids})",
                    run_view_type=view_type("all"),
                    max_results=RUNS_IN_A_FILTER,
                )
            found |= {one.info.run_id: run_of(one, names) for one in page}
        return [found[run_id] for run_id in run_ids if run_id in found]

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        attribute = {"metric": "metrics", "param": "params", "tag": "tags"}[kind]
        every = query._replace(limit=None, order_by=())
        return sorted({key for run in self.search_runs(every) for key in getattr(run, attribute)})

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = RunQuery(query.scope.experiment_ids, query.scope.filter, view=query.scope.view)
        if query.aggregate != "last":
            return self._best_by_history(query, scope)
        runs = (run for run in self.search_runs(scope) if query.include_children or PARENT_TAG not in run.tags)
        return rank(query, ((run, run.metrics.get(query.metric)) for run in runs))

    def _best_by_history(self, query: BestQuery, scope: RunQuery) -> Best:
        cache = HistoryCache(self._settings, use=query.use_cache and self.uri.startswith(_SERVERS))
        cache = cache if self._between is None else self._between.cache(cache)
        traces: dict[str, Trace] = {}

        def note_trace(one: Any, run: Run) -> None:
            latest = [Metric(at.key, finite_as_kept(at.value), at.step, at.timestamp) for at in latest_points(one)]
            if trace := trace_of(run, query.metric, latest, now=cache.now()):
                traces[run.run_id] = trace

        found = (run for run in self._runs(scope, note_trace) if matches(scope.filter, run))
        runs = [run for run in found if query.include_children or PARENT_TAG not in run.tags]

        def read(missing: Sequence[Run]) -> Iterator[list[Summarised]]:
            for start in range(0, len(missing), _RUNS_AT_ONCE):
                histories = self.metric_histories(missing[start : start + _RUNS_AT_ONCE], (query.metric,))
                known = (summarised(one, traces.get(one.run_id)) for one in histories)
                yield [one for one in known if one is not None]

        values = judged_values(query, runs, traces, cache, read)
        return rank(query, ((run, values[run.run_id]) for run in runs))

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        try:
            with mlflow_call(self._settings):
                points = self._client.get_metric_history(run_id, key)
        except NotFoundError:
            return []
        history = [Metric(key, finite_as_kept(one.value), one.step, one.timestamp) for one in points]
        return sorted(history, key=lambda point: (point.step, point.timestamp, _sortable(point.value)))

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        for run in runs:
            for key in sorted(run.metrics if keys is None else run.metrics.keys() & set(keys)):
                points = self.metric_history(run.run_id, key)
                if points:
                    yield History(run.run_id, key, points)

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self.run_files(run).entries(path)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        experiment = self.find_experiment(experiment_id=run.experiment_id)
        location = experiment.artifact_location if experiment is not None else None
        sources = RunSources(Source(run.artifact_uri, run.run_id), location, self._logged_models(run))
        return RunFiles(sources, self._settings)

    def _logged_models(self, run: Run) -> dict[str, Source]:
        """The models that a run logged, by name; a server of MLflow 2 knows none."""
        wanted = f"source_run_id = '{run.run_id}'"
        search = self._client.search_logged_models
        try:
            with mlflow_call(self._settings):
                found = list(pages(search, experiment_ids=[run.experiment_id], filter_string=wanted))
        except NotFoundError:
            return {}
        except StoreUnavailable as error:
            if any(sign in error.message for sign in _NO_SUCH_ENDPOINT):
                return {}
            raise
        by_age = sorted(found, key=lambda one: one.creation_timestamp)
        return {one.name: Source(one.artifact_location, one.model_id) for one in by_age}

    def _runs(self, query: RunQuery, look: Callable[[Any, Run], None] | None = None) -> Iterator[Run]:
        """The runs of a query's experiments; each may be looked at as MLflow gives it."""
        names = self._experiment_names()
        experiment_ids = query.experiment_ids
        if experiment_ids is None:
            active_only = query.view == "active"
            experiment_ids = tuple(
                one.experiment_id for one in self.list_experiments("active" if active_only else "all")
            )
        experiment_ids = tuple(one for one in experiment_ids if is_experiment_id(one))
        if not experiment_ids:
            return
        all_are_wanted = query.filter is None and not query.order_by
        size = min(_PAGE, query.limit or _PAGE) if all_are_wanted else _PAGE
        token = None
        while True:
            with mlflow_call(self._settings):
                page = self._client.search_runs(
                    list(experiment_ids), run_view_type=view_type(query.view), max_results=size, page_token=token
                )
            for one in page:
                run = run_of(one, names)
                if look is not None:
                    look(one, run)
                yield run
            token = page.token
            if not token:
                return

    def _experiment_names(self) -> dict[str, str]:
        return {one.experiment_id: one.name for one in self.list_experiments("all")}


def _sortable(value: float) -> float:
    return 0.0 if math.isnan(value) else value
