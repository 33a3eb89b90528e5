"""The first runs of an order that a server makes, asked so that it has little to sort.

Who sorts by a metric wants those first that have a value. Only these are asked for, which spares a database that was
never analysed what takes minutes; see :func:`~agentnn.stores.rest.pushdown.with_index`. The others follow where there
are not enough: -infinity, NaN, and last what has no value at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentnn.query.evaluation import matches, sorted_runs
from agentnn.stores.rest.pushdown import LIMIT, NO_VALUE, metric_name, number, pushed_order, with_index
from agentnn.stores.rest.searching import PAGE, Refused, matching, or_refused, runs_in_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentnn.query.runs import OrderBy, RunQuery
    from agentnn.records import Run
    from agentnn.stores.rest.searching import Scope
    from agentnn.stores.rest.transport import Transport

_FEW = 20


def first_in_order(transport: Transport, query: RunQuery, scope: Scope) -> list[Run] | None:
    """The first runs of an order; ``None`` where the server can't make it, or makes another one."""
    terms = pushed_order(query.order_by)
    if terms is None or query.limit is None:
        return None
    try:
        if query.order_by[0].field.kind != "metric":
            return _asked(transport, query, scope, terms)
        return _by_values(_Values(transport, query, scope, query.order_by[0]), terms)
    except Refused:
        return None


def _by_values(values: _Values, terms: list[str]) -> list[Run] | None:
    query = values.query
    found = _asked(values.transport, query, values.scope_of_best(), terms)
    if found is None:
        return None
    numbered = [run for run in found if not math.isnan(run.metrics.get(values.key.field.key, math.nan))]
    if len(numbered) >= (query.limit or 0):
        return found
    return values.with_the_rest() if len(query.order_by) == 1 else _asked(values.transport, query, values.scope, terms)


class _Values:
    """Runs by what they have of a metric."""

    def __init__(self, transport: Transport, query: RunQuery, scope: Scope, key: OrderBy) -> None:
        self.transport = transport
        self.query = query
        self.scope = scope
        self.key = key
        self._name = metric_name(key.field.key)

    def scope_of_best(self) -> Scope:
        """Where the first ones are, if as many as are wanted have a number."""
        better, sign = ("<", "") if self.key.ascending else (">", "-")
        pushed = self.scope.filter
        if any(one.startswith(f"{self._name} ") for one in pushed.conditions):
            return self._where()
        bound = None if pushed.is_light else self._bound()
        return self._where(
            f"{self._name} {better} {sign}{LIMIT}" if bound is None else f"{self._name} {better}= {number(bound)}"
        )

    def with_the_rest(self) -> list[Run]:
        """All that have a value, in order, and behind them as many others as are wanted."""
        key, limit = self.key.field.key, self.query.limit or 0
        having = self._where(f"{self._name} != {NO_VALUE}")
        pages = or_refused(runs_in_pages(self.transport, having, having.question(PAGE)), having)
        valued = (run for page in pages for run in page if key in run.metrics and matches(self.query.filter, run))
        found = sorted_runs(valued, self.query.order_by)[:limit]
        if len(found) < limit:
            found += self._without(key, limit - len(found))
        return found

    def _without(self, key: str, limit: int) -> Iterator[Run]:
        others = (run for run in matching(self.transport, self.query, self.scope) if key not in run.metrics)
        for _, run in zip(range(limit), others, strict=False):
            yield run

    def _bound(self) -> float | None:
        """A value that enough runs reach; no index will help the sort of what the filter leaves over."""
        limit = self.query.limit or 0
        having = self._where(f"{self._name} != {NO_VALUE}")
        question = having.question(min(max(_FEW, 2 * limit), PAGE))
        page = next(or_refused(runs_in_pages(self.transport, having, question), having), [])
        runs = sorted_runs((run for run in page if matches(self.query.filter, run)), self.query.order_by)
        last = runs[limit - 1].metrics.get(self.key.field.key, math.nan) if len(runs) >= limit else math.nan
        return last if math.isfinite(last) else None

    def _where(self, *conditions: str) -> Scope:
        return self.scope._replace(filter=with_index(self.scope.filter).and_also(*conditions))


def _asked(transport: Transport, query: RunQuery, scope: Scope, terms: list[str]) -> list[Run] | None:
    """What the server says are the first ones."""
    limit = query.limit or 0
    question = scope.question(min(limit, PAGE), order_by=tuple(terms))
    found: list[Run] = []
    for page in or_refused(runs_in_pages(transport, scope, question), scope, has_order=True):
        found += [run for run in page if matches(query.filter, run)]
        if len(found) >= limit:
            break
    in_order = sorted_runs(found, query.order_by)
    return found[:limit] if [id(run) for run in in_order] == [id(run) for run in found] else None
