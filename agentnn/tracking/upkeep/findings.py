"""What a look at a store has found, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentnn.errors import AgentNNError
    from agentnn.records import Run
    from agentnn.tracking.upkeep.store_measures import Measured

Severity = Literal["problem", "notice", "advice"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        check: Which check found it, such as ``dead-process`` or ``orphan``.
        problem: What is wrong, in one line.
        repair: What a repair does, or, where there is none, what the user can do.
        severity: ``problem``; ``notice`` for what can't be judged from here, or can't be undone; ``advice`` for what is
            right, but could be faster.
        run_id, run, experiment: The run that it is about, its name, and the name of its experiment.
        model: The model version that it is about, as ``name/version``.
        fixed: Whether it was repaired.
        action: Repairs it; ``None`` where only the user can.
    """

    check: str
    problem: str
    repair: str
    severity: Severity = "problem"
    run_id: str | None = None
    run: str | None = None
    experiment: str | None = None
    model: str | None = None
    fixed: bool = False
    action: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of_run(
        cls,
        check: str,
        run: Run,
        problem: str,
        repair: str,
        action: Callable[[], None] | None = None,
        severity: Severity = "problem",
    ) -> Finding:
        """A finding about a run."""
        return cls(check, problem, repair, severity, run.run_id, run.name, run.experiment, action=action)

    @property
    def is_fixable(self) -> bool:
        """Whether it can be repaired here."""
        return self.action is not None and not self.fixed

    def repaired(self) -> Finding:
        """The finding after its repair.

        Raises:
            AgentNNError: It could not be repaired.
        """
        if self.action is None:
            return self
        self.action()
        return replace(self, fixed=True)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "check": self.check,
            "severity": self.severity,
            "run_id": self.run_id,
            "run": self.run,
            "experiment": self.experiment,
            "model": self.model,
            "problem": self.problem,
            "repair": self.repair,
            "fixable": self.is_fixable,
            "fixed": self.fixed,
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, and what was found.

    Attributes:
        store: The store's URI, without secrets.
        store_source: Who named it: ``option``, ``MLFLOW_TRACKING_URI``, a ``.env`` file's path or ``default``.
        state_folder: Where runs wait for it on this machine; it need not be there.
        mlflow: The version of the installed MLflow.
        schema: The revision of the store's schema, where it is a database.
        findings: What was found.
        error: Why the store could not be looked at, or not be repaired.
        measured: How fast the store is and how large; ``None`` where it could not be looked at.
    """

    store: str
    store_source: str
    state_folder: Path
    mlflow: str
    schema: str
    findings: tuple[Finding, ...]
    error: AgentNNError | None = None
    measured: Measured | None = None

    @property
    def remaining(self) -> tuple[Finding, ...]:
        """The problems that were not repaired."""
        return tuple(one for one in self.findings if one.severity == "problem" and not one.fixed)
