"""Deleting, restoring and tagging runs that are TOML files, file by file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError, NotFoundError
from agentnn.settings import toml_folder
from agentnn.stores.run_changes import DELETION_TAG, deleted_experiment, deleted_run, say_how_far
from agentnn.stores.toml.asking.runs import find_place
from agentnn.stores.toml.projects import read_project
from agentnn.stores.toml.runs.origin import change_origin, is_of_origin, split_tags
from agentnn.stores.toml.runs.run_directory import RunDirectory
from agentnn.stores.toml.runs.run_meta import drop_tag, is_deleted, mark_deleted, put_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentnn.records import Run
    from agentnn.settings import Settings


class TomlRunChanges:
    """Changes runs of a folder of projects; see :class:`~agentnn.stores.run_changes.RunChanges`.

    Args:
        settings: Name the folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._base = (toml_folder(settings.tracking_uri) or Path()).absolute()

    def delete(self, runs: Sequence[Run], mark: str | None = None) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(run: Run, config: dict[str, Any]) -> None:
            del run
            if not is_deleted(config):
                put_tags(config, {} if mark is None else {DELETION_TAG: mark})
                mark_deleted(config, True)

        self._for_each(runs, change, "deleted")

    def restore(self, runs: Sequence[Run]) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""
        for experiment_id in dict.fromkeys(run.experiment_id for run in runs):
            experiment = read_project(self._base / experiment_id)
            if experiment.lifecycle_stage != "active":
                raise deleted_experiment(experiment.name)

        def change(run: Run, config: dict[str, Any]) -> None:
            del run
            mark_deleted(config, False)
            drop_tag(config, DELETION_TAG)

        self._for_each(runs, change, "restored")

    def tag(self, runs: Sequence[Run], tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """See :class:`~agentnn.stores.run_changes.RunChanges`."""

        def change(run: Run, config: dict[str, Any]) -> None:
            if is_deleted(config):
                raise deleted_run(run.run_id)
            put_tags(config, own)
            for key in remove:
                drop_tag(config, key)

        origin, own = split_tags(tags)
        self._for_each(runs, change, "tagged")
        if origin or any(map(is_of_origin, remove)):
            for run in runs:
                change_origin(self._folder(run), lambda said: _change_tags(said, origin, remove))

    def _for_each(self, runs: Sequence[Run], change: Callable[[Run, dict[str, Any]], None], done_word: str) -> None:
        """Change the config of each run; a failure says how far that came."""
        folders = [self._folder(run) for run in runs]  # before any is changed
        for number, (run, folder) in enumerate(zip(runs, folders, strict=True)):
            try:
                RunDirectory(folder).change_config(partial(change, run))
            except AgentNNError as error:
                if len(runs) > 1:
                    say_how_far(error, [one.run_id for one in runs[number:]], len(runs), done_word)
                raise

    def _folder(self, run: Run) -> Path:
        place = find_place(self._base, run.run_id)
        if place is None:
            raise NotFoundError(
                f"the run {run.run_id} is not in the store any more", hint="agentnn run list --view all"
            )
        return place.folder


def _change_tags(tags: dict[str, str], new: Mapping[str, str], remove: Sequence[str]) -> None:
    tags.update(new)
    for key in remove:
        tags.pop(key, None)
