"""Which runs are exported, and in which order: the same wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentnn.errors import ConflictError
from agentnn.query.runs import RunQuery
from agentnn.transfer.identity import original_id
from agentnn.transfer.layout import run_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.records import Run
    from agentnn.stores.base import TrackingStore


@dataclass(frozen=True, slots=True)
class Planned:
    """What has to be known of every run at once, to bring them into order."""

    run_id: str
    original: str
    parent: str | None
    start: int

    @classmethod
    def of(cls, run: Run) -> Planned:
        """What has to be known of a run."""
        return cls(run.run_id, original_id(run), run.parent_run_id, run.start_time or 0)


def chosen_runs(store: TrackingStore, scope: RunQuery, named: Sequence[Run]) -> list[Planned]:
    """The named runs, or else those in scope, each once."""
    chosen = named or store.search_runs(scope)
    return list({run.run_id: Planned.of(run) for run in chosen}.values())


def with_children(store: TrackingStore, scope: RunQuery, named: Sequence[Run]) -> list[Planned]:
    """The chosen runs and all that are nested in them, in the same experiments."""
    chosen = {one.run_id: one for one in chosen_runs(store, scope, named)}
    if not chosen or (not named and scope.filter is None):
        return list(chosen.values())
    experiments = tuple({run.experiment_id for run in named}) if named else scope.experiment_ids
    deleted = any(run.lifecycle_stage == "deleted" for run in named)
    everywhere = RunQuery(experiments, view="all" if deleted else scope.view)
    nested: dict[str, list[Planned]] = {}
    for run in store.search_runs(everywhere):
        if run.parent_run_id is not None:
            nested.setdefault(run.parent_run_id, []).append(Planned.of(run))
    waiting = list(chosen)
    while waiting:
        for child in nested.get(waiting.pop(), ()):
            if child.run_id not in chosen:
                chosen[child.run_id] = child
                waiting.append(child.run_id)
    return list(chosen.values())


def in_order(runs: Sequence[Planned]) -> list[Planned]:
    """By start, then by first id, a parent just before its children: the same order wherever the runs are."""
    by_id = {one.run_id: one for one in runs}
    nested: dict[str | None, list[Planned]] = {}
    for one in sorted(runs, key=lambda one: (one.start, one.original)):
        nested.setdefault(one.parent if one.parent in by_id else None, []).append(one)
    found: dict[str, Planned] = {}

    def take(tops: Sequence[Planned]) -> None:
        waiting = list(reversed(tops))
        while waiting:
            one = waiting.pop()
            if one.run_id not in found:
                found[one.run_id] = one
                waiting += reversed(nested.get(one.run_id, ()))

    take(nested.get(None, ()))
    take(sorted(runs, key=lambda one: (one.start, one.original)))  # runs that are nested in each other
    return list(found.values())


def check_ids(planned: Sequence[Planned]) -> None:
    """See that each run has a folder of its own.

    Raises:
        ConflictError: One run is there twice, since it was imported twice.
    """
    seen: dict[str, str] = {}
    for one in planned:
        run_folder(one.original)
        other = seen.setdefault(one.original, one.run_id)
        if other != one.run_id:
            raise ConflictError(
                f"the runs {other} and {one.run_id} are the same one, imported twice", hint="delete one of them"
            )
