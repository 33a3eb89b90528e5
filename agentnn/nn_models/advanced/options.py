"""How an advanced trainer goes about it, as plain values that a configuration can hold."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from agentnn.errors import UsageError
from agentnn.training.loop.named_optimizers import optimizer_class
from agentnn.training.loop.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.config.schema import Config
    from agentnn.training.loop.devices import Precision

Average = Literal["none", "ema", "swa"]
Keep = Literal["best", "last"]

_OF_LOOP = (
    *("batch_size", "shuffle", "accumulate_steps", "clip_norm", "precision", "compile", "device", "num_threads"),
    *("seed", "deterministic", "monitor", "monitor_mode", "min_delta", "patience", "checkpoint_dir"),
    *("checkpoint_every_s", "resume", "progress", "log_every"),
)
_OF_SECTION = (
    *("average", "ema_decay", "ema_correct_bias", "swa_start", "swa_learning_rate", "swa_anneal_epochs"),
    *("label_smoothing", "decay_only_weights", "learning_rate_multipliers", "keep", "compile"),
)
_NOT_OF_TRAINING = ("loss_params", "log_model", "log_every", "resume", "checkpoint_dir", *_OF_SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedOptions:
    """How a network is trained by an :class:`~agentnn.nn_models.advanced_training.AdvancedTrainer`.

    Attributes:
        epochs: Passes over the training part, at most.
        loss: ``mse``, ``huber``, ``log_cosh``, ``barron``, ``bce``, ``gce``, ``cross_entropy`` or another of
            ``training.loss``; see :func:`~agentnn.training.loop.optimisation.build_loss`.
        loss_params: Its arguments.
        label_smoothing: How far labels are drawn towards saying nothing, while they are learnt from; what is judged is
            the loss of the labels as they are.
        optimizer: A class of ``torch.optim``.
        learning_rate: Of it.
        weight_decay: Of it; its own default without one.
        momentum: The same.
        optimizer_params: Its other arguments.
        decay_only_weights: Whether weight decay leaves biases and the scales of normalisation alone.
        learning_rate_multipliers: Factors of the learning rate by a pattern of parameters' names, such as ``body.*``.
        scheduler: How the learning rate changes; see :func:`~agentnn.training.loop.optimisation.build_schedule`.
        scheduler_params: Its arguments.
        warmup_steps: Steps in which the learning rate rises.
        average: What is judged and kept: ``none``, the weights themselves; ``ema``, their exponential moving average
            over steps; ``swa``, the mean of their values at the ends of the last epochs. See
            :mod:`~agentnn.training.loop.averaging`.
        ema_decay: About ``1 / (1 - ema_decay)`` steps count.
        ema_correct_bias: Whether it is corrected; else the first step counts for all that was before.
        swa_start: The share of the epochs before the first one that is averaged.
        swa_learning_rate: In the epochs that are averaged; half of ``learning_rate`` without one.
        swa_anneal_epochs: Epochs in which the learning rate goes to that; 0 for at once.
        keep: Which weights the network has in the end: those of the ``best`` epoch, or of the ``last``.
        batch_size: Samples of a batch.
        shuffle: Whether the samples are put in another order for each epoch.
        accumulate_steps: Batches whose gradients make one step.
        clip_norm: The greatest norm of the gradients of a step.
        precision: Of the network's computations: ``bfloat16`` and ``float16`` are mixed; the latter scales gradients.
        compile: Whether learning is compiled by ``torch.compile``, where that can be done. Dropout then draws other
            random numbers, the same ones every time.
        device: ``auto``, ``cpu``, ``cuda:1``, …
        num_threads: Of torch on the CPU; as they are without one.
        seed: Of everything that is random while it is trained; the random numbers of the process go on without one.
        deterministic: Whether to take only algorithms that give the same again.
        monitor: What tells which epoch is best: ``val_loss``, or one of the metrics.
        monitor_mode: Whether its smallest or its greatest value is.
        min_delta: By how much a value has to be better to count.
        patience: Stop after so many epochs without a better value; never without it. It may stop before ``swa_start``.
        checkpoint_dir: A folder for checkpoints.
        checkpoint_every_s: Seconds between them, 0 for every epoch; so seldom that it is not felt, without it.
        resume: Whether to go on from the last one.
        progress: Whether to show a bar, if standard error is a terminal.
        log_every: Log every so many epochs, and the last.
        log_model: Whether the run gets the network as a model.

    Raises:
        UsageError: A value is out of range.
    """

    epochs: int = 100
    loss: str = "mse"
    loss_params: Mapping[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0
    optimizer: str = "AdamW"
    learning_rate: float = 1e-3
    weight_decay: float | None = None
    momentum: float | None = None
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    decay_only_weights: bool = True
    learning_rate_multipliers: Mapping[str, float] = field(default_factory=dict)
    scheduler: str = "constant"
    scheduler_params: Mapping[str, Any] = field(default_factory=dict)
    warmup_steps: int = 0
    average: Average = "none"
    ema_decay: float = 0.99
    ema_correct_bias: bool = True
    swa_start: float = 0.75
    swa_learning_rate: float | None = None
    swa_anneal_epochs: int = 0
    keep: Keep = "best"
    batch_size: int = 64
    shuffle: bool = True
    accumulate_steps: int = 1
    clip_norm: float | None = None
    precision: Precision = "float32"
    compile: bool = False
    device: str = "auto"
    num_threads: int | None = None
    seed: int | None = 0
    deterministic: bool = True
    monitor: str = "val_loss"
    monitor_mode: Literal["min", "max"] = "min"
    min_delta: float = 0.0
    patience: int | None = None
    checkpoint_dir: str | None = None
    checkpoint_every_s: float | None = None
    resume: bool = False
    progress: bool = True
    log_every: int = 1
    log_model: bool = True

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("warmup_steps", 0), ("swa_anneal_epochs", 0), ("seed", 0)):
            value = getattr(self, name)
            if (name, value) != ("seed", None) and (type(value) is not int or value < least):
                raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in ("ema_decay", "swa_start", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, not {getattr(self, name)!r}")
        for name in ("learning_rate", "swa_learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be greater than 0, not {value!r}")
        for name, known in (("average", Average), ("keep", Keep)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(f"unknown {name} {getattr(self, name)!r}", hint=f"one of {', '.join(get_args(known))}")
        optimizer_class(self.optimizer)
        self.of_loop()  # checks what is left

    @classmethod
    def from_config(cls, config: Config, loss: str) -> AdvancedOptions:
        """What a configuration says, for data whose loss this is; checkpoints and resuming are the caller's."""
        training = config.training
        known = {one.name for one in fields(cls)} - set(_NOT_OF_TRAINING)
        given = {name: training[name] for name in known if name in training}
        section = config["advanced"]
        given |= {name: section[name] for name in _OF_SECTION}
        params = training.params.get("loss_params", {})
        return cls(**{**given, "loss": loss, "loss_params": params, "log_every": config.tracking.log_every})

    def of_loop(self) -> TrainingOptions:
        """How the loop goes about it."""
        same = {name: getattr(self, name) for name in _OF_LOOP}
        return TrainingOptions(**same, restore_best=self.keep == "best")

    @property
    def epochs_before_swa(self) -> int:
        """Epochs before the first one that is averaged; there is always one that is."""
        return int(self.swa_start * self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: dict(value) if hasattr(value, "keys") else value for name, value in values.items()}
