"""How an online learner goes about it, as plain values that a configuration can hold."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, get_args

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.training.loop.devices import Precision

Detector = Literal["adwin", "page_hinkley", "none"]
Reaction = Literal["raise_learning_rate", "reset_optimizer", "reset_head"]
WhenFull = Literal["drop_oldest", "drop_newest", "raise"]

_AT_LEAST_ONE = (
    "batch_size",
    "capacity",
    "most_waiting",
    "raise_steps",
    "error_window",
    "log_every",
    "snapshot_every",
)
_AT_LEAST_ZERO = ("replayed", "memory", "put_timeout_s", "drift_cooldown", "hypergradient", "stop_timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineOptions:
    """How an online learner goes about it, beyond the model, the loss and the optimizer.

    Attributes:
        background: Whether a thread of its own learns. Without it every call does its work at once, and the same calls
            in the same order give the same, to the bit.
        batch_size: Labelled samples that make one step.
        replayed: Older samples that are added to each step, drawn at random from the memory.
        memory: The latest samples that were learnt from, kept to be drawn again.
        learning_rate: Of the Adam that is made where no optimizer is given.
        hypergradient: How fast the learning rate adapts by itself; 0 for not at all. See
            :class:`~agentnn.nn_models.online.learning_rate.LearningRate`.
        clip_norm: The greatest norm of the gradients of a step.
        precision: Of the model's computations; the weights stay as they are.
        device: ``auto``, ``cpu``, ``cuda:1``, …; where the model is without one.
        seed: Of dropout, of what is replayed and of a new head. Without one the random numbers of the process go on.
        capacity: Samples and labels that may queue up.
        put_timeout_s: Seconds that a producer is kept waiting at most while the queue is full.
        when_full: What is done after that: the oldest in the queue gives way, the new one is not taken, or it is an
            error.
        most_waiting: Samples that may wait for their labels; the oldest are given up.
        detector: What watches the error for drift.
        adwin_delta: See :class:`~agentnn.nn_models.online.adwin.Adwin`.
        adwin_range: The same; by what was seen without it.
        page_hinkley_threshold: See :class:`~agentnn.nn_models.online.page_hinkley.PageHinkley`.
        page_hinkley_tolerance: The same.
        drift_cooldown: Samples after a drift in which no other is seen.
        reactions: What is done about a drift before the next step, in this order.
        raise_factor: By what ``raise_learning_rate`` multiplies the learning rate.
        raise_steps: Steps in which it comes down again, in equal parts.
        head: The module whose weights ``reset_head`` makes anew, by its name in the model; the last one that can be
            without it.
        fading: See :class:`~agentnn.nn_models.online.prequential.Prequential`.
        error_window: The same.
        log_every: Samples that are judged between two times that metrics are logged.
        snapshot_path: A file for snapshots, which is replaced at the end, and in between if that is asked for.
        snapshot_every: Samples that are judged between two snapshots.
        stop_timeout_s: Seconds in which the end works off what is queued; the rest stays in the queue and is counted.

    Raises:
        UsageError: A value is out of range.
    """

    background: bool = True
    batch_size: int = 32
    replayed: int = 0
    memory: int = 0
    learning_rate: float = 1e-3
    hypergradient: float = 0.0
    clip_norm: float | None = None
    precision: Precision = "float32"
    device: str | None = None
    seed: int | None = None
    capacity: int = 10_000
    put_timeout_s: float = 0.05
    when_full: WhenFull = "drop_oldest"
    most_waiting: int = 100_000
    detector: Detector = "adwin"
    adwin_delta: float = 0.002
    adwin_range: float | None = None
    page_hinkley_threshold: float = 50.0
    page_hinkley_tolerance: float = 0.005
    drift_cooldown: int = 500
    reactions: tuple[Reaction, ...] = ("raise_learning_rate",)
    raise_factor: float = 5.0
    raise_steps: int = 100
    head: str | None = None
    fading: float = 0.999
    error_window: int = 1000
    log_every: int = 1000
    snapshot_path: str | None = None
    snapshot_every: int | None = None
    stop_timeout_s: float = 1.0

    @classmethod
    def from_config(cls, config: Config) -> OnlineOptions:
        """What a configuration with ``trainer: online`` says; it learns where it is called, and so always the same.

        Raises:
            UsageError: A value is out of range.
        """
        section, training = config.online, config.training
        assert section is not None
        known = {field.name for field in fields(cls)}
        same = {name: value for name, value in section.items() if name in known}
        return cls(
            **{**same, "reactions": tuple(section.reactions)},
            background=False,
            batch_size=section.samples_a_step,
            learning_rate=section.learning_rate_share * training.learning_rate,
            clip_norm=training.clip_norm,
            precision=training.precision,
            device=training.device,
            seed=training.seed,
        )

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}")
        for name in _AT_LEAST_ZERO:
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must be at least 0, not {getattr(self, name)!r}")
        for name in ("learning_rate", "raise_factor"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be greater than 0, not {getattr(self, name)!r}")
        for name, known in (("when_full", WhenFull), ("detector", Detector)):
            _check_word(name, getattr(self, name), get_args(known))
        for reaction in self.reactions:
            _check_word("reaction", reaction, get_args(Reaction))
        if self.replayed > self.memory:
            raise UsageError(f"{self.replayed} samples can't be replayed from a memory of {self.memory}")
        if self.snapshot_every is not None and self.snapshot_path is None:
            raise UsageError("there is no place for snapshots", hint="name the file: snapshot_path")


def _check_word(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name} {value!r}", hint=f"one of {', '.join(known)}")
