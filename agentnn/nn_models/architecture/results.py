"""What the optimisation of an architecture came to: each change that was tried, and the network."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from agentnn.nn_models.architecture.description import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.changes import Kind
    from agentnn.nn_models.architecture.network import DynamicNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureStep:
    """A change that was tried. Its values are those of what is monitored, on the validation part.

    Attributes:
        number: From 1.
        kind: What was done.
        layer: Where.
        exact: Whether the change alone left the function as it was.
        architecture: The changed one.
        n_parameters: Of the changed one.
        before: The value of the network before the change.
        changed: That of the network just after it.
        unchanged: That of the network without the change, after the same further training; ``before`` where that was
            not better, or was not tried.
        after: That of the changed network after its training.
        kept: Whether the changed network was kept.
        change_ms: Milliseconds that the change itself took.
        seconds: Seconds that all of it took.
        measures: What the training of the network that was gone on with has measured, by name.
    """

    number: int
    kind: Kind
    layer: int
    exact: bool
    architecture: Architecture
    n_parameters: int
    before: float
    changed: float
    unchanged: float
    after: float
    kept: bool
    change_ms: float
    seconds: float
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The value of the network that was gone on with."""
        return self.after if self.kept else self.unchanged

    def __str__(self) -> str:
        outcome = "kept" if self.kept else "not kept"
        return f"{self.kind} layer {self.layer}: {self.architecture}, {outcome}"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ArchitectureStep:
        """The step that :meth:`to_dict` wrote."""
        read: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
        measures = {name: math.nan if value is None else value for name, value in values["measures"].items()}
        architecture = Architecture.from_dict(values["architecture"])
        return cls(**{**read, "architecture": architecture, "measures": measures})

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        values = {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(self).items()}
        measures = {name: _finite(value) for name, value in self.measures.items()}
        return {**values, "architecture": self.architecture.to_dict(), "measures": measures}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArchitectureResult:
    """What came of it.

    Attributes:
        network: The network that the changes led to, with its weights, in evaluation mode.
        optimizer: Its optimizer, to train it further.
        monitor: What the values are of.
        first_value: The value of the first network, trained.
        first_measures: What its training measured, by name.
        value: The value of the network. It is the best of many on the same validation part, and so better than the
            network will be on other data: judge it by a test part.
        steps: Every change that was tried.
        why_over: Why no further one was.
        resumed_from: The number of the change that a checkpoint was of, where it went on from one.
        run_id: The run's id in the store; ``None`` while the store has not answered, or where nothing is tracked.
        uuid: Our own id of the run; empty where nothing is tracked.
    """

    network: DynamicNetwork = field(repr=False)
    optimizer: Optimizer = field(repr=False)
    monitor: str
    first_value: float
    first_measures: Mapping[str, float]
    value: float
    steps: tuple[ArchitectureStep, ...]
    why_over: str
    resumed_from: int | None
    run_id: str | None
    uuid: str

    @property
    def architecture(self) -> Architecture:
        """The network's."""
        return self.network.architecture

    @property
    def kept(self) -> tuple[ArchitectureStep, ...]:
        """The changes that led to it."""
        return tuple(step for step in self.steps if step.kept)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run_id": self.run_id,
            "uuid": self.uuid,
            "monitor": self.monitor,
            "first_value": _finite(self.first_value),
            "value": _finite(self.value),
            "architecture": self.architecture.to_dict(),
            "n_parameters": self.network.n_parameters,
            "why_over": self.why_over,
            "resumed_from": self.resumed_from,
            "steps": [step.to_dict() for step in self.steps],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
