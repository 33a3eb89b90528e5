"""A folder of TOML runs as a tracking store.

Files are the truth, and every question sees all that was written before it was put. Questions about many runs first
bring the index up to date, once each, which asks for the status of every file; then the reader of MLflow's tables
answers from it. Questions about single runs and about projects open the files themselves, and scan nothing.
"""

from __future__ import annotations

import math
import warnings
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from agentnn.errors import CorruptDataError, NotAStoreError, UnreadableWarning, UsageError
from agentnn.query.runs import RunQuery
from agentnn.settings import toml_folder
from agentnn.stores.ids import is_experiment_id
from agentnn.stores.sql.mlflow_tables import SchemaMismatch
from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase
from agentnn.stores.toml.asking.tables import IndexTables, NoTables
from agentnn.stores.toml.index.index import Index
from agentnn.stores.toml.projects import no_such_store, read_projects

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from agentnn.query.runs import FieldKind, View
    from agentnn.query.selection import Best, BestQuery
    from agentnn.records import Artifact, Experiment, Metric, Run
    from agentnn.settings import Settings
    from agentnn.stores.artifacts.files import RunFiles
    from agentnn.stores.base import History
    from agentnn.stores.explained.between import Between
    from agentnn.stores.measures import StoreMeasures

_MOST_READ = 16
"""Runs that are read from their files when they are asked for by id; for more of them a scan is cheaper."""

_MOST_NAMED = 10
"""Files that can't be read, of which each gets a warning of its own."""

Answer = TypeVar("Answer")


