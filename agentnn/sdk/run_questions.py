"""Questions about experiments and runs."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, overload

from agentnn.errors import UsageError
from agentnn.query.comparison import Comparison, compare
from agentnn.query.expressions import Field, fields_of
from agentnn.query.runs import OrderBy, RunQuery
from agentnn.query.selection import AGGREGATES, MODES, BestQuery, verdicts
from agentnn.query.selectors import find_experiment, nearest, no_run_qualifies, not_found
from agentnn.records import Run
from agentnn.sdk.store_access import Experiments, StoreAccess
from agentnn.stores.base import has_field, search_run_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.runs import FieldKind, View
    from agentnn.query.selection import Aggregate, BestRun, Mode, Tally
    from agentnn.records import Artifact, Experiment, Metric

MAX_COMPARED = 1000
_KINDS: dict[str, FieldKind] = {"metrics": "metric", "params": "param", "tags": "tag"}


class RunQuestions(StoreAccess):
    """The half of :class:`~agentnn.sdk.nn_models.ModelManager` that asks about experiments and runs."""

    def list_experiments(self, *, view: View = "active") -> list[Experiment]:
        """The experiments, newest first."""
        return self._store.list_experiments(view)

    def get_experiment(self, name_or_id: str | int) -> Experiment:
        """One experiment by its name or, when none has that name, by its id; deleted ones are found too.

        Raises:
            NotFoundError: There is none; the error offers the nearest names.
        """
        return find_experiment(str(name_or_id), self._store)

    def count_runs(self, experiment: Experiments = None, *, view: View = "active") -> dict[str, int]:
        """How many runs there are, by status.

        Args:
            experiment: One experiment or several, by name or id; every active one without.
            view: ``active``, ``deleted`` or ``all``.

        Raises:
            NotFoundError: There is no such experiment.
        """
        return self._store.count_runs(self._scope(experiment, None, view))

    def list_runs(
        self,
        experiment: Experiments = None,
        *,
        filter: str | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = 100,
        view: View = "active",
    ) -> list[Run]:
        """Runs, the newest first unless ``order_by`` says otherwise.

        Args:
            experiment: One experiment or several, by name or id.
            filter: An expression such as ``"metrics.loss < 0.1 AND params.optimizer = 'adam'"``; see
                :mod:`agentnn.query.filters`.
            order_by: Sort keys such as ``"metrics.loss ASC"``. Missing values come last, NaN just before them.
            limit: At most so many; ``None`` or 0 for all, there is no silent limit.
            view: ``active``, ``deleted`` or ``all``.

        Raises:
            FilterError: The filter or a sort key is wrong.
            NotFoundError: There is no such experiment, or no run has the metric, param or tag to sort by.
        """
        return list(self.iter_runs(experiment, filter=filter, order_by=order_by, limit=limit, view=view))

    def iter_runs(
        self,
        experiment: Experiments = None,
        *,
        filter: str | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        view: View = "active",
    ) -> Iterator[Run]:
        """Like :meth:`list_runs`, one run after the other, so that memory does not grow with their number.

        The store may change while they are gone through, and nobody who writes is held up. Of a database no run comes
        twice, and none is left out that was there all the time; a server's pages may shift.
        """
        scope = self._scope(experiment, filter, view)
        query = _ordered(scope, order_by, limit)
        if query.limit and query.order_by:
            return self._first_runs(query, scope)
        self._check_sort_keys(query.order_by, scope)
        return self._store.search_runs(query)

    def iter_run_ids(
        self,
        experiment: Experiments = None,
        *,
        filter: str | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        view: View = "active",
    ) -> Iterator[str]:
        """The ids of the runs that :meth:`iter_runs` gives; a SQLite store tells them without reading the runs."""
        scope = self._scope(experiment, filter, view)
        query = _ordered(scope, order_by, limit)
        self._check_sort_keys(query.order_by, scope)
        return search_run_ids(self._store, query)

    def _first_runs(self, query: RunQuery, scope: RunQuery) -> Iterator[Run]:
        """The runs of a query with a limit; who comes first has what is sorted by, if any run has it."""
        from agentnn.query.evaluation import field_values  # most questions want no order

        _refuse_data_sets(query.order_by)
        found = self._store.search_runs(query)
        first = next(found, None)
        unseen = [key for key in query.order_by if first is None or not field_values(key.field, first)]
        self._check_sort_keys(unseen, scope)
        return found if first is None else chain((first,), found)

    def get_run(self, run: str, *, experiment: Experiments = None, view: View = "active") -> Run:
        """The one run that a selector names; a full id is found wherever it is, deleted runs included.

        Args:
            run: The selector; see :class:`~agentnn.sdk.nn_models.ModelManager`.
            experiment: Where names and ``@…`` are looked for: one experiment or several; everywhere without one.
            view: ``active``, ``deleted`` or ``all``: which runs a name or a beginning of an id may mean.

        Raises:
            NotFoundError: No run answers to the selector, or more than one does.
        """
        return self._find_run(run, self._scope(experiment, None, view))

    def get_run_summary(self, run: str, *, experiment: Experiments = None) -> dict[str, Any]:
        """A run as a plain dict: ``run_id``, ``status``, ``metrics``, ``params``, ``tags``.

        Args:
            run: The run's selector.
            experiment: Where the selector is looked for; everywhere without one.

        Returns:
            Metrics are floats, NaN and infinities as they are; params and tags are strings.

        Raises:
            NotFoundError: No run answers to the selector, or more than one does.
        """
        found = self.get_run(run, experiment=experiment)
        return {
            "run_id": found.run_id,
            "status": found.status,
            "metrics": dict(found.metrics),
            "params": dict(found.params),
            "tags": dict(found.tags),
        }

    @overload
    def get_best_run(
        self, metric: str, mode: Mode | None = ..., experiment: Experiments = ..., filter: str | None = ...,
        top: Literal[1] = ..., *, aggregate: Aggregate = ..., include_unfinished: bool = ...,
        include_children: bool = ..., tally: Tally = ..., use_cache: bool = ...,
    ) -> BestRun: ...  # fmt: skip

    @overload
    def get_best_run(
        self, metric: str, mode: Mode | None = ..., experiment: Experiments = ..., filter: str | None = ...,
        top: int = ..., *, aggregate: Aggregate = ..., include_unfinished: bool = ...,
        include_children: bool = ..., tally: Tally = ..., use_cache: bool = ...,
    ) -> BestRun | list[BestRun]: ...  # fmt: skip

    def get_best_run(
        self,
        metric: str,
        mode: Mode | None = None,
        experiment: Experiments = None,
        filter: str | None = None,
        top: int = 1,
        *,
        aggregate: Aggregate = "last",
        include_unfinished: bool = False,
        include_children: bool = True,
        tally: Tally = False,
        use_cache: bool = True,
    ) -> BestRun | list[BestRun]:
        """The best run by a metric: a :class:`Run` whose ``best`` says by what value and by what margin it won.

        Only a finite value can win. Ties go to the later start, then to the smaller run id.

        Args:
            metric: The metric's name, as it was logged.
            mode: ``max`` or ``min``; what the project declares of the metric, or else ``max``, when it is left out.
            experiment: One experiment or several, by name or id.
            filter: Which runs take part; see :meth:`list_runs`.
            top: With more than 1, a list of so many runs, the best first.
            aggregate: Which value of a run counts: the ``last``, or ``min``, ``max``, ``mean``, ``first`` of all.
            include_unfinished: Whether runs that are running, failed or killed take part.
            include_children: Whether nested runs take part.
            tally: Whether to count what took part and what was left out, and why. ``"cheap"`` leaves it out where it
                would take long, as with a server of many runs: ``considered`` and ``excluded`` are ``None`` then.
            use_cache: With an ``aggregate`` other than ``last``, a server's histories of runs that have ended are not
                read a second time: what they come to is kept in a file of the user's own, as long as nothing that the
                server says of the run has changed. ``False`` reads all, and keeps nothing; so it is with
                ``AGENTNN_CACHE_MB=0``. See :mod:`agentnn.stores.history_cache` for what a server does not say.

        Raises:
            NotFoundError: No run qualifies; the error offers the nearest names of metrics.
        """
        mode = self.default_mode(metric) if mode is None else mode
        _check_choice("mode", mode, MODES)
        _check_choice("aggregate", aggregate, AGGREGATES)
        if top < 1:
            raise UsageError(f"top is {top}; it must be at least 1")
        scope = self._scope(experiment, filter, "active")
        query = BestQuery(metric, mode, aggregate, scope, top, include_unfinished, include_children, tally, use_cache)
        ranked = verdicts(query, self._store.best_runs(query))
        if not ranked:
            raise no_run_qualifies(query, self._store)
        return ranked[0] if top == 1 else ranked

    def compare_runs(self, runs: Sequence[str], *, experiment: Experiments = None) -> Comparison:
        """Runs side by side; values are compared as what they mean, so ``1e-05`` and ``0.00001`` are the same.

        Args:
            runs: 2 to 1000 selectors.
            experiment: Where names and ``@`` selectors are looked for.

        Raises:
            UsageError: Too few or too many runs.
            NotFoundError: A selector names no run, or more than one.
        """
        if not 2 <= len(runs) <= MAX_COMPARED:
            raise UsageError(f"{len(runs)} runs can't be compared; 2 to {MAX_COMPARED} can")
        scope = self._scope(experiment, None, "active")
        return compare([self._find_run(one, scope) for one in runs])

    def get_metric_history(self, run: str | Run, metric: str, *, experiment: Experiments = None) -> list[Metric]:
        """Every logged value of a metric, by (step, timestamp); empty when the run does not have it.

        Args:
            run: A run, or its selector.
            metric: The metric's name.
            experiment: Where the selector is looked for; everywhere without one.

        Raises:
            NotFoundError: No run answers to the selector, or more than one does.
        """
        found = run if isinstance(run, Run) else self.get_run(run, experiment=experiment)
        return self._store.metric_history(found.run_id, metric)

    def get_metric_histories(self, run: str, *, experiment: Experiments = None) -> dict[str, list[Metric]]:
        """The history of every metric of a run, by the metric's name.

        Args:
            run: The run's selector.
            experiment: Where the selector is looked for; everywhere without one.

        Raises:
            NotFoundError: No run answers to the selector, or more than one does.
        """
        return self._histories_of(self.get_run(run, experiment=experiment))

    def list_artifacts(self, run: str, path: str = "", *, experiment: Experiments = None) -> list[Artifact]:
        """The files and folders directly under a path of a run; the models that it logged are among them.

        Args:
            run: The run's selector.
            path: A folder of the run; its topmost one without.
            experiment: Where the selector is looked for; everywhere without one.

        Raises:
            NotFoundError: There is no such folder.
            UnsafeError: The path leaves the run's folder.
        """
        return self._store.list_artifacts(self.get_run(run, experiment=experiment), path)

    def list_field_keys(self, kind: FieldKind, experiment: Experiments = None) -> list[str]:
        """The names of the metrics, params or tags that active runs have, sorted.

        Args:
            kind: ``metric``, ``param`` or ``tag``.
            experiment: One experiment or several, by name or id; every active one without.
        """
        return self._store.field_keys(kind, self._scope(experiment, None, "active"))

    def find_unknown_fields(
        self, filter: str | None = None, columns: Sequence[str] = (), experiment: Experiments = None
    ) -> dict[str, tuple[str, ...]]:
        """The metrics, params and tags that are named somewhere but that no run has, with the nearest names of others.

        An answer that is empty because of a typing error looks like any other empty answer.

        Args:
            filter: A filter that names fields.
            columns: Columns such as ``metrics.loss``.
            experiment: Where to look; active and deleted runs count.
        """
        scope = self._scope(experiment, filter, "all")
        named = fields_of(scope.filter)
        named += [Field(_KINDS[kind], key) for kind, _, key in (column.partition(".") for column in columns)]
        unknown: dict[str, tuple[str, ...]] = {}
        everywhere = scope._replace(filter=None)
        for kind in ("metric", "param", "tag"):
            missing = [one for one in named if one.kind == kind and not has_field(self._store, one, everywhere)]
            known = self._store.field_keys(kind, everywhere) if missing else []
            unknown |= {str(field): nearest(field.key, known) for field in missing}
        return unknown

    def _check_sort_keys(self, order: Sequence[OrderBy], scope: RunQuery) -> None:
        """Refuse to sort by what no run has: the answer would look sorted and would not be.

        https://github.com/mlflow/mlflow/issues/5341
        """
        _refuse_data_sets(order)
        for key in order:
            kind = key.field.kind
            if kind == "attribute" or kind == "dataset":  # noqa: PLR1714 - it tells the type checker what is left
                continue
            everywhere = RunQuery(scope.experiment_ids, view=scope.view)
            if has_field(self._store, key.field, everywhere):
                continue
            if next(self._store.search_runs(everywhere._replace(limit=1)), None) is not None:
                known = self._store.field_keys(kind, everywhere)
                raise not_found(kind, key.field.key, known, listing="agentnn run list")


def _check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"{what} is {value!r}", hint=f"one of {', '.join(choices)}")


def _refuse_data_sets(order: Sequence[OrderBy]) -> None:
    for key in order:
        if key.field.kind == "dataset":
            raise UsageError(f"runs can't be sorted by {key.field}", hint="by a metric, a param, a tag or an attribute")


def _ordered(scope: RunQuery, order_by: str | Sequence[str] | None, limit: int | None) -> RunQuery:
    keys = [order_by] if isinstance(order_by, str) else list(order_by or ())
    return scope._replace(order_by=_parsed_order(keys), limit=limit or None)


def _parsed_order(keys: Sequence[str]) -> tuple[OrderBy, ...]:
    if not keys:
        return ()
    from agentnn.query.filters import parse_order  # as for a filter: most questions have none

    return tuple(OrderBy(*parse_order(key)) for key in keys)
