"""How a model is trained, beyond the model, the optimizer and the criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from agentnn.config.schema import TrainingSection
    from agentnn.training.loop.devices import Precision

_IN_SECTION = (
    "batch_size",
    "shuffle",
    "accumulate_steps",
    "clip_norm",
    "precision",
    "device",
    "num_threads",
    "seed",
    "deterministic",
    "monitor",
    "monitor_mode",
    "min_delta",
    "patience",
    "checkpoint_every_s",
    "progress",
)
"""What the section ``training`` of a configuration calls the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How a model is trained, beyond the optimizer and the criterion.

    Attributes:
        batch_size: Samples of a batch.
        shuffle: Whether the samples are put in another order for each epoch.
        accumulate_steps: Batches whose gradients make one step, as if they were one batch.
        clip_norm: The greatest norm of the gradients of a step.
        precision: Of the model's computations; the weights stay as they are.
        compile: Whether learning is compiled by ``torch.compile``, where that can be done; it is said where it can't.
        device: Where it is trained: ``auto``, ``cpu``, ``cuda:1``, …; where the model is without one.
        num_threads: Of torch on the CPU; as they are without one.
        seed: Of the order of the samples, dropout and everything else that is random. Without one the random numbers
            of the process go on; with one they are afterwards as they were before.
        deterministic: Whether to take only algorithms that give the same again.
        monitor: The metric that tells which epoch is best.
        monitor_mode: Whether its smallest or its greatest value is.
        min_delta: By how much a value has to be better to count.
        patience: Stop after so many epochs without a better value; never without it.
        restore_best: Whether the model gets back the weights of the best epoch.
        checkpoint_dir: A folder for checkpoints; see :class:`~agentnn.training.loop.checkpoints.Checkpoints`.
        checkpoint_every_s: Seconds between them, 0 for every epoch; as seldom as it takes not to be felt, without it.
        resume: Whether to go on from the last checkpoint in the folder, where there is one.
        progress: Whether to show a bar, if standard error is a terminal.
        log_every: Log every so many epochs, and the last.

    Raises:
        UsageError: A value is out of range.
    """

    batch_size: int = 64
    shuffle: bool = True
    accumulate_steps: int = 1
    clip_norm: float | None = None
    precision: Precision = "float32"
    compile: bool = False
    device: str | None = None
    num_threads: int | None = None
    seed: int | None = None
    deterministic: bool = False
    monitor: str = "val_loss"
    monitor_mode: Literal["min", "max"] = "min"
    min_delta: float = 0.0
    patience: int | None = None
    restore_best: bool = False
    checkpoint_dir: str | Path | None = None
    checkpoint_every_s: float | None = None
    resume: bool = False
    progress: bool = True
    log_every: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate_steps", "log_every", "num_threads", "patience"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UsageError(f"clip_norm must be greater than 0, not {self.clip_norm!r}")
        if self.precision not in ("float32", "bfloat16", "float16"):
            raise UsageError(f"unknown precision {self.precision!r}", hint="one of float32, bfloat16, float16")
        if self.monitor_mode not in ("min", "max"):
            raise UsageError(f"unknown monitor_mode {self.monitor_mode!r}", hint="one of min, max")
        if self.resume and self.checkpoint_dir is None:
            raise UsageError("there is no checkpoint to resume from", hint="name the folder: checkpoint_dir")

    @classmethod
    def from_section(cls, training: TrainingSection) -> TrainingOptions:
        """What the section ``training`` of a configuration says; the weights of the best epoch are kept."""
        same = {name: training[name] for name in _IN_SECTION}
        folder = training.checkpoint_dir if training.checkpoints else None
        return cls(**same, restore_best=True, checkpoint_dir=folder)
