"""What deleting runs takes away, and what restoring them brings back: a plan, or what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.records import iso_time
from agentnn.stores.run_changes import DELETION_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentnn.records import ModelVersion, Run
    from agentnn.settings import Settings

LIVE = ("RUNNING", "SCHEDULED")
"""Statuses of runs whose process may still log to them."""

MOST_IN_A_COMMAND = 20
"""So many runs are named by their ids in the command that undoes a deletion; more get a tag by which they are found."""


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """A deletion of runs.

    Attributes:
        runs: The runs that go: those that were chosen, then those that are nested in them.
        nested: The ids of those that go only because they are nested in others.
        orphans: The runs that stay though the run that they are nested in goes.
        versions: The model versions that the runs made. They stay, and stay loadable.
        already_deleted: Runs that were named and had been deleted before.
        left_out: Runs that match, but may still be logged to, or hold a nested one that may.
        undo: The words of the command that restores exactly these runs; empty when there are none.
        deleted: Whether it was done.
    """

    runs: tuple[Run, ...]
    nested: frozenset[str] = frozenset()
    orphans: tuple[Run, ...] = ()
    versions: tuple[ModelVersion, ...] = ()
    already_deleted: tuple[Run, ...] = ()
    left_out: tuple[Run, ...] = ()
    undo: tuple[str, ...] = ()
    deleted: bool = False

    @property
    def still_running(self) -> tuple[Run, ...]:
        """The runs that go though a process may still log to them."""
        return tuple(run for run in self.runs if run.status in LIVE)

    def versions_of(self, run_id: str) -> list[ModelVersion]:
        """The model versions that one of the runs made."""
        return [one for one in self.versions if one.run_id == run_id]

    def run_record(self, run: Run) -> dict[str, Any]:
        """The JSON form of a run that goes."""
        return {**run.to_dict(), "nested": run.run_id in self.nested, "deleted": self.deleted}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "deleted": self.deleted,
            "runs": [self.run_record(run) for run in self.runs],
            "orphans": [_short(run) for run in self.orphans],
            "model_versions": [one.to_dict() for one in self.versions],
            "already_deleted": [_short(run) for run in self.already_deleted],
            "left_out": [_short(run) for run in self.left_out],
            "undo": list(self.undo),
        }


@dataclass(frozen=True, slots=True)
class Restoration:
    """A restoring of runs.

    Attributes:
        runs: The runs that come back: those that were chosen, then those that are nested in them.
        nested: The ids of those that come back only because they are nested in others.
        not_deleted: Runs that were named and are not deleted.
        children_left: Deleted runs that are nested in these and stay deleted.
        deleted_parents: Runs in which some of these are nested, and which stay deleted.
        left_out: Runs that match, but whose experiment is deleted.
        restored: Whether it was done.
    """

    runs: tuple[Run, ...]
    nested: frozenset[str] = frozenset()
    not_deleted: tuple[Run, ...] = ()
    children_left: tuple[Run, ...] = ()
    deleted_parents: tuple[Run, ...] = ()
    left_out: tuple[Run, ...] = ()
    restored: bool = False

    def run_record(self, run: Run) -> dict[str, Any]:
        """The JSON form of a run that comes back."""
        return {**run.to_dict(), "nested": run.run_id in self.nested, "restored": self.restored}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "restored": self.restored,
            "runs": [self.run_record(run) for run in self.runs],
            "not_deleted": [_short(run) for run in self.not_deleted],
            "children_left": [_short(run) for run in self.children_left],
            "deleted_parents": [_short(run) for run in self.deleted_parents],
            "left_out": [_short(run) for run in self.left_out],
        }


def mark_of(run_ids: Sequence[str]) -> str | None:
    """What tells the runs of a large deletion from all others; ``None`` where their ids fit into a command.

    The same runs get the same mark, so that the plan can say how it will be undone.
    """
    import hashlib  # 2 ms, and few deletions are so large

    if len(run_ids) <= MOST_IN_A_COMMAND:
        return None
    return hashlib.sha256("".join(sorted(run_ids)).encode()).hexdigest()[:16]


def store_words(settings: Settings) -> tuple[str, ...]:
    """The options with which a command finds the same store, where only an option says which one is meant."""
    from agentnn.settings import redact

    if settings.tracking_uri_source != "option":
        return ()
    return ("--tracking-uri", redact(settings.tracking_uri, settings.secrets.values()))


def undo_words(run_ids: Sequence[str], *, root: Iterable[str] = (), scope: Iterable[str] = ()) -> tuple[str, ...]:
    """The words of the command that restores runs after their deletion.

    Args:
        run_ids: The runs.
        root: Options that stand before the group: which store.
        scope: Options that widen the search to where the runs are.
    """
    if not run_ids:
        return ()
    mark = mark_of(run_ids)
    chosen = run_ids if mark is None else ("--filter", f'tags.{DELETION_TAG} = "{mark}"', *scope, "--yes")
    return ("agentnn", *root, "run", "restore", *chosen)


def _short(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.status,
        "start_time": iso_time(run.start_time),
        "parent_run_id": run.parent_run_id,
    }
