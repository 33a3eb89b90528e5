"""Experiments and runs of a folder of runs, found in one pass over the folders that a question is about."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.errors import CorruptDataError, StoreUnavailable
from agentnn.records import Experiment
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.mlruns.asked_runs import AskedRuns, ExperimentRuns
from agentnn.stores.mlruns.facts import PlainFiles
from agentnn.stores.mlruns.layout import TAGS, TRASH, experiment_folders, find_experiment_folder
from agentnn.stores.mlruns.reading import read_meta, read_texts
from agentnn.stores.mlruns.stored_run import StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agentnn.query.runs import RunQuery, View
    from agentnn.stores.mlruns.index import RunIndex
    from agentnn.stores.mlruns.reading import Damage


class FolderScan:
    """Looks through a folder of runs.

    Args:
        root: The folder.
        damage: Takes note of what can't be read.
        index: Knows what files have said; ``None`` to read them.
    """

    def __init__(self, root: Path, damage: Damage, index: RunIndex | None = None) -> None:
        self._root = root
        self._damage = damage
        self._index = index

    def experiments(self, view: View) -> list[Experiment]:
        """The experiments, the newest first; a deleted one lies in the trash."""
        stages = {"active": (False,), "deleted": (True,), "all": (False, True)}[view]
        try:
            found = [
                experiment
                for deleted in stages
                for folder in experiment_folders(self._root, deleted=deleted)
                if (experiment := self._experiment(folder)) is not None
            ]
        except OSError as error:
            raise StoreUnavailable(
                f"{self._root} can't be read: {error.strerror}", hint="check its permissions"
            ) from error
        return sorted(found, key=_newest_first)

    def experiment(self, experiment_id: str) -> Experiment | None:
        """An experiment by its id."""
        folder = find_experiment_folder(self._root, experiment_id) if is_experiment_id(experiment_id) else None
        return None if folder is None else self._experiment(folder)

    def folder_of(self, experiment_id: str) -> Path | None:
        """The folder of an experiment."""
        return find_experiment_folder(self._root, experiment_id)

    @contextmanager
    def asked(self, query: RunQuery, *, indexed: bool = True) -> Iterator[AskedRuns]:
        """The runs of the experiments that a query is about.

        Args:
            query: What is asked.
            indexed: Whether an index may answer; what it has not known is kept when nothing fails.
        """
        if query.experiment_ids is None:
            experiments: Iterable[Experiment | None] = self.experiments("active" if query.view == "active" else "all")
        else:
            experiments = map(self.experiment, dict.fromkeys(query.experiment_ids))
        places = [
            (str(folder), one)
            for one in experiments
            if one is not None and (folder := self.folder_of(one.experiment_id)) is not None
        ]
        index = self._index if indexed else None
        asked = AskedRuns([ExperimentRuns(*place, index, self._damage) for place in places], query.view)
        yield asked
        asked.keep()

    def run(self, run_id: str, experiments: Iterable[Experiment]) -> StoredRun | None:
        """A run by its id.

        Raises:
            CorruptDataError: It is damaged.
        """
        for experiment in experiments:
            folder = self.folder_of(experiment.experiment_id)
            if folder is None:
                continue
            run = StoredRun.read(str(folder), run_id, experiment, PlainFiles(str(folder)), self._damage)
            if run is not None:
                return run
        return None

    def _experiment(self, folder: Path) -> Experiment | None:
        try:
            meta = read_meta(str(folder))
        except CorruptDataError as error:
            self._damage.tell(error.message)
            return None
        if meta is None or str(meta.get("experiment_id")) != folder.name:
            return None
        stage = str(meta.get("lifecycle_stage") or ("deleted" if folder.parent.name == TRASH else "active"))
        return Experiment(
            folder.name,
            str(meta.get("name")),
            stage,
            meta.get("artifact_location"),
            meta.get("creation_time"),
            meta.get("last_update_time"),
            read_texts(f"{folder}/{TAGS}", None, self._damage),
        )


def _newest_first(one: Experiment) -> tuple[float, bool, int, str]:
    """MLflow's order of experiments: the newest first, then by id; numbers as numbers, before all other names."""
    born = math.inf if one.creation_time is None else -one.creation_time
    is_number = is_experiment_id(one.experiment_id)
    return born, not is_number, int(one.experiment_id) if is_number else 0, one.experiment_id
