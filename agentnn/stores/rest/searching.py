"""Runs of a server, searched: what it can do is pushed down, the rest is done here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import UsageError
from agentnn.query.evaluation import matches, sorted_runs
from agentnn.stores.rest.experiments import VIEWS, list_experiments, pages
from agentnn.stores.rest.pushdown import Pushed, pushed, pushed_order
from agentnn.stores.rest.run_records import run_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.query.runs import RunQuery
    from agentnn.records import Run
    from agentnn.stores.rest.transport import Transport

FIRST_PAGE = 200
"""Runs that are asked for first: their answer comes within a second, and is often all."""

PAGE = 1000


class Scope(NamedTuple):
    """Where a question looks, in the server's own words.

    Attributes:
        names: The names of all experiments, by id.
        experiment_ids: The experiments that are looked in.
        view: Which runs, as MLflow calls it.
        filter: What is pushed down.
    """

    names: Mapping[str, str]
    experiment_ids: tuple[str, ...]
    view: str
    filter: Pushed

    def question(self, size: int, *conditions: str, order_by: tuple[str, ...] = ()) -> dict[str, Any]:
        """A search for so many runs a page."""
        asked: dict[str, Any] = {"experiment_ids": self.experiment_ids, "run_view_type": self.view}
        asked |= {"max_results": size}
        if text := str(self.filter.and_also(*conditions)):
            asked["filter"] = text
        if order_by:
            asked["order_by"] = order_by
        return asked


def scope_of(transport: Transport, query: RunQuery) -> Scope:
    """Where a query looks: in the experiments that it names and that are there, or in all that its view means."""
    every = {one.experiment_id: one for one in list_experiments(transport, "all")}
    if query.experiment_ids is not None:
        ids = tuple(dict.fromkeys(one for one in query.experiment_ids if one in every))
    else:
        ids = tuple(key for key, one in every.items() if query.view != "active" or one.lifecycle_stage == "active")
    names = {key: one.name for key, one in every.items()}
    return Scope(names, ids, VIEWS[query.view], pushed(query.filter))


def search(transport: Transport, query: RunQuery, scope: Scope | None = None) -> Iterator[Run]:
    """The runs that a query asks for, in its order."""
    if query.limit == 0:
        return
    scope = scope or scope_of(transport, query)
    if not scope.experiment_ids:
        return
    if not query.order_by:
        found = _matching(transport, query, scope)
        yield from found if query.limit is None else _first(found, query.limit)
        return
    ordered = _ordered(transport, query, scope)
    if ordered is None:
        everything = _matching(transport, query._replace(limit=None), scope)
        ordered = sorted_runs(everything, query.order_by)[: query.limit]
    yield from ordered


def runs_in_pages(
    transport: Transport, scope: Scope, question: Mapping[str, Any], later: int | None = None
) -> Iterator[list[Run]]:
    """The runs that a question finds, page by page; what was written meanwhile shifts none of them into two pages."""
    before: set[str] = set()
    for page in pages(transport, "runs/search", question, "runs", later=later):
        runs = [run_of(one, scope.names) for one in page]
        yield [run for run in runs if run.run_id not in before]
        before = {run.run_id for run in runs}


def _matching(transport: Transport, query: RunQuery, scope: Scope) -> Iterator[Run]:
    """All that match, in MLflow's own order."""
    try:
        yield from _filtered(transport, query, scope)
    except _Refused:
        yield from _filtered(transport, query, scope._replace(filter=Pushed()))


def _filtered(transport: Transport, query: RunQuery, scope: Scope) -> Iterator[Run]:
    found = runs_in_pages(transport, scope, scope.question(min(query.limit or FIRST_PAGE, PAGE)), later=PAGE)
    for page in _or_refused(found, scope):
        for run in page:
            if matches(query.filter, run):
                yield run


def _ordered(transport: Transport, query: RunQuery, scope: Scope) -> list[Run] | None:
    """The first runs of an order that the server makes; ``None`` where it can't, or makes another one."""
    terms = pushed_order(query.order_by)
    if terms is None or query.limit is None:
        return None
    question = scope.question(min(query.limit, PAGE), order_by=tuple(terms))
    found: list[Run] = []
    try:
        for page in _or_refused(runs_in_pages(transport, scope, question), scope, has_order=True):
            found += [run for run in page if matches(query.filter, run)]
            if len(found) >= query.limit:
                break
    except _Refused:
        return None
    in_order = sorted_runs(found, query.order_by)
    return found[: query.limit] if [id(run) for run in in_order] == [id(run) for run in found] else None


class _Refused(Exception):
    """The server does not understand what was pushed down: it is older than that, or stricter."""


def _or_refused(found: Iterator[list[Run]], scope: Scope, *, has_order: bool = False) -> Iterator[list[Run]]:
    is_first = True
    while True:
        try:
            page = next(found, None)
        except UsageError as error:
            if is_first and (scope.filter.conditions or has_order):
                raise _Refused from error
            raise
        if page is None:
            return
        is_first = False
        yield page


def _first(found: Iterator[Run], limit: int) -> Iterator[Run]:
    for count, run in enumerate(found, 1):
        yield run
        if count == limit:
            return
