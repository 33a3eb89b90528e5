"""The runs that a question is about, found by their folders and opened one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import CorruptDataError
from agentnn.stores.mlruns.facts import PlainFiles
from agentnn.stores.mlruns.index import IndexedFiles
from agentnn.stores.mlruns.layout import HIDDEN, RESERVED
from agentnn.stores.mlruns.meta import META
from agentnn.stores.mlruns.reading import names_in
from agentnn.stores.mlruns.stored_run import StoredRun, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.query.runs import View
    from agentnn.query.selection import Aggregate
    from agentnn.records import Experiment
    from agentnn.stores.mlruns.facts import Files
    from agentnn.stores.mlruns.index import RunIndex
    from agentnn.stores.mlruns.reading import Damage


class ExperimentRuns:
    """The runs of an experiment.

    Args:
        folder: Its folder.
        experiment: The experiment.
        index: Knows what files have said; ``None`` to read them.
        damage: Takes note of what can't be read.

    Attributes:
        run_ids: The names of all that may be runs.
        files: Answer with what their files say.
    """

    def __init__(self, folder: str, experiment: Experiment, index: RunIndex | None, damage: Damage) -> None:
        self._folder = folder
        self._experiment = experiment
        self._damage = damage
        others = {*RESERVED, META}
        found = names_in(folder, damage)
        self.run_ids = [name for name in found if name not in others and not name.startswith(HIDDEN)]
        self._indexed = None if index is None else IndexedFiles(folder, self.run_ids, index)
        self.files: Files = self._indexed or PlainFiles(folder)

    def open(self, run_id: str) -> StoredRun | None:
        """A run; ``None`` for what is none, or is damaged."""
        try:
            return StoredRun.read(self._folder, run_id, self._experiment, self.files, self._damage)
        except CorruptDataError as error:
            self._damage.tell(error.message)
            return None

    def value(self, run_id: str, key: str, aggregate: Aggregate) -> float | None:
        """A metric's value in what may be a run, of which nothing else is read.

        Raises:
            OSError, ValueError: It can't be read.
        """
        return value_of(self.files, run_id, key, aggregate)

    def keep(self) -> None:
        """Keep what was read, for the next question."""
        if self._indexed is not None:
            self._indexed.keep()


class RunPlace(NamedTuple):
    """Where a run lies, in little memory."""

    experiment: ExperimentRuns
    run_id: str


class AskedRuns:
    """The runs of some experiments, in one stage or in both.

    Args:
        experiments: The experiments.
        view: Which stage is meant.

    Attributes:
        experiments: The experiments.
    """

    def __init__(self, experiments: Sequence[ExperimentRuns], view: View) -> None:
        self.experiments = experiments
        self._view = view

    def places(self) -> Iterator[RunPlace]:
        """The places of all that may be runs, of which nothing has been read, in no order."""
        return (RunPlace(one, run_id) for one in self.experiments for run_id in one.run_ids)

    def open(self, place: RunPlace) -> StoredRun | None:
        """A run; ``None`` for what is none, is damaged, or in another stage."""
        run = place.experiment.open(place.run_id)
        return run if run is not None and self._view in ("all", run.head.stage) else None

    def runs(self) -> Iterator[StoredRun]:
        """All runs, in no order."""
        return (run for place in self.places() if (run := self.open(place)) is not None)

    def keep(self) -> None:
        """Keep what was read, for the next question."""
        for one in self.experiments:
            one.keep()
