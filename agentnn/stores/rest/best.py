"""The best runs of a server, found without making it compare every run with every value.

To sort its runs by a metric takes a server seconds for ten thousand where its database was never analysed, and a
quarter of an hour for a hundred thousand, unless it is asked so that the database makes an index for that; see
:func:`~agentnn.stores.rest.pushdown.with_index`. A filter of several conditions stands in the way. Then the server is
first asked for a few runs, and, unless it was quick to answer, for a few that are no worse than the best of those; and
only what is no worse than these is sorted.

What best means is said in :mod:`agentnn.query.selection`; the contract tests hold the two together.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.query.evaluation import matches
from agentnn.query.selection import Best, Excluded, rank, why_excluded
from agentnn.records import PARENT_TAG
from agentnn.stores.rest.counting import CannotCount, count
from agentnn.stores.rest.pushdown import LIMIT, NO_VALUE, metric_name, number, with_index
from agentnn.stores.rest.searching import PAGE, runs_in_pages

if TYPE_CHECKING:
    from agentnn.query.selection import BestQuery
    from agentnn.records import Run
    from agentnn.stores.rest.searching import Scope
    from agentnn.stores.rest.transport import Transport

_FINISHED = "attributes.status = 'FINISHED'"
_FEW = 20
_QUICK_S = 0.08
"""Who has answered so soon has not many thousand runs to sort."""

_SPARE = 8
"""Runs that are asked for beyond what is wanted, to see whether there are so few that they are cheaply counted."""

_READ_RATHER_THAN_COUNTED = 100
_ZEROS = 200
"""Runs with the value 0 that are looked at, one by one: older servers count a NaN among them."""


def best_by_latest(transport: Transport, query: BestQuery, scope: Scope) -> Best | None:
    """The best by the latest values, with a tally where one is wanted; ``None`` where all runs have to be read."""
    if not scope.experiment_ids:
        return rank(query, ())
    try:
        sorting = _Sorting(transport, query, scope)
        found = sorting.best_at_once() if scope.filter.is_light else sorting.best_by_climbing()
        if found is None or query.tally is not True or found.excluded is not None:
            return found
        return Best(found.candidates, *_tally(transport, query, scope))
    except (UsageError, CannotCount):  # the server does not understand what was pushed down
        return None


class _Sorting:
    """Questions for the first runs by a metric, and for the newest ones where these may be all there are."""

    def __init__(self, transport: Transport, query: BestQuery, scope: Scope) -> None:
        self._transport = transport
        self._query = query
        self._name = metric_name(query.metric)
        few = _READ_RATHER_THAN_COUNTED if query.tally is True else _FEW
        self._size = min(max(few, 4 * query.top), PAGE)
        self._are_few = False
        self._everything = scope
        finished = () if query.include_unfinished else (_FINISHED,)
        self._judged = scope._replace(filter=with_index(scope.filter.and_also(*finished)))

    def best_at_once(self) -> Best | None:
        """The best of one sort, or ``None`` where the server can't be asked for it."""
        if self._name is None:
            return None
        found = self._sorted(self._not_infinite)
        if self._query.tally is True or (self._query.tally and self._are_few):
            newest, are_all = self._page(self._everything)
            if are_all:
                return self._best_of_all(newest)
        return found

    def best_by_climbing(self) -> Best | None:
        """The same by questions for better and better runs, of which ever fewer are left to be sorted."""
        began = time.monotonic()
        newest, are_all = self._page(self._everything)
        was_quick = time.monotonic() - began < _QUICK_S
        if are_all:
            return self._best_of_all(newest)
        if self._name is None:
            return None
        bound = self._bound(newest)
        if bound is None or not was_quick:
            runs, are_all = self._page(self._judged, *self._no_worse(bound))
            if are_all:
                return self._ranked(runs)
            better = self._bound(runs)
            bound = bound if better is None else better
        return self._sorted(*self._no_worse(bound))

    @property
    def _not_infinite(self) -> str:
        """The condition that a value is none of those that would come first, and are not the best."""
        worse, sign = ("<", "") if self._query.mode == "max" else (">", "-")
        return f"{self._name} {worse} {sign}{LIMIT}"

    def _no_worse(self, bound: float | None) -> tuple[str, str]:
        """The conditions that a value is finite, and no worse than one that is."""
        better, sign = (">", "-") if self._query.mode == "max" else ("<", "")
        least = f"{better} {sign}{LIMIT}" if bound is None else f"{better}= {number(bound)}"
        return f"{self._name} {least}", self._not_infinite

    def _bound(self, runs: list[Run]) -> float | None:
        """The least value that can be among the best, as far as some runs tell."""
        best = self._ranked(runs).candidates
        return best[-1].value if len(best) > self._query.top else None

    def _page(self, scope: Scope, *conditions: str) -> tuple[list[Run], bool]:
        """The newest runs of a kind, and whether they are all."""
        pages = runs_in_pages(self._transport, scope, scope.question(self._size, *conditions))
        first = next(pages)
        return first, len(first) < self._size and next(pages, None) is None

    def _sorted(self, *conditions: str) -> Best | None:
        order = f"{self._name} {'DESC' if self._query.mode == 'max' else 'ASC'}"
        size = min(self._query.top + 1 + (_SPARE if self._query.tally == "cheap" else 0), PAGE)
        question = self._judged.question(size, *conditions, order_by=(order,))
        found: list[Run] = []
        for page in runs_in_pages(self._transport, self._judged, question, later=PAGE):
            self._are_few = len(page) < size
            found += [run for run in page if self._qualifies(run)]
            if len(found) > self._query.top or any(map(self._is_infinite, page)):  # behind it, none is finite
                break
        best = self._ranked(found)
        in_order = [one.run.run_id for one in best.candidates]
        return best if in_order == [run.run_id for run in found[: self._query.top + 1]] else None

    def _best_of_all(self, runs: list[Run]) -> Best:
        """The best of all runs in scope, with a tally where one is wanted."""
        part = (run for run in runs if takes_part(self._query, run))
        return rank(self._query, ((run, run.metrics.get(self._query.metric)) for run in part))

    def _ranked(self, runs: list[Run]) -> Best:
        query = self._query._replace(tally=False)
        return rank(query, ((run, run.metrics.get(query.metric)) for run in runs if self._qualifies(run)))

    def _is_infinite(self, run: Run) -> bool:
        return math.isinf(run.metrics.get(self._query.metric, 0.0))

    def _qualifies(self, run: Run) -> bool:
        return takes_part(self._query, run) and (
            why_excluded(self._query, run, run.metrics.get(self._query.metric)) is None
        )