class TomlStore:
    """Reads a folder of TOML runs; see :class:`~agentnn.stores.base.TrackingStore`.

    A file that can't be read is left out and warned of, once; a run that is asked for by its id must be readable.

    Args:
        settings: Name the folder; the files of runs are reached by what else they say.

    Attributes:
        base_dir: The folder of all projects, absolute.

    Raises:
        StoreUnavailable: There is no such folder, or it can't be read.
        UsageError: It is a file.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._index = Index(folder_of(settings))
        self.base_dir = self._index.base_dir
        self._opened: tuple[Path, IndexTables] | None = None
        self._between: Between | None = None
        self._told: set[str] = set()

    def close(self) -> None:
        """Close the index."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def put_between(self, between: Between) -> None:
        """Let somebody look on who stands before the index and its tables."""
        self._index = between.index(self._index)
        self._between = between
        if self._opened is not None:
            self._opened[1].put_between(between)

    # -- experiments ------------------------------------------------------------------------------------

    def list_experiments(self, view: View = "active") -> list[Experiment]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        projects = read_projects(self.base_dir)
        self._tell(error.message for error in projects.damaged)
        return sorted((one for one in projects.experiments if view in ("all", one.lifecycle_stage)), key=_newest_first)

    def find_experiment(self, *, name: str | None = None, experiment_id: str | None = None) -> Experiment | None:
        """See :class:`~agentnn.stores.base.TrackingStore`; of two projects that say the same name, an active one."""
        if experiment_id is not None:
            return next((one for one in self.list_experiments("all") if one.experiment_id == experiment_id), None)
        named = [one for one in self.list_experiments("all") if one.name == name]
        return min(named, key=lambda one: one.lifecycle_stage != "active", default=None)

    # -- many runs: the index ---------------------------------------------------------------------------

    def search_runs(self, query: RunQuery) -> Iterator[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._ask(lambda tables: _begun(tables.search_runs(query)))

    def count_runs(self, query: RunQuery) -> dict[str, int]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._ask(lambda tables: tables.count_runs(query))

    def best_runs(self, query: BestQuery) -> Best:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._ask(lambda tables: tables.best_runs(query), histories=query.aggregate != "last")

    def field_keys(self, kind: FieldKind, query: RunQuery) -> list[str]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self._ask(lambda tables: tables.field_keys(kind, query))

    def _ask(self, question: Callable[[IndexTables | NoTables], Answer], *, histories: bool = False) -> Answer:
        """Put a question to the tables, as the files are now."""
        try:
            return question(self._tables(histories))
        except (CorruptDataError, NotAStoreError, SchemaMismatch):  # it is the index that is damaged
            self._opened = None  # and not closed: another thread may be reading
            self._index.discard()
            return question(self._tables(histories))

    def _tables(self, histories: bool) -> IndexTables | NoTables:
        self._tell(one.problem for one in self._index.refresh(histories=histories))
        path = self._index.path
        if not path.exists():
            return NoTables()
        if self._opened is None or self._opened[0] != path:
            self._opened = path, IndexTables(ReadOnlyDatabase(path))
            if self._between is not None:
                self._opened[1].put_between(self._between)
        return self._opened[1]

    # -- single runs: their files -----------------------------------------------------------------------

    def find_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See :class:`~agentnn.stores.base.TrackingStore`; a place, ``PROJECT/RUN``, is as good as an id.

        Raises:
            CorruptDataError: A run that was asked for, of few, is damaged.
        """
        if len(run_ids) > _MOST_READ:
            return self._ask(lambda tables: tables.find_runs(run_ids))
        from agentnn.stores.toml.asking.runs import find_place, read_run

        places = (find_place(self.base_dir, one) for one in run_ids)
        return [run for place in places if place is not None and (run := read_run(place)) is not None]

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.toml.asking.histories import histories_of
        from agentnn.stores.toml.asking.runs import find_place

        place = find_place(self.base_dir, run_id)
        return histories_of(place.folder).get(key, []) if place is not None else []

    def metric_histories(self, runs: Sequence[Run], keys: Collection[str] | None = None) -> Iterator[History]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.base import History
        from agentnn.stores.toml.asking.histories import histories_of

        for run in runs:
            found = histories_of(self._folder_of(run))
            for key in sorted(found):
                if keys is None or key in keys:
                    yield History(run.run_id, key, found[key])

    def list_artifacts(self, run: Run, path: str = "") -> list[Artifact]:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        return self.run_files(run).entries(path)

    def measure(self) -> StoreMeasures:
        """See :class:`~agentnn.stores.measures.MeasuresItself`."""
        from agentnn.stores.measures import TOML, StoreMeasures

        runs = sum(self.count_runs(RunQuery(view="all")).values())
        return StoreMeasures(TOML, experiments=len(self.list_experiments("all")), runs=runs)

    def run_files(self, run: Run) -> RunFiles:
        """See :class:`~agentnn.stores.base.TrackingStore`."""
        from agentnn.stores.toml.asking.files import TomlRunFiles

        return TomlRunFiles(self.base_dir, run, self._settings)

    # -- how --------------------------------------------------------------------------------------------

    def _folder_of(self, run: Run) -> Path:
        return self.base_dir / run.experiment_id / run.run_id.rpartition("/")[2]

    def _tell(self, problems: Iterable[str]) -> None:
        """Warn of what can't be read, of each file once."""
        new = [one for one in dict.fromkeys(problems) if one not in self._told]
        self._told.update(new)
        for problem in new[:_MOST_NAMED]:
            warnings.warn(f"{problem}; it is left out", UnreadableWarning, stacklevel=4)
        if len(new) > _MOST_NAMED:
            warnings.warn(f"{len(new) - _MOST_NAMED} more files can't be read", UnreadableWarning, stacklevel=4)


def folder_of(settings: Settings) -> Path:
    """The folder of TOML runs that the settings name, which must be there; absolute.

    Raises:
        StoreUnavailable: There is no such folder.
        UsageError: It is a file, or no ``toml:`` URI.
    """
    folder = toml_folder(settings.tracking_uri)
    if folder is None:
        raise UsageError(f"{settings.tracking_uri!r} is no store of TOML runs", hint="toml:./checkpoints")
    if not folder.exists():
        raise no_such_store(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder of TOML runs", hint="toml:DIR names the folder of projects")
    return folder.resolve() if ".." in folder.parts else folder.absolute()


def _begun(runs: Iterator[Run]) -> Iterator[Run]:
    """The same runs, of which the first is there: the question has been asked."""
    return chain(list(islice(runs, 1)), runs)


def _newest_first(one: Experiment) -> tuple[float, bool, int, str]:
    """MLflow's order of experiments: the newest first, then by id; numbers as numbers, before all other names."""
    born = math.inf if one.creation_time is None else -one.creation_time
    is_number = is_experiment_id(one.experiment_id)
    return born, not is_number, int(one.experiment_id) if is_number else 0, one.experiment_id
