"""The runs that are nested in others, on a server.

MLflow's search has no OR, and no IN for a tag. So each run is asked about by itself, over a few connections; or all
nested runs that there are are read and looked through, where that takes less time. How long a question takes depends on
the server's database and on the way there, so it is measured.
"""

from __future__ import annotations

import math
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.query.evaluation import natural_order
from agentnn.query.expressions import Comparison, Field
from agentnn.query.runs import RunQuery
from agentnn.records import PARENT_TAG
from agentnn.stores.rest.counting import CannotCount, is_more_than
from agentnn.stores.rest.pushdown import pushed
from agentnn.stores.rest.searching import FIRST_PAGE, PAGE, Refused, matching, or_refused, runs_in_pages, scope_of
from agentnn.stores.rest.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.query.runs import View
    from agentnn.records import Run
    from agentnn.stores.rest.searching import Scope
    from agentnn.stores.rest.transport import Transport

_MEASURED = 2
"""Questions whose time is taken; the first one may have to wait for a connection, or for what is on a disk."""

_FEW = 4
"""Further questions that are asked without a look at how many runs are nested at all."""

_READING_S = 0.0025
"""Twice as long as a server takes to tell of one of many runs, since the questions are asked side by side."""

_NESTED = Field("tag", PARENT_TAG)


def nested_in(transport: Transport, parents: Sequence[str], view: View) -> list[Run]:
    """The runs that are nested directly in some, as MLflow orders runs.

    Args:
        transport: The server.
        parents: The ids of the runs in which they are nested.
        view: Which runs; ``active`` means those of active experiments.
    """
    wanted = [one for one in dict.fromkeys(parents) if one.isascii() and one.isalnum()]
    every = RunQuery(filter=Comparison(_NESTED, "IS NOT NULL"), view=view)
    scope = scope_of(transport, every)
    if not wanted or not scope.experiment_ids:
        return []
    try:
        found = _asked_one_by_one(transport, wanted, scope, view)
    except Refused:  # a server that does not search by such a tag
        found = None
    if found is None:
        inside = set(wanted)
        return [run for run in matching(transport, every, scope) if run.parent_run_id in inside]
    return sorted(found, key=natural_order)


def _asked_one_by_one(transport: Transport, parents: Sequence[str], scope: Scope, view: View) -> list[Run] | None:
    """The same by a question a run; ``None`` where it is sooner to read all nested runs.

    Raises:
        Refused: The server does not understand the question.
    """
    ask = partial(_nested_in_one, scope=scope, view=view)
    found: list[Run] = []
    quickest = math.inf
    for parent in parents[:_MEASURED]:
        began = monotonic()
        found += ask(transport, parent)
        quickest = min(quickest, monotonic() - began)
    others = parents[_MEASURED:]
    if len(others) > _FEW and not _are_many(transport, scope, int(len(others) * quickest / _READING_S)):
        return None
    for runs in side_by_side(transport, others, ask):
        found += runs
    return found


def _are_many(transport: Transport, scope: Scope, number: int) -> bool:
    """Whether a store has more nested runs than a number."""
    try:
        return is_more_than(transport, scope, number)
    except (CannotCount, UsageError):
        return True


def _nested_in_one(transport: Transport, parent: str, *, scope: Scope, view: View) -> list[Run]:
    inside = RunQuery(filter=Comparison(_NESTED, "=", parent), view=view)
    narrow = scope._replace(filter=pushed(inside.filter))
    pages = runs_in_pages(transport, narrow, narrow.question(FIRST_PAGE), PAGE)
    return [run for page in or_refused(pages, narrow) for run in page if run.parent_run_id == parent]
