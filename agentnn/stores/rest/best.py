"""The best runs of a server, found by three small questions.

A server that is asked to sort its runs by a metric takes seconds for ten thousand where its database was never
analysed, and a quarter of an hour for a hundred thousand. So it is first asked for a few runs, then, unless it was
quick to answer, for a few that are no worse than the best of those; and only what is no worse than these is sorted.

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
from agentnn.stores.rest.pushdown import LIMIT, NO_VALUE, metric_name, number
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

_READ_RATHER_THAN_COUNTED = 100
_ZEROS = 200
"""Runs with the value 0 that are looked at, one by one: older servers count a NaN among them."""


def best_by_latest(transport: Transport, query: BestQuery, scope: Scope) -> Best | None:
    """The best by the latest values, with a tally where one is wanted; ``None`` where all runs have to be read."""
    if not scope.experiment_ids:
        return rank(query, ())
    try:
        climb = _Climb(transport, query, scope)
        if climb.has_seen_all:
            return rank(query, ((run, run.metrics.get(query.metric)) for run in climb.newest if takes_part(query, run)))
        found = climb.best()
        if found is None or query.tally is not True:
            return found
        return Best(found.candidates, *_tally(transport, query, scope))
    except (UsageError, CannotCount):  # the server does not understand what was pushed down
        return None


class _Climb:
    """Questions for better and better runs, after a first one for the newest.

    Attributes:
        newest: The newest runs in scope, whatever they are.
        has_seen_all: Whether there are no others.
    """

    def __init__(self, transport: Transport, query: BestQuery, scope: Scope) -> None:
        self._transport = transport
        self._query = query._replace(tally=False)
        self._name = metric_name(query.metric)
        few = _READ_RATHER_THAN_COUNTED if query.tally is True else _FEW
        self._size = min(max(few, 4 * query.top), PAGE)
        self._scope = scope
        began = time.monotonic()
        self.newest, self.has_seen_all = self._page(())
        self._was_quick = time.monotonic() - began < _QUICK_S
        if not query.include_unfinished:
            self._scope = scope._replace(filter=scope.filter.and_also(_FINISHED))

    def best(self) -> Best | None:
        """The best, or ``None`` where the server can't be asked for better ones."""
        if self._name is None:
            return None
        bound = self._bound(self.newest)
        if bound is not None and self._was_quick:
            return self._sorted(self._conditions(bound))
        runs, are_all = self._page(self._conditions(bound))
        if are_all:
            return self._ranked(runs)
        better = self._bound(runs)
        return self._sorted(self._conditions(bound if better is None else better))

    def _bound(self, runs: list[Run]) -> float | None:
        """The least value that can be among the best, as far as some runs tell."""
        best = self._ranked(runs).candidates
        return best[-1].value if len(best) > self._query.top else None

    def _conditions(self, bound: float | None) -> tuple[str, ...]:
        """Finite values, no worse than one of them."""
        better, worse = (">", "<") if self._query.mode == "max" else ("<", ">")
        sign, other = ("-", "") if self._query.mode == "max" else ("", "-")
        least = f"{better} {sign}{LIMIT}" if bound is None else f"{better}= {number(bound)}"
        return f"{self._name} {least}", f"{self._name} {worse} {other}{LIMIT}"

    def _page(self, conditions: tuple[str, ...]) -> tuple[list[Run], bool]:
        """The newest runs of a kind, and whether they are all."""
        pages = runs_in_pages(self._transport, self._scope, self._scope.question(self._size, *conditions))
        first = next(pages)
        return first, len(first) < self._size and next(pages, None) is None

    def _sorted(self, conditions: tuple[str, ...]) -> Best | None:
        order = f"{self._name} {'DESC' if self._query.mode == 'max' else 'ASC'}"
        question = self._scope.question(min(self._query.top + 1, PAGE), *conditions, order_by=(order,))
        found: list[Run] = []
        for page in runs_in_pages(self._transport, self._scope, question, later=PAGE):
            found += [run for run in page if self._qualifies(run)]
            if len(found) > self._query.top:
                break
        best = self._ranked(found)
        in_order = [one.run.run_id for one in best.candidates]
        return best if in_order == [run.run_id for run in found[: self._query.top + 1]] else None

    def _ranked(self, runs: list[Run]) -> Best:
        return rank(self._query, ((run, run.metrics.get(self._query.metric)) for run in runs if self._qualifies(run)))

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
