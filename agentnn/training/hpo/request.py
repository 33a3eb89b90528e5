"""What a study is asked to do, and whom it tells what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.config.objectives import StudyObjective
    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.hpo.engines.engine import Engine, OnReport, TrialTask
    from agentnn.training.hpo.results import StudyResult, TrialRecord
    from agentnn.training.recording import StudyOrganizer


@dataclass(frozen=True, slots=True)
class StudyBeginning:
    """How a study stands when a driver begins to work at it.

    Attributes:
        name: The study.
        objectives: What it looks at.
        limit: How many trials it should come to.
        done: How many have ended.
        best: The best one of these.
        resumed: Whether it was there before.
    """

    name: str
    objectives: tuple[StudyObjective, ...]
    limit: int
    done: int
    best: TrialRecord | None
    resumed: bool


class StudyEvents(Protocol):
    """Is told what happens in a study, while it happens."""

    def began(self, study: StudyBeginning) -> None:
        """The study is open."""

    def submitted(self, task: TrialTask) -> None:
        """A trial was begun."""

    def ended(self, record: TrialRecord) -> None:
        """A trial has ended."""


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """What is to be searched, and by what.

    Attributes:
        config: With its section ``hpo``.
        organizer: Starts and ends the runs.
        make_engine: Makes what runs the trials, once the study's run is open.
        is_remote: Whether trials run where the study's run can't be seen, so that they need its id.
        resume: Go on with the last study of its name.
        begin: Logs what there is to log when the study's run is new.
        conclude: Says what is to be logged of a study that came to its end, and logs the rest itself.
        events: Is told what happens.
    """

    config: Config
    organizer: StudyOrganizer
    make_engine: Callable[[OnReport], Engine]
    is_remote: bool = False
    resume: bool = False
    begin: Callable[[ActiveRun], None] | None = None
    conclude: Callable[[ActiveRun, StudyResult], StudyResult] | None = None
    events: StudyEvents | None = None
