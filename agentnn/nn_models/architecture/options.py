"""How an architecture is optimised: plain values, which a section of a configuration can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.changes import Kind
from agentnn.nn_models.architecture.importance import By
from agentnn.training.loop.options import TrainingOptions

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.training.loop.devices import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureOptions:
    """How a network is grown, and how it is trained between two changes.

    Attributes:
        moves: The kinds of changes to try, in turn.
        epochs: Passes over the training part before the first change, and after each one.
        max_changes: Try no more changes than that.
        max_parameters: Try no change that makes the network larger than that.
        max_seconds: Try no further change after so much time; that of earlier sessions counts.
        patience: Stop after so many changes in succession that were not kept.
        control: Whether a changed network is compared with the unchanged one after the same further training, and not
            with the one before: else a change is praised for what more training does. It doubles the training.
        min_gain: By how much what is monitored has to be better for a change that adds units or layers to be kept.
        tolerance: By how much it may be worse than the best so far for one that takes units or layers away to be kept.
        widen_by: The factor by which a layer is widened.
        noise: See :func:`~agentnn.nn_models.architecture.widening.widen`; replicas need some of it to learn to differ.
        prune_fraction: The share of its units that a layer loses.
        prune_by: How these are chosen; see :func:`~agentnn.nn_models.architecture.pruning.prune`.
        standardise: Whether the network takes its inputs with mean and standard deviation of the training part; one
            that is handed in keeps its own.
        loss: ``mse``, ``bce``, ``cross_entropy`` or another of ``training.loss``.
        optimizer: A class of ``torch.optim``.
        learning_rate: Of it.
        weight_decay: Of it; its own default without one.
        batch_size: Samples of a batch.
        shuffle: Whether the samples are put in another order for each epoch.
        accumulate_steps: Batches whose gradients make one step.
        clip_norm: The greatest norm of the gradients of a step.
        precision: Of the network's computations.
        monitor: What is looked at: ``val_loss``, or one of the metrics.
        monitor_mode: Whether its smallest or its greatest value is best.
        epoch_patience: Stop training, before the first change and after each one, after so many epochs without a better
            value.
        min_delta: By how much it has to be better for that.
        seed: Of everything that is random.
        device: ``auto``, ``cpu``, ``cuda:1``, …
        num_threads: Of torch on the CPU; as they are without one.
        deterministic: Whether to take only algorithms that give the same again.
        checkpoint_dir: A folder for a checkpoint after each change.
        resume: Whether to go on from the last one.
        log_model: Whether the run gets the network as a model.

    Raises:
        UsageError: A value is out of range.
    """

    moves: tuple[Kind, ...] = ("widen", "deepen")
    epochs: int = 10
    max_changes: int = 8
    max_parameters: int | None = None
    max_seconds: float | None = None
    patience: int = 3
    control: bool = True
    min_gain: float = 0.0
    tolerance: float = 0.0
    widen_by: float = 2.0
    noise: float = 0.1
    prune_fraction: float = 0.25
    prune_by: By = "activation"
    standardise: bool = True
    loss: str = "mse"
    optimizer: str = "AdamW"
    learning_rate: float = 1e-3
    weight_decay: float | None = None
    batch_size: int = 64
    shuffle: bool = True
    accumulate_steps: int = 1
    clip_norm: float | None = None
    precision: Precision = "float32"
    monitor: str = "val_loss"
    monitor_mode: Literal["min", "max"] = "min"
    epoch_patience: int | None = None
    min_delta: float = 0.0
    seed: int = 0
    device: str = "auto"
    num_threads: int | None = None
    deterministic: bool = True
    checkpoint_dir: str | None = None
    resume: bool = False
    log_model: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "moves", tuple(self.moves))
        if not self.moves or not set(self.moves) <= set(get_args(Kind)):
            raise UsageError(f"moves must be some of {', '.join(get_args(Kind))}, not {list(self.moves)}")
        for name, least in (("epochs", 1), ("max_changes", 0), ("patience", 1), ("max_parameters", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in ("min_gain", "tolerance", "noise"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must be at least 0, not {getattr(self, name)!r}")
        if not self.widen_by > 1:
            raise UsageError(f"widen_by must be greater than 1, not {self.widen_by!r}")
        if not 0 < self.prune_fraction < 1:
            raise UsageError(f"prune_fraction must be above 0 and below 1, not {self.prune_fraction!r}")
        if self.prune_by not in get_args(By):
            raise UsageError(f"unknown prune_by {self.prune_by!r}", hint=f"one of {', '.join(get_args(By))}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UsageError(f"max_seconds must be greater than 0, not {self.max_seconds!r}")
        if self.resume and self.checkpoint_dir is None:
            raise UsageError("there is no checkpoint to resume from", hint="name the folder: checkpoint_dir")
        self.of_phase(0)  # checks what is left

    def of_phase(self, seed: int) -> TrainingOptions:
        """How the network is trained between two changes."""
        return TrainingOptions(
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            accumulate_steps=self.accumulate_steps,
            patience=self.epoch_patience,
            min_delta=self.min_delta,
            clip_norm=self.clip_norm,
            precision=self.precision,
            monitor=self.monitor,
            monitor_mode=self.monitor_mode,
            seed=seed,
            restore_best=True,
            progress=False,
        )

    @classmethod
    def from_config(cls, config: Config) -> ArchitectureOptions:
        """What a configuration with ``trainer: dynamic_architecture`` says; the network itself is logged by nobody.

        Raises:
            UsageError: A value is out of range.
        """
        section, training = config.dynamic_architecture, config.training
        assert section is not None
        named = {field.name for field in fields(cls)} - {"loss"}  # which the data may say
        of_training = {name: value for name, value in training.items() if name in named}
        own = {name: value for name, value in section.items() if name in named}
        others = {
            "moves": tuple(section.moves),
            "patience": section.most_in_vain,
            "epoch_patience": training.patience,
            "standardise": False,
            "checkpoint_dir": training.checkpoint_dir if training.checkpoints else None,
            "log_model": False,
        }
        return cls(**{**of_training, **own, **others})

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "moves": list(self.moves)}
