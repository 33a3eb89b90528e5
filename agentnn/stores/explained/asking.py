"""A store and a registry each of whose questions is part of an explanation; they are opened when first asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agentnn.query.explanation import Plan
from agentnn.stores.base import ModelRegistry, TrackingStore, has_field, search_run_ids
from agentnn.stores.explained.between import Between, Withdrawing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from agentnn.query.explanation import Asking, Explanation, Step
    from agentnn.query.expressions import Field
    from agentnn.query.runs import FieldKind, RunQuery, View
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Artifact, Experiment, Metric, ModelVersion, RegisteredModel, Run
    from agentnn.stores.artifacts.files import RunFiles
    from agentnn.stores.base import History

Kept = TypeVar("Kept")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


class Explained(Generic[Kept]):
    """What an explained store and an explained registry have in common.

    Args:
        opening: Opens the store itself.
        before: The store itself, where it is open already.
        explanation: Is told of every question.
    """

    what = "store"

    def __init__(self, opening: Callable[[], Kept], before: Kept | None, explanation: Explanation) -> None:
        self._opening = opening
        self._before = before
        self._explanation = explanation
        self._opened: Kept | None = None
        self._between = Between(explanation)

    def itself(self) -> Kept | None:
        """The store as it is without anybody who looks on; ``None`` when it was not opened."""
        if self._opened is not None:
            self._put(Withdrawing(self._explanation))
        return self._opened or self._before

    def software(self) -> str:
        """What the store runs on."""
        return "" if self._opened is None else self._between.software()

    def close(self) -> None:
        """Close the store."""
        close = getattr(self._opened or self._before, "close", None)
        if close is not None:
            close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner(), name)

    def _inner(self) -> Kept:
        if self._opened is None:
            self._opened = self._before or self._open()
            self._put(self._between)
            self._explanation.reader = self._explanation.reader or self._between.reader
        return self._opened

    def _open(self) -> Kept:
        with self._explanation.answering(self._explanation.ask(f"open the {self.what}", _nothing)):
            return self._opening()

    def _put(self, between: Between) -> None:
        put_between = getattr(self._opened, "put_between", None)
        if put_between is not None:
            put_between(between)

    def _asked(
        self,
        what: str,
        question: Callable[[Kept], Answer],
        *,
        count: Callable[[Answer], int] | None = None,
        query: RunQuery | BestQuery | None = None,
    ) -> Answer:
        inner = self._inner()
        asking = self._ask(what, query)
        with self._explanation.answering(asking):
            answer = question(inner)
        if count is not None:
            self._explanation.found(asking, count(answer))
        return answer

    def _streamed(
        self, what: str, question: Callable[[Kept], Iterable[Item]], query: RunQuery | None = None
    ) -> Iterator[Item]:
        inner = self._inner()
        asking = self._ask(what, query)
        with self._explanation.answering(asking):
            items = iter(question(inner))
        self._explanation.found(asking, 0)
        return self._passed_on(asking, items)

    def _passed_on(self, asking: Asking, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; the time that their reader takes between two of them is not the store's."""
        while True:
            with self._explanation.answering(asking):
                try:
                    item = next(items)
                except StopIteration:
                    return
            self._explanation.found(asking, 1)
            yield item

    def _ask(self, what: str, query: RunQuery | BestQuery | None) -> Asking:
        between = self._between
        return self._explanation.ask(what, _nothing if query is None else lambda steps: between.plan(query, steps))


class ExplainedStore(Explained[TrackingStore]):
    """See :class:`~agentnn.stores.base.TrackingStore`."""

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._asked("list the experiments", lambda store: store.list_experiments(view), count=len)

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        by = "name" if experiment_id is None else "id"
        return self._asked(
            f"find an experiment by its {by}",
            lambda store: store.find_experiment(name=name, experiment_id=experiment_id),
            count=_one_or_none,
        )

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._streamed("search the runs", lambda store: store.search_runs(query), query)

    def search_run_ids(self, query: RunQuery) -> Iterator[str]:
        """See :class:`~agentnn.stores.base.FindsIds`."""
        return self._streamed("search the runs for their ids", lambda store: search_run_ids(store, query), query)

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = query._replace(order_by=(), limit=None)
        return self._asked("count the runs", lambda store: store.count_runs(query), query=scope)

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._asked("read runs by their ids", lambda store: store.find_runs(run_ids), count=len)

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._asked(
            f"find the best runs by {query.metric}",
            lambda store: store.best_runs(query),
            count=lambda best: len(best.candidates),
            query=query,
        )

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        scope = query._replace(order_by=(), limit=None)
        return self._asked(
            f"list the names of {kind}s", lambda store: store.field_keys(kind, query), count=len, query=scope
        )

    def has_field(self, field: Field, query: RunQuery) -> bool:
        """See :class:`~agentnn.stores.base.FindsFields`."""
        return self._asked(f"see whether any run has {field}", lambda store: has_field(store, field, query))

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._asked(f"read the history of {key}", lambda store: store.metric_history(run_id, key), count=len)

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._streamed("read histories", lambda store: store.metric_histories(runs, keys))

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._asked("list files of a run", lambda store: store.list_artifacts(run, path), count=len)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._asked("find the files of a run", lambda store: store.run_files(run))


class ExplainedRegistry(Explained[ModelRegistry]):
    """See :class:`~agentnn.stores.base.ModelRegistry`."""

    what = "registry"

    def list_models(self) -> list[RegisteredModel]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._asked("list the models", lambda one: one.list_models(), count=len)

    def find_model(self, name: str) -> RegisteredModel | None:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._asked("find a model by its name", lambda one: one.find_model(name), count=_one_or_none)

    def list_model_versions(self, name: str) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._asked("list the versions of a model", lambda one: one.list_model_versions(name), count=len)

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[ModelVersion]:
        """See :class:`~agentnn.stores.base.ModelRegistry`."""
        return self._asked("list the versions of runs", lambda one: one.versions_of_runs(run_ids), count=len)


def _nothing(_: Sequence[Step]) -> Plan:
    return Plan()


def _one_or_none(found: object) -> int:
    return int(found is not None)
