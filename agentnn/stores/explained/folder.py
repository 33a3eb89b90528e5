"""Files of a folder of runs: how many of each kind were looked at and read, and how long that took."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentnn.stores.explained.between import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentnn.query.explanation import Explanation
    from agentnn.query.runs import RunQuery, View
    from agentnn.records import Experiment, Run
    from agentnn.stores.mlruns.asked_runs import RunPlace
    from agentnn.stores.mlruns.facts import Fact

_LOOKED_AT, _READ = "files looked at", "files read"


class SeenFolder(Seen):
    """See :class:`~agentnn.stores.mlruns.scanning.FolderScan`."""

    def experiments(self, view: View) -> list[Experiment]:
        """The experiments."""
        with self._explanation.step("read the folders of experiments") as taking:
            found: list[Experiment] = self.inner.experiments(view)
            taking.read["experiments"] = len(found)
        return found

    @contextmanager
    def asked(self, query: RunQuery, *, indexed: bool = True) -> Iterator[SeenRuns]:
        """The runs of the experiments that a query is about."""
        with self.inner.asked(query, indexed=indexed) as asked:
            for one in asked.experiments:
                one.files = SeenFiles(one.files, self._explanation)
            yield SeenRuns(asked, self._explanation)

    def run(self, run_id: str, experiments: Iterable[Experiment]) -> Any:
        """A run by its id."""
        with self._explanation.step("look for a run's folder"):
            return _seen(self.inner.run(run_id, experiments), self._explanation)


class SeenRuns(Seen):
    """See :class:`~agentnn.stores.mlruns.asked_runs.AskedRuns`."""

    def open(self, place: RunPlace) -> Any:
        """A run."""
        return _seen(self.inner.open(place), self._explanation)

    def runs(self) -> Iterator[Any]:
        """All runs."""
        return (_seen(run, self._explanation) for run in self.inner.runs())


class SeenRun(Seen):
    """See :class:`~agentnn.stores.mlruns.stored_run.StoredRun`."""

    def record(self) -> Run:
        """The whole run."""
        began = time.perf_counter()
        run: Run = self.inner.record()
        self._explanation.small_step("read all files of a run", time.perf_counter() - began, {"runs": 1})
        return run


class SeenFiles(Seen):
    """See :class:`~agentnn.stores.mlruns.facts.Files`; an index looks at files that it need not read."""

    def ask(self, run_id: str, file: str, fact: Fact, *, of_all: bool = True) -> Any:
        """What a file of a run says."""
        if not of_all:  # it is one of all files of a run that is given back, which are counted by the run
            return self.inner.ask(run_id, file, fact, of_all=of_all)
        read = {_LOOKED_AT: 1, _READ: 0}

        def counted(path: str) -> Any:
            read[_READ] += 1
            return fact.read(path)

        began = time.perf_counter()
        try:
            return self.inner.ask(run_id, file, fact._replace(read=counted))
        finally:
            self._explanation.small_step(f"{file} of each run", time.perf_counter() - began, read)


def _seen(run: Any, explanation: Explanation) -> Any:
    return None if run is None else SeenRun(run, explanation)
