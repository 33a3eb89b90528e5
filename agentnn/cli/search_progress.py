"""How far a study is, while it runs: a bar on a terminal, else a line a trial; always on standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentnn.cli.options import note
from agentnn.cli.text import short, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from agentnn.config.objectives import StudyObjective
    from agentnn.training.hpo.engines.engine import TrialTask
    from agentnn.training.hpo.request import StudyBeginning, StudyEvents
    from agentnn.training.hpo.results import TrialRecord


@contextmanager
def showing_progress() -> Iterator[StudyEvents]:
    """What is told of a study's events."""
    if not sys.stderr.isatty():
        yield StudyLines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from agentnn.cli.tables import make_console

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}", markup=False),
    )
    with Progress(*columns, console=make_console(stderr=True), transient=True) as bar:
        yield StudyBar(bar)


class StudyLines:
    """Says a line a trial."""

    def __init__(self) -> None:
        self._limit = self._done = 0
        self._objectives: tuple[StudyObjective, ...] = ()
        self._best: TrialRecord | None = None

    def began(self, study: StudyBeginning) -> None:
        """The study is open."""
        self._limit, self._done, self._objectives = study.limit, study.done, study.objectives
        self._best = study.best
        self.say(f"{study.name}: going on after {study.done} trials" if study.resumed else f"{study.name}: begins")

    def submitted(self, task: TrialTask) -> None:
        """A trial was begun."""

    def ended(self, record: TrialRecord) -> None:
        """A trial has ended."""
        self._done += not record.lost
        self._best = self._better(record)
        self.say(f"{self._done}/{self._limit} {self._in_words(record)}{self._best_in_words()}")

    def say(self, text: str) -> None:
        """Say a line."""
        note(text)

    def _better(self, record: TrialRecord) -> TrialRecord | None:
        from agentnn.training.hpo.results import best_trial

        return best_trial([one for one in (self._best, record) if one is not None], self._objectives)

    def _in_words(self, record: TrialRecord) -> str:
        params = " ".join(f"{name}={short(value)}" for name, value in record.params.items())
        if record.state == "complete":
            values = zip(self._objectives, record.values, strict=True)
            ending = " ".join(f"{one.metric}={short(value)}" for one, value in values)
        else:
            ending = f"{record.state}: {record.reason}" if record.reason else record.state
        return f"trial {record.number} {ending} ({params})"

    def _best_in_words(self) -> str:
        best = self._best
        if best is None:
            return ""
        return f"; best {self._objectives[0].metric}={short(best.values[0])} of trial {best.number}"


class StudyBar(StudyLines):
    """Shows a bar; what did not go well is said above it."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("study", total=None, best="")

    def began(self, study: StudyBeginning) -> None:
        """The study is open."""
        super().began(study)
        self._bar.update(self._task, description=visible(study.name), total=study.limit, completed=study.done)

    def ended(self, record: TrialRecord) -> None:
        """A trial has ended."""
        if record.state == "failed":
            super().ended(record)
        else:
            self._done += 1
            self._best = self._better(record)
        best = self._best_in_words().removeprefix("; ")
        self._bar.update(self._task, completed=self._done, best=visible(best))

    def say(self, text: str) -> None:
        """Say a line above the bar."""
        self._bar.console.print(visible(text))
