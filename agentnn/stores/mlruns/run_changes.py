"""Deleting, restoring and tagging runs of MLflow's file store, straight in its folders, file by whole file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, NotFoundError
from agentnn.stores.mlruns.experiment_folder import read_experiment
from agentnn.stores.mlruns.layout import find_experiment_folder
from agentnn.stores.mlruns.names import check_tags
from agentnn.stores.mlruns.writer import MlrunsWriter
from agentnn.stores.run_changes import DELETION_TAG, deleted_experiment, say_how_far

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.records import Run
    from agentnn.settings import Settings
    from agentnn.stores.mlruns.run_folder import RunFolder


class MlrunsRunChanges:
    """Changes runs of a folder of runs; see :class:`~agentnn.stores.run_changes.RunChanges`.

    Args:
        settings: Name the folder.

    Raises:
        UsageError, StoreUnavailable: See :class:`~agentnn.stores.mlruns.writer.MlrunsWriter`.
    """

    def __init__(self, settings: Settings) -> None:
        self._writer = MlrunsWriter(settings)

    def delete(self, runs: Sequence[Run], mark: str | None = None) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(run: RunFolder) -> None:
            if not run.is_deleted:
                run.set_tags({} if mark is None else {DELETION_TAG: mark})
                run.delete()

        self._for_each(runs, change, "deleted")

    def restore(self, runs: Sequence[Run]) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        for experiment_id in dict.fromkeys(run.experiment_id for run in runs):
            folder = find_experiment_folder(self._writer.root, experiment_id)
            experiment = None if folder is None else read_experiment(folder)
            if experiment is not None and experiment.is_deleted:
                raise deleted_experiment(str(experiment.meta.get("name")))

        def change(run: RunFolder) -> None:
            run.restore()
            run.drop_tag(DELETION_TAG)

        self._for_each(runs, change, "restored")

    def tag(self, runs: Sequence[Run], tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        check_tags(tags)

        def change(run: RunFolder) -> None:
            run.check_is_active()
            run.set_tags(tags)
            for key in remove:
                run.drop_tag(key)

        self._for_each(runs, change, "tagged")

    def _for_each(self, runs: Sequence[Run], change: Callable[[RunFolder], None], done_word: str) -> None:
        """Change each run; a failure says how far that came."""
        for number, run in enumerate(runs):
            try:
                self._change(run, change)
            except AgentNNError as error:
                if len(runs) > 1:
                    say_how_far(error, [one.run_id for one in runs[number:]], len(runs), done_word)
                raise

    def _change(self, run: Run, change: Callable[[RunFolder], None]) -> None:
        try:
            with self._writer.run(run.run_id) as folder:
                change(folder)
        except NotFoundError:
            raise NotFoundError(
                f"the run {run.run_id} is not in the store any more", hint="agentnn run list --view all"
            ) from None
