"""Runs of a server, searched: what it can do is pushed down, the rest is done here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from agentnn.errors import UsageError
from agentnn.query.evaluation import matches, sorted_runs
from agentnn.stores.rest.experiments import VIEWS, list_experiments, names_of, pages
from agentnn.stores.rest.pushdown import Pushed, pushed
from agentnn.stores.rest.run_records import run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentnn.query.runs import RunQuery
    from agentnn.records import Run
    from agentnn.stores.rest.transport import Transport

    ReadRun = Callable[[Mapping[str, Any], Mapping[str, str]], Run]
    """Makes a run of what the server says of it, and of the names of experiments."""

FIRST_PAGE = 200
"""Runs that are asked for first: their answer comes within a second, and is often all."""

PAGE = 1000


class Scope(NamedTuple):
    """Where a question looks, in the server's own words.

    Attributes:
        names: The names of experiments by id, of those at least that are looked in.
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


def scope_of(transport: Transport, query: RunQuery, known: Mapping[str, str] = MappingProxyType({})) -> Scope:
    """Where a query looks: in the experiments that it names and that are there, or in all that its view means.

    Args:
        transport: The server.
        query: The query.
        known: Names of experiments, by id, that are there.
    """
    if query.experiment_ids is not None:
        names = names_of(transport, query.experiment_ids, known)
        ids = tuple(dict.fromkeys(one for one in query.experiment_ids if one in names))
    else:
        every = list_experiments(transport, "all")
        names = {one.experiment_id: one.name for one in every}
        ids = tuple(one.experiment_id for one in every if query.view != "active" or one.lifecycle_stage == "active")
    return Scope(names, ids, VIEWS[query.view], pushed(query.filter))


def search(transport: Transport, query: RunQuery, scope: Scope, read: ReadRun = run_of) -> Iterator[Run]:
    """The runs that a query asks for, in its order; without an order they may be read in another way."""
    if not scope.experiment_ids:
        return
    if not query.order_by:
        found = matching(transport, query, scope, read)
        yield from found if query.limit is None else _first(found, query.limit)
        return
    from agentnn.stores.rest.ordering import first_in_order  # most questions want no order

    ordered = first_in_order(transport, query, scope)
    if ordered is None:
        everything = matching(transport, query._replace(limit=None), scope)
        ordered = sorted_runs(everything, query.order_by)[: query.limit]
    yield from ordered


def runs_in_pages(
    transport: Transport,
    scope: Scope,
    question: Mapping[str, Any],
    later: int | None = None,
    read: ReadRun = run_of,
) -> Iterator[list[Run]]:
    """The runs that a question finds, page by page; what was written meanwhile shifts none of them into two pages."""
    before: set[str] = set()
    for page in pages(transport, "runs/search", question, "runs", later=later):
        runs = [read(one, scope.names) for one in page]
        yield [run for run in runs if run.run_id not in before]
        before = {run.run_id for run in runs}


def matching(transport: Transport, query: RunQuery, scope: Scope, read: ReadRun = run_of) -> Iterator[Run]:
    """All that match, in MLflow's own order."""
    try:
        yield from _filtered(transport, query, scope, read)
    except Refused:
        yield from _filtered(transport, query, scope._replace(filter=Pushed()), read)


def _filtered(transport: Transport, query: RunQuery, scope: Scope, read: ReadRun) -> Iterator[Run]:
    found = runs_in_pages(transport, scope, scope.question(min(query.limit or FIRST_PAGE, PAGE)), PAGE, read)
    for page in or_refused(found, scope):
        for run in page:
            if matches(query.filter, run):
                yield run


class Refused(Exception):
    """The server does not understand what was pushed down: it is older than that, or stricter."""


def or_refused(found: Iterator[list[Run]], scope: Scope, *, has_order: bool = False) -> Iterator[list[Run]]:
    """The same pages.

    Raises:
        Refused: There is not even a first one.
    """
    is_first = True
    while True:
        try:
            page = next(found, None)
        except UsageError as error:
            if is_first and (scope.filter.conditions or has_order):
                raise Refused from error
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