def takes_part(query: BestQuery, run: Run) -> bool:
    """Whether a run is one of those that are judged or counted."""
    return (query.include_children or PARENT_TAG not in run.tags) and matches(query.scope.filter, run)


def _tally(transport: Transport, query: BestQuery, scope: Scope) -> tuple[int, Excluded]:
    """How many runs in scope could be best, and how many could not, and why.

    Raises:
        CannotCount: They have to be read.
    """
    name = metric_name(query.metric)
    if name is None or not query.include_children or not scope.filter.is_whole:
        raise CannotCount
    every = count(transport, scope)
    judged = scope if query.include_unfinished else scope._replace(filter=scope.filter.and_also(_FINISHED))
    finished = every if query.include_unfinished else count(transport, judged, at_most=every)
    bounds = (f"{name} < {LIMIT}", f"{name} > -{LIMIT}")
    finite = count(transport, judged, *bounds, at_most=finished)
    finite -= _zeros_that_are_none(transport, query, judged, name)
    if finite == finished:
        return finite, Excluded(every - finished)
    present = count(transport, judged, f"{name} != {NO_VALUE}", at_most=finished)
    infinite = sum(
        count(transport, judged, f"{name} {end}{LIMIT}", at_most=present - finite, are_few=True)
        for end in (">= ", "<= -")
    )
    return finite, Excluded(every - finished, finished - present, present - finite - infinite, infinite)


def _zeros_that_are_none(transport: Transport, query: BestQuery, judged: Scope, name: str) -> int:
    """How many values a server takes for 0 that are NaN, which its database keeps as 0 beside a flag."""
    pages = runs_in_pages(transport, judged, judged.question(_ZEROS, f"{name} = 0"))
    zeros = next(pages)
    if next(pages, None) is not None:
        raise CannotCount
    return sum(math.isnan(run.metrics.get(query.metric, 0.0)) for run in zeros)
