"""The store of runs that an MLflow server is."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import NotFoundError, UsageError
from agentnn.query.expressions import And, Comparison
from agentnn.query.runs import RunQuery
from agentnn.query.selection import rank
from agentnn.stores.rest import experiments, searching
from agentnn.stores.rest.counting import CannotCount, count
from agentnn.stores.rest.pushdown import one_of
from agentnn.stores.rest.run_records import run_of
from agentnn.stores.rest.searching import FIRST_PAGE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agentnn.query.expressions import Field
    from agentnn.query.runs import FieldKind, View
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Artifact, Experiment, Metric, Run
    from agentnn.settings import Settings
    from agentnn.stores.artifacts.files import RunFiles
    from agentnn.stores.base import History
    from agentnn.stores.explained.between import Between
    from agentnn.stores.measures import StoreMeasures
    from agentnn.stores.rest.searching import Scope
    from agentnn.stores.rest.transport import Transport

_MANY = 4
"""Runs that are asked for one by one; of more, many at once."""

_IDS_IN_A_FILTER = 100
_STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")
_FRESH_S = 1.0
"""How long the name of an experiment is known that was asked for."""


class _Found(NamedTuple):
    """An experiment that was found a moment ago."""

    experiment_id: str
    name: str
    at: float


class RestStore:
    """Reads runs of an MLflow server.

    Args:
        transport: Asks it.
        settings: Name it; the files of runs are reached by them.
    """

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self.uri = settings.tracking_uri
        self._transport = transport
        self._settings = settings
        self._found: _Found | None = None
        self._between: Between | None = None

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before what asks the server."""
        self._transport = between.transport(self._transport)
        self._between = between

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return experiments.list_experiments(self._transport, view)

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        found = experiments.find_experiment(self._transport, name=name, experiment_id=experiment_id)
        self._found = None if found is None else _Found(found.experiment_id, found.name, monotonic())
        return found

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        if query.limit != 0:
            yield from searching.search(self._transport, query, self._scope_of(query))

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        query = RunQuery(query.experiment_ids, query.filter, view=query.view)
        scope = self._scope_of(query)
        if not scope.experiment_ids:
            return {}
        if scope.filter.is_whole:
            first = self._transport.post("runs/search", scope.question(FIRST_PAGE))
            if not first.get("next_page_token"):
                return dict(Counter(run_of(one, scope.names).status for one in first.get("runs") or ()))
            with suppress(CannotCount):
                counts = {one: count(self._transport, scope, f"attributes.status = '{one}'") for one in _STATUSES}
                return {status: number for status, number in counts.items() if number}
        return dict(Counter(run.status for run in searching.search(self._transport, query, scope)))

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        wanted = [run_id for run_id in dict.fromkeys(run_ids) if _may_be_one(run_id)]
        found = self._find_many(wanted) if len(wanted) > _MANY else self._find_each(wanted)
        return [found[run_id] for run_id in run_ids if run_id in found]

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.rest.best import best_by_latest, takes_part  # most questions are others

        scope = self._scope_of(query.scope)
        if query.aggregate != "last":
            from agentnn.stores.history_cache import HistoryCache
            from agentnn.stores.rest.best_by_history import best_by_history

            cache = HistoryCache(self._settings, use=query.use_cache)
            cache = cache if self._between is None else self._between.cache(cache)
            return best_by_history(self._transport, query, scope, cache)
        found = best_by_latest(self._transport, query, scope)
        if found is not None:
            return found
        everything = RunQuery(query.scope.experiment_ids, query.scope.filter, view=query.scope.view)
        runs = (run for run in searching.search(self._transport, everything, scope) if takes_part(query, run))
        return rank(query, ((run, run.metrics.get(query.metric)) for run in runs))

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        attribute = {"metric": "metrics", "param": "params", "tag": "tags"}[kind]
        every = query._replace(limit=None, order_by=())
        return sorted({key for run in self.search_runs(every) for key in getattr(run, attribute)})

    def has_field(self, field: Field, query: RunQuery) -> bool:
        """See :class:`~agentnn.stores.base.FindsFields`."""
        present = Comparison(field, "IS NOT NULL")
        both = present if query.filter is None else And((query.filter, present))
        return next(self.search_runs(RunQuery(query.experiment_ids, both, limit=1, view=query.view)), None) is not None

    def nested_in(self, parents: Sequence[str], view: View) -> list[Run]:
        """See :class:`~agentnn.stores.base.FindsNested`."""
        from agentnn.stores.rest.nested import nested_in

        return nested_in(self._transport, parents, view)

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.rest.histories import metric_history  # most questions are others

        return metric_history(self._transport, run_id, key)

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.rest.histories import metric_histories

        return metric_histories(self._transport, runs, keys)

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self.run_files(run).entries(path)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.rest.artifacts import run_files

        return run_files(self._transport, run, self._settings)

    def measure(self) -> StoreMeasures:
        """See :class:`~agentnn.stores.measures.MeasuresItself`."""
        from agentnn.stores.rest.measures import measure_server

        return measure_server(self._transport, self._settings)

    def _scope_of(self, query: RunQuery) -> Scope:
        """Where a query looks; who has just found the experiment by its name knows the name."""
        found = self._found
        is_fresh = found is not None and monotonic() - found.at < _FRESH_S
        known = {found.experiment_id: found.name} if found is not None and is_fresh else {}
        return searching.scope_of(self._transport, query, known)

    def _find_each(self, run_ids: Sequence[str]) -> dict[str, Run]:
        found = []
        for run_id in run_ids:
            try:
                found.append(self._transport.get("runs/get", {"run_id": run_id}).get("run") or {})
            except (NotFoundError, UsageError):
                continue
        names = experiments.names_of(self._transport, {_experiment_of(one) for one in found})
        return {run.run_id: run for run in (run_of(one, names) for one in found)}

    def _find_many(self, run_ids: Sequence[str]) -> dict[str, Run]:
        """Many runs in few requests."""
        scope = searching.scope_of(self._transport, RunQuery(view="all"))
        found: dict[str, Run] = {}
        for start in range(0, len(run_ids), _IDS_IN_A_FILTER):
            asked = run_ids[start : start + _IDS_IN_A_FILTER]
            question = scope.question(_IDS_IN_A_FILTER, one_of(asked))
            for page in searching.runs_in_pages(self._transport, scope, question):
                found |= {run.run_id: run for run in page}
        return found


def _may_be_one(run_id: str) -> bool:
    """Whether a run could have this id; MLflow refuses others."""
    return run_id.isascii() and run_id.isalnum()


def _experiment_of(run: object) -> str:
    info = run.get("info") if isinstance(run, dict) else None
    return str(info.get("experiment_id")) if isinstance(info, dict) else ""
