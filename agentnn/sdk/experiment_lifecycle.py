"""Making, renaming, tagging, deleting and restoring experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, ConflictError, StoreUnavailable, UsageError
from agentnn.query.runs import RunQuery
from agentnn.query.selectors import find_experiment
from agentnn.sdk.run_tags import LONGEST_EXPERIMENT_VALUE, checked_tags
from agentnn.sdk.store_access import StoreAccess
from agentnn.stores.run_changes import deleted_experiment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.records import Experiment
    from agentnn.sdk.experiment_change import ExperimentChange
    from agentnn.stores.experiment_changes import ExperimentChanges

_LONGEST_NAME = 256


class ExperimentLifecycle(StoreAccess):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that makes and changes experiments."""

    def create_experiment(
        self, name: str, *, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> Experiment:
        """Make an experiment; the store too, where there is none yet.

        Args:
            name: Its name.
            artifact_location: Where the files of its runs go; the store's own place otherwise.
            tags: Its tags.

        Raises:
            UsageError: The name, the location or a tag can't be kept.
            ConflictError: The name is taken, by an experiment that may be deleted.
            StoreUnavailable: The store can't be written to.
        """
        _check_name(name)
        wanted = checked_tags(tags, longest=LONGEST_EXPERIMENT_VALUE) if tags else {}
        changes = self._experiment_changes(create=True)
        _check_free(name, changes.stage_of(name))
        try:
            experiment_id = changes.create(name, artifact_location, wanted)
        except ConflictError:  # somebody else was faster
            _check_free(name, changes.stage_of(name))
            raise
        return self._reread(experiment_id)

    def rename_experiment(self, experiment: str, name: str) -> Experiment:
        """Give an experiment another name.

        Raises:
            UsageError: The name can't be kept.
            NotFoundError: There is no such experiment.
            ConflictError: The name is taken, or the experiment is deleted.
        """
        _check_name(name)
        found = self._active_experiment(experiment)
        if found.name == name:
            return found
        changes = self._experiment_changes()
        _check_free(name, changes.stage_of(name))
        changes.rename(found.experiment_id, name)
        return self._reread(found.experiment_id)

    def tag_experiment(
        self, experiment: str, tags: Mapping[str, Any] | None = None, *, remove: Sequence[str] = ()
    ) -> Experiment:
        """Set tags of an experiment, and take others off.

        Raises:
            UsageError: No tags are named, or MLflow would not keep one as it is.
            NotFoundError: There is no such experiment.
            ConflictError: The experiment is deleted, or a tag is both set and removed.
        """
        wanted = checked_tags(tags or {}, remove, longest=LONGEST_EXPERIMENT_VALUE)
        found = self._active_experiment(experiment)
        changes = self._experiment_changes()
        for key, value in wanted.items():
            changes.set_tag(found.experiment_id, key, value)
        for key in remove:
            if key in found.tags:
                changes.delete_tag(found.experiment_id, key)
        return self._reread(found.experiment_id)

    def delete_experiments(self, experiments: str | Sequence[str], *, dry_run: bool = False) -> list[ExperimentChange]:
        """Move experiments and their runs to the deleted ones. Files, models and the name stay.

        Args:
            experiments: Names or ids.
            dry_run: Change nothing, and say what would go.

        Raises:
            UsageError: None is named.
            NotFoundError: There is no such experiment; nothing is deleted then.
            StoreUnavailable: The store can't be written to; the message says which were deleted.
        """
        named = [experiments] if isinstance(experiments, str) else list(experiments)
        if not named:
            raise UsageError("which experiments are meant?", hint="agentnn experiment list")
        found = {one.experiment_id: one for one in (find_experiment(name, self._store) for name in named)}
        plans = [self._planned_deletion(one) for one in found.values()]
        if dry_run or all(one.was_done_before for one in plans):
            return plans
        changes = self._experiment_changes()
        done: list[ExperimentChange] = []
        for plan in plans:
            try:
                if not plan.was_done_before:
                    changes.delete(plan.experiment.experiment_id)
            except AgentNNError as error:
                if done:
                    error.message += f"; deleted: {', '.join(one.experiment.name for one in done if one.done)}"
                raise
            done.append(plan.carried_out())
        return done

    def restore_experiment(self, experiment: str) -> ExperimentChange:
        """Bring a deleted experiment back, and all its runs: those too that had been deleted one by one before.

        Raises:
            NotFoundError: There is no such experiment.
            ConflictError: Another experiment has its name by now.
            StoreUnavailable: The store can't be written to.
        """
        from agentnn.sdk.experiment_change import ExperimentChange

        deleted = self._store.list_experiments("deleted")
        found = next(
            (one for key in ("name", "experiment_id") for one in deleted if getattr(one, key) == experiment), None
        )
        if found is None:
            return ExperimentChange(find_experiment(experiment, self._store), {}, was_done_before=True)
        if any(one.name == found.name for one in self._store.list_experiments("active")):
            raise ConflictError(
                f"another experiment is named {found.name!r} by now", hint="agentnn experiment rename that one first"
            )
        coming = self._store.count_runs(RunQuery((found.experiment_id,), view="all"))
        self._experiment_changes().restore(found.experiment_id)
        return ExperimentChange(self._reread(found.experiment_id), coming, done=True)

    def _planned_deletion(self, experiment: Experiment) -> ExperimentChange:
        from agentnn.sdk.experiment_change import ExperimentChange

        if experiment.lifecycle_stage != "active":
            return ExperimentChange(experiment, {}, was_done_before=True)
        counts: dict[str, int] = {}
        ids = []
        for run in self._store.search_runs(RunQuery((experiment.experiment_id,))):
            counts[run.status] = counts.get(run.status, 0) + 1
            ids.append(run.run_id)
        versions = self._registry.versions_of_runs(ids) if ids else []
        deleted = self._store.count_runs(RunQuery((experiment.experiment_id,), view="deleted"))
        return ExperimentChange(experiment, counts, tuple(versions), sum(deleted.values()))

    def _active_experiment(self, name: str) -> Experiment:
        found = find_experiment(name, self._store)
        if found.lifecycle_stage != "active":
            raise deleted_experiment(found.name)
        return found

    def _reread(self, experiment_id: str) -> Experiment:
        """An experiment that was just written."""
        found = self._store.find_experiment(experiment_id=experiment_id)
        if found is None:
            raise StoreUnavailable(f"the experiment {experiment_id} was written and can't be read back")
        return found

    def _experiment_changes(self, *, create: bool = False) -> ExperimentChanges:
        from agentnn.stores.experiment_changes import open_experiment_changes

        return open_experiment_changes(self.settings, create=create)


def _check_name(name: str) -> None:
    if not name.strip():
        raise UsageError("an experiment needs a name", hint="agentnn experiment list")
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"the name has {len(name)} characters, and no store keeps more than {_LONGEST_NAME}", hint="shorten it"
        )
    if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
        raise UsageError(f"the name {name!r} is not valid Unicode text", hint="check its encoding")


def _check_free(name: str, stage: str | None) -> None:
    """Refuse a name that an experiment holds, in whatever stage that is.

    Raises:
        ConflictError: One does.
    """
    from shlex import quote

    if stage == "active":
        raise ConflictError(f"there is an experiment {name!r} already", hint=f"agentnn experiment show {quote(name)}")
    if stage is not None:
        raise ConflictError(
            f"the experiment {name!r} is deleted but still holds its name",
            hint=f"restore it: agentnn experiment restore {quote(name)}",
        )
