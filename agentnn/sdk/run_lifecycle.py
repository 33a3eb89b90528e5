"""Tagging, deleting and restoring runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentnn.errors import ConflictError
from agentnn.records import PARENT_TAG, RUN_NAME_TAG
from agentnn.sdk.run_choice import Conditions, RunChoice, check_choice, statuses_of
from agentnn.sdk.run_families import ancestors, below, find_children, find_descendants
from agentnn.sdk.run_tags import NOTE_TAG, checked_tags
from agentnn.stores.run_changes import deleted_experiment, deleted_run, open_run_changes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from agentnn.records import Run
    from agentnn.sdk.run_deletion import DeletionPlan, Restoration
    from agentnn.sdk.store_access import Experiments


class RunLifecycle(RunChoice):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that changes runs after they were logged."""

    def tag_runs(
        self,
        runs: str | Sequence[str] = (),
        tags: Mapping[str, Any] | None = None,
        *,
        remove: Sequence[str] = (),
        filter: str | None = None,
        experiment: Experiments = None,
    ) -> list[Run]:
        """Set tags of runs, and take others off; on a SQLite store all at once or not at all.

        Args:
            runs: Selectors; without them ``filter`` and ``experiment`` say which runs.
            tags: Tags to set; values become text. ``mlflow.runName`` renames a run.
            remove: Tags to take off; a run that has no such tag is left as it is.
            filter: Which runs, where no selector names them.
            experiment: Where they are.

        Returns:
            The runs with their new tags; none when none matches.

        Raises:
            UsageError: No runs or no tags are named, or MLflow would not keep a tag as it is.
            NotFoundError: Nothing answers to a selector, or more than one run does.
            ConflictError: A run is deleted; a tag is both set and removed; a run would be nested in itself.
            StoreUnavailable: The store can't be written to.
        """
        conditions = Conditions(filter, experiment)
        check_choice(runs, conditions)
        wanted = checked_tags(tags or {}, remove)
        if runs:
            found = self._named_runs(runs, experiment, "active")
            if found.others:
                raise deleted_run(found.others[0].run_id)
            chosen = found.asked
        else:
            chosen = list(self._matching_runs(conditions, "active"))
        if PARENT_TAG in wanted:
            self._refuse_cycle(chosen, wanted[PARENT_TAG])
        if chosen:
            open_run_changes(self.settings).tag(chosen, wanted, list(remove))
        return [_with_tags(run, wanted, remove) for run in chosen]

    def get_note(self, run: str, *, experiment: Experiments = None) -> str:
        """The note of a run, which MLflow shows as its description; empty when it has none.

        Raises:
            NotFoundError: Nothing answers to the selector, or more than one run does.
        """
        return self._find_run(run, self._scope(experiment, None, "active")).tags.get(NOTE_TAG, "")

    def set_note(self, run: str, text: str, *, experiment: Experiments = None) -> Run:
        """Give a run a note, in place of the one that it has; an empty one takes it off.

        Raises:
            UsageError: The note is longer than MLflow keeps.
            NotFoundError: Nothing answers to the selector, or more than one run does.
            ConflictError: The run is deleted.
        """
        change: dict[str, Any] = {"tags": {NOTE_TAG: text}} if text else {"remove": [NOTE_TAG]}
        return self.tag_runs([run], experiment=experiment, **change)[0]

    def delete_runs(
        self,
        runs: str | Sequence[str] = (),
        *,
        filter: str | None = None,
        experiment: Experiments = None,
        older_than: str | timedelta | None = None,
        status: str | Sequence[str] | None = None,
        keep_children: bool = False,
        dry_run: bool = False,
    ) -> DeletionPlan:
        """Move runs, and those that are nested in them, to the deleted ones; on a SQLite store all at once or none.

        Their files stay, and so do the model versions that they made. A run that is still running goes only when a
        selector names it, or ``status``: one that holds such a run nested in it stays as well.

        Args:
            runs: Selectors; without them the conditions say which runs.
            filter: Which runs.
            experiment: Where they are; alone, all of them.
            older_than: How long ago they must have started at least: ``30d``, ``12h``, ``2w``, ``90m`` or a timedelta.
            status: The status that they must have, or several, one of which they must have.
            keep_children: Leave the nested runs where they are, without a parent.
            dry_run: Change nothing, and say what would be done.

        Raises:
            UsageError: Neither selectors nor conditions are given, or both; or a condition is wrong.
            NotFoundError: Nothing answers to a selector, or more than one run does.
            StoreUnavailable: The store can't be written to; the message says how many runs were deleted.
        """
        from agentnn.sdk.run_deletion import LIVE, mark_of

        conditions = Conditions(filter, experiment, older_than, status)
        check_choice(runs, conditions)
        if runs:
            named = self._named_runs(runs, experiment, "active")
            plan = self._planned(named.asked, (), already_deleted=named.others, keep_children=keep_children)
        else:
            matching = list(self._matching_runs(conditions, "active"))
            asked = statuses_of(status)
            live = tuple(one for one in LIVE if one not in asked)
            plan = self._planned(matching, live, keep_children=keep_children)
        if dry_run or not plan.runs:
            return plan
        mark = mark_of([run.run_id for run in plan.runs])
        open_run_changes(self.settings).delete(plan.runs, mark)
        return replace(plan, deleted=True)

    def restore_runs(
        self,
        runs: str | Sequence[str] = (),
        *,
        filter: str | None = None,
        experiment: Experiments = None,
        with_children: bool = False,
        dry_run: bool = False,
    ) -> Restoration:
        """Bring deleted runs back; on a SQLite store all at once or none.

        Args:
            runs: Selectors, looked for among the deleted runs; without them the conditions say which.
            filter: Which of the deleted runs.
            experiment: Where they are; alone, all of them.
            with_children: Also bring back the deleted runs that are nested in them, or in runs that are named and are
                not deleted.
            dry_run: Change nothing, and say what would be done.

        Raises:
            UsageError: Neither selectors nor conditions are given, or both; or the filter is wrong.
            NotFoundError: Nothing answers to a selector, or more than one run does.
            ConflictError: The experiment of a run that is named, or the experiment that is named, is deleted.
            StoreUnavailable: The store can't be written to; the message says how many runs were restored.
        """
        conditions = Conditions(filter, experiment)
        check_choice(runs, conditions)
        gone = {one.experiment_id: one.name for one in self._store.list_experiments("deleted")}
        if runs:
            chosen, others = self._named_runs(runs, experiment, "deleted")
        else:
            chosen, others = list(self._matching_runs(conditions, "deleted")), []
        stuck = [run for run in chosen if run.experiment_id in gone]
        if stuck and (runs or experiment):
            raise deleted_experiment(gone[stuck[0].experiment_id])
        chosen = [run for run in chosen if run.experiment_id not in gone]
        done = replace(self._revived(chosen, others, with_children), not_deleted=tuple(others), left_out=tuple(stuck))
        if dry_run or not done.runs:
            return done
        open_run_changes(self.settings).restore(done.runs)
        return replace(done, restored=True)

    def _planned(
        self, chosen: Sequence[Run], live: Sequence[str], *, already_deleted: Sequence[Run] = (), keep_children: bool
    ) -> DeletionPlan:
        """What goes when these runs go, but for those whose status is one of ``live``."""
        from agentnn.sdk.run_deletion import DeletionPlan, store_words, undo_words

        going = [run for run in chosen if run.status not in live]
        ids = [run.run_id for run in going]
        find = find_children if keep_children else find_descendants
        known = set(ids)
        nested = [run for run in find(self._store, ids, "active") if run.run_id not in known]
        if not keep_children:
            held = _held_by_live(going, nested, live)
            going = [run for run in going if run.run_id not in held]
            nested = below([run.run_id for run in going], [*going, *nested])
        runs = (*going, *(() if keep_children else nested))
        gone = [run.run_id for run in runs]
        goes = set(gone)
        return DeletionPlan(
            runs,
            frozenset() if keep_children else frozenset(run.run_id for run in nested),
            tuple(nested) if keep_children else (),
            tuple(self._registry.versions_of_runs(gone)) if gone else (),
            tuple(already_deleted),
            tuple(run for run in chosen if run.run_id not in goes),
            undo_words(gone, root=store_words(self.settings), scope=self._scope_words(runs)),
        )

    def _revived(self, chosen: Sequence[Run], others: Sequence[Run], with_children: bool) -> Restoration:
        """What comes back when the chosen runs do; nested runs of others too, which are there already."""
        from agentnn.sdk.run_deletion import Restoration

        nested = find_descendants(self._store, [run.run_id for run in (*chosen, *others)], "deleted")
        runs = (*chosen, *(nested if with_children else ()))
        back = {run.run_id for run in runs}
        above = dict.fromkeys(run.parent_run_id for run in runs if run.parent_run_id)
        parents = self._store.find_runs([one for one in above if one not in back])
        return Restoration(
            runs,
            frozenset(run.run_id for run in nested) if with_children else frozenset(),
            children_left=() if with_children else tuple(nested),
            deleted_parents=tuple(run for run in parents if run.lifecycle_stage == "deleted"),
        )

    def _refuse_cycle(self, runs: Sequence[Run], parent: str) -> None:
        """Refuse to nest a run in itself, or in a run that is nested in it."""
        ids = [run.run_id for run in runs]
        inside = {*ids, *(run.run_id for run in find_descendants(self._store, ids, "all"))}
        if parent in inside:
            raise ConflictError(
                f"the run {parent} can't be the parent: it is one of these runs, or nested in one of them",
                hint=f"agentnn run show {parent}",
            )

    def _scope_words(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The options with which a filter finds these runs, where the environment would have it look elsewhere."""
        if not self.settings.experiment_name and not self.settings.experiment_id:
            return ()
        names = dict.fromkeys(run.experiment for run in runs)
        return tuple(word for name in names for word in ("-e", name))


def _held_by_live(going: Sequence[Run], nested: Sequence[Run], live: Sequence[str]) -> set[str]:
    """The ids of the runs in which one is nested, in any generation, that may still be logged to."""
    parent_of = {run.run_id: run.parent_run_id for run in (*going, *nested)}
    return {above for run in nested if run.status in live for above in ancestors(run.run_id, parent_of)}


def _with_tags(run: Run, tags: Mapping[str, str], remove: Sequence[str]) -> Run:
    kept = {key: value for key, value in run.tags.items() if key not in remove}
    return replace(run, tags={**kept, **tags}, name=tags.get(RUN_NAME_TAG, run.name))
