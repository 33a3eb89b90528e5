"""What a study found: its trials, the best of them, and what is to be thought of that."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentnn.config.objectives import StudyObjective
    from agentnn.training.hpo.engines.engine import TrialState
    from agentnn.training.hpo.importance import HyperparameterImportance


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        number: Its number in the study, from 0.
        state: ``complete``, ``pruned`` or ``failed``.
        values: One for each objective; empty where there is none.
        params: What was tried.
        metrics: What else was measured.
        run_id: Its run in the store; ``None`` while the store has not answered.
        uuid: Our own id of that run.
        reason: Why it was pruned or failed.
        duration_s: Seconds from its beginning to its end.
        retry_of: The trial that this one repeats, since that one was lost.
        lost: Whether its worker or driver died, so that another trial repeats it.
    """

    number: int
    state: TrialState
    values: tuple[float, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None
    uuid: str | None = None
    reason: str = ""
    duration_s: float | None = None
    retry_of: int | None = None
    lost: bool = False

    @property
    def value(self) -> float | None:
        """The first objective's value."""
        return self.values[0] if self.values else None

    @property
    def is_comparable(self) -> bool:
        """Whether it is complete, with a finite value for every objective."""
        return self.state == "complete" and bool(self.values) and all(map(math.isfinite, self.values))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "number": self.number,
            "state": self.state,
            "values": [_finite(value) for value in self.values],
            "params": dict(self.params),
            "metrics": {name: _finite(value) for name, value in self.metrics.items()},
            "run_id": self.run_id,
            "duration_s": self.duration_s,
            "reason": self.reason,
            "retry_of": self.retry_of,
            "lost": self.lost,
        }


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study that has ended, or that came as far as it should.

    Attributes:
        name: The study's name in its storage.
        objectives: What it looked at.
        trials: All trials that have ended, by number: those of earlier sessions and other drivers too.
        best: The best complete one by the first objective; ``None`` where none has a finite value.
        pareto: Of several objectives, the trials that no other one beats in all of them.
        run_id: The study's run; ``None`` while the store has not answered.
        storage: Where the study is kept, without a password.
        duration_s: Seconds that this process worked at it.
        importance: How much each hyperparameter decided, or why that can't be said.
        metrics: What is logged of the study as a whole, such as ``best_test_sharpe_ratio``.
        resumed: Whether it went on with a study that was there.
        concluded: Whether this process noted the outcome in the study's run, and not another driver, or an earlier one.
        registered: Name and version of the best trial's registered model, such as ``alpha/3``.
    """

    name: str
    objectives: tuple[StudyObjective, ...]
    trials: tuple[TrialRecord, ...] = ()
    best: TrialRecord | None = None
    pareto: tuple[TrialRecord, ...] = ()
    run_id: str | None = None
    storage: str = ""
    duration_s: float = 0.0
    importance: HyperparameterImportance | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    resumed: bool = False
    concluded: bool = False
    registered: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are complete, pruned and failed."""
        states = Counter[str](one.state for one in self.trials)
        return {state: states[state] for state in ("complete", "pruned", "failed")}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "objectives": [one._asdict() for one in self.objectives],
            "run_id": self.run_id,
            "storage": self.storage,
            "resumed": self.resumed,
            "registered": self.registered,
            "duration_s": self.duration_s,
            "counts": self.counts,
            "best": self.best.to_dict() if self.best else None,
            "pareto": [one.number for one in self.pareto],
            "importance": self.importance.to_dict() if self.importance else None,
            "metrics": {name: _finite(value) for name, value in self.metrics.items()},
            "trials": [one.to_dict() for one in self.trials],
        }


def best_trial(trials: Sequence[TrialRecord], objectives: Sequence[StudyObjective]) -> TrialRecord | None:
    """The best complete trial by the first objective; of two alike, the earlier one."""
    sign = 1 if objectives[0].mode == "min" else -1
    found = [one for one in trials if one.is_comparable]
    return min(found, key=lambda one: (sign * one.values[0], one.number), default=None)


def pareto_front(trials: Sequence[TrialRecord], objectives: Sequence[StudyObjective]) -> tuple[TrialRecord, ...]:
    """The complete trials that no other one beats: as good in every objective, and better in one."""
    signs = [1 if one.mode == "min" else -1 for one in objectives]
    found = [
        (one, [sign * value for sign, value in zip(signs, one.values, strict=True)])
        for one in trials
        if one.is_comparable
    ]
    return tuple(one for one, costs in found if not any(_beats(other, costs) for _, other in found))


def _beats(these: Sequence[float], others: Sequence[float]) -> bool:
    return all(one <= other for one, other in zip(these, others, strict=True)) and list(these) != list(others)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
