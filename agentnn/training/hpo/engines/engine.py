"""What runs trials, as the study sees it: it hands out tasks, hears reports, and is told how each trial ended.

An engine knows nothing of samplers, storages or stores: the driver alone asks and tells Optuna, and the work itself
writes the trial's run wherever it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from agentnn.errors import AgentNNError

TrialState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class TrialTask:
    """One trial, on its way to whoever runs it.

    Attributes:
        number: The trial's number in the study, from 0.
        params: What is tried, by the names of ``hpo.param_space``.
        attempt: How many workers died of it before.
        retry_of: The trial that this one repeats, since that one was lost.
        parent_run_id: The study's run, for a worker that can't see it from where it runs; ``None`` on this machine.
        run_uuid: The id that the trial's run shall have among ours, so that it is known whatever becomes of the worker.
    """

    number: int
    params: Mapping[str, Any]
    attempt: int = 0
    retry_of: int | None = None
    parent_run_id: str | None = None
    run_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How a trial ended, as the work itself says.

    Attributes:
        state: ``complete``, ``pruned`` or ``failed``.
        values: One for each objective; empty where there is none.
        metrics: What else was measured, by name.
        reason: Why it was pruned or failed, in one line.
        fatal: An error that every other trial would end with too: the study raises it.
    """

    state: TrialState
    values: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    fatal: AgentNNError | None = None


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """A trial is over for the engine.

    Attributes:
        number: Which one.
        outcome: What the work returned; ``None`` where whoever ran it died, and the study decides on another attempt.
        reason: Then why, in one line.
    """

    number: int
    outcome: TrialOutcome | None
    reason: str = ""


Report = Callable[[int, float], bool]
"""Given to the work: of a step and a value there; whether the trial should be pruned."""

Work = Callable[[TrialTask, Report], TrialOutcome]
"""Runs one trial, in whichever process. It raises nothing but ``KeyboardInterrupt`` and ``SystemExit``."""

OnReport = Callable[[int, int, float], bool]
"""Called in the driver, inside ``Engine.wait``, with trial, step and value; its answer goes back to the work."""


class Engine(Protocol):
    """Runs trials; the study asks and tells. Made as ``SomeEngine(work, on_report, ...)``.

    All methods are called from one thread of the driver.
    """

    @property
    def capacity(self) -> int:
        """How many trials can run at once, now: it may grow and shrink with the machines."""
        ...

    def submit(self, task: TrialTask) -> None:
        """Begin a trial; the driver keeps count that there are never more than :attr:`capacity`."""
        ...

    def wait(self, timeout_s: float) -> list[TrialEnd]:
        """Wait for at least one trial to end, answering reports meanwhile; empty when none has ended by then."""
        ...

    def close(self, *, interrupted: bool = False) -> None:
        """End whatever still runs and leave nothing behind; may be called twice.

        Args:
            interrupted: A signal or an error ends the study, so trials that run end as KILLED.
        """
        ...
