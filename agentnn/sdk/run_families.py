"""Runs that are nested in others, all generations of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.query.expressions import Comparison, Field
from agentnn.query.runs import RunQuery
from agentnn.records import PARENT_TAG
from agentnn.stores.base import FindsNested

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentnn.query.runs import View
    from agentnn.records import Run
    from agentnn.stores.base import TrackingStore

_CHUNK = 1000


def find_children(store: TrackingStore, parents: Sequence[str], view: View) -> list[Run]:
    """The runs that are nested directly in these, wherever they are."""
    if isinstance(store, FindsNested):
        return store.nested_in(parents, view)
    children: list[Run] = []
    for start in range(0, len(parents), _CHUNK):
        among = Comparison(Field("tag", PARENT_TAG), "IN", tuple(parents[start : start + _CHUNK]))
        children += store.search_runs(RunQuery(filter=among, view=view))
    return children


def find_descendants(store: TrackingStore, parents: Sequence[str], view: View) -> list[Run]:
    """The runs of all generations below these, without these; runs that are each other's parents end the search."""
    seen = set(parents)
    found: list[Run] = []
    generation: Sequence[str] = list(parents)
    while generation:
        children = [run for run in find_children(store, generation, view) if run.run_id not in seen]
        generation = [run.run_id for run in children]
        seen.update(generation)
        found += children
    return found


def ancestors(run_id: str, parent_of: dict[str, str | None]) -> Iterable[str]:
    """The runs above a run, as far as they are known; each comes once."""
    seen = {run_id}
    above = parent_of.get(run_id)
    while above is not None and above not in seen:
        yield above
        seen.add(above)
        above = parent_of.get(above)


def below(parents: Iterable[str], runs: Sequence[Run]) -> list[Run]:
    """Those of some runs that are nested in the given ones, in any generation and through each other."""
    roots = set(parents)
    parent_of = {run.run_id: run.parent_run_id for run in runs}
    return [run for run in runs if run.run_id not in roots and roots & set(ancestors(run.run_id, parent_of))]
