"""How several tasks are learnt: plain values, which a section of a configuration can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from agentnn.errors import UsageError
from agentnn.nn_models.multi_task.balance import BalanceName
from agentnn.nn_models.multi_task.network import MultiTaskConfig
from agentnn.nn_models.multi_task.tasks import Task, checked_tasks
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.networks import NetworkConfig

if TYPE_CHECKING:
    from agentnn.nn_models.multi_task.fusion import Fusion

_NO_PARAMS = ("tasks", "training", "log_model")
_NO_TRAINING_PARAMS = ("checkpoint_dir", "checkpoint_every_s", "resume", "progress", "log_every")


def _training() -> TrainingOptions:
    return TrainingOptions(seed=0, restore_best=True, progress=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiTaskOptions:
    """How several tasks are learnt.

    Attributes:
        tasks: What is learnt.
        main: The task that a model of one output predicts; the first one without it.
        balance: How the losses become one; see :mod:`agentnn.nn_models.multi_task.balance`.
        alpha: Of GradNorm: how strongly tasks that learn slowly are pulled.
        balance_learning_rate: Of what the balance learns.
        fusion: ``attention`` of each task over the encoder's steps or features, or ``none``.
        head_layers: The width of each hidden layer of a head.
        family: Of the encoder: ``mlp``, ``lstm``, ``gru``, ``tcn`` or ``transformer``.
        hidden_layers: The width of each of its layers.
        activation: Between them.
        dropout: Probability of dropping a hidden unit while training.
        n_heads: Attention heads, of a transformer and of the fusion.
        kernel_size: Of the convolutions of a tcn.
        bidirectional: Whether an lstm or a gru also reads the window backwards.
        standardise: Whether features are taken with mean and deviation of the training part.
        epochs: Passes over the training part, at most.
        optimizer: A class of ``torch.optim``.
        learning_rate: Of it.
        weight_decay: Of it; its own default without one. What the balance learns does not decay.
        training: All else, as for :func:`~agentnn.training.train_nn_model.train_model`. What it monitors is
            ``val_loss``, by the fixed weights of the tasks, unless it names another metric, such as
            ``val_direction_loss``.
        log_model: Whether the run gets the network as a model.

    Raises:
        UsageError, ConfigError: A value is out of range.
    """

    tasks: tuple[Task, ...]
    main: str | None = None
    balance: BalanceName = "uncertainty"
    alpha: float = 1.5
    balance_learning_rate: float = 0.025
    fusion: Fusion = "attention"
    head_layers: tuple[int, ...] = ()
    family: str = "gru"
    hidden_layers: tuple[int, ...] = (32,)
    activation: str = "relu"
    dropout: float = 0.0
    n_heads: int = 4
    kernel_size: int = 3
    bidirectional: bool = False
    standardise: bool = True
    epochs: int = 20
    optimizer: str = "AdamW"
    learning_rate: float = 1e-3
    weight_decay: float | None = None
    training: TrainingOptions = field(default_factory=_training)
    log_model: bool = True

    def __post_init__(self) -> None:
        for name, value in (
            ("tasks", checked_tasks(self.tasks)),
            ("hidden_layers", tuple(self.hidden_layers)),
            ("head_layers", tuple(self.head_layers)),
        ):
            object.__setattr__(self, name, value)
        names = [task.name for task in self.tasks]
        if self.main is not None and self.main not in names:
            raise UsageError(f"main is {self.main!r}, which is no task", hint=f"one of {', '.join(names)}")
        if self.balance not in get_args(BalanceName):
            raise UsageError(f"unknown balance {self.balance!r}", hint=f"one of {', '.join(get_args(BalanceName))}")
        if not 0 <= self.alpha < float("inf"):
            raise UsageError(f"alpha must be at least 0, not {self.alpha!r}")
        for name in ("learning_rate", "balance_learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} must be greater than 0, not {getattr(self, name)!r}")
        if self.balance == "gradnorm" and self.training.precision == "float16":
            raise UsageError(
                "gradnorm can't be used with float16, whose gradients are scaled", hint="precision: bfloat16 or float32"
            )
        if self.balance == "gradnorm" and self.training.compile:
            raise UsageError("gradnorm can't be compiled: it takes several gradients of a batch", hint="compile: false")
        self.network(1, 1)  # checks what is left

    @property
    def main_task(self) -> Task:
        """The task that a model of one output predicts."""
        return next(task for task in self.tasks if self.main in (None, task.name))

    def network(self, n_features: int, window: int) -> MultiTaskConfig:
        """The network for data of this shape."""
        encoder = NetworkConfig(
            family=self.family,
            n_features=n_features,
            window=window,
            hidden_layers=self.hidden_layers,
            activation=self.activation,
            dropout=self.dropout,
            n_heads=self.n_heads,
            kernel_size=self.kernel_size,
            bidirectional=self.bidirectional,
        )
        return MultiTaskConfig(encoder, self.tasks, self.fusion, self.head_layers)

    def of_balance(self) -> dict[str, Any]:
        """What decides how the losses become one, as JSON has it."""
        return {
            "tasks": [task.to_dict() for task in self.tasks],
            "balance": self.balance,
            "alpha": self.alpha,
            "balance_learning_rate": self.balance_learning_rate,
        }

    def to_params(self) -> dict[str, Any]:
        """What a run keeps of them: by task its kind and weight, and all that is said once."""
        values = {name: value for name, value in asdict(self).items() if name not in _NO_PARAMS}
        training = {name: value for name, value in asdict(self.training).items() if name not in _NO_TRAINING_PARAMS}
        tasks = {
            f"task.{task.name}.{name}": value
            for task in self.tasks
            for name, value in task.to_dict().items()
            if name in {"kind", "weight", *_ALSO_SAID.get(task.kind, ())}
        }
        return {**values, **training, **tasks, "main": self.main_task.name}


_ALSO_SAID = {"return": ("loss",), "volatility": ("loss",), "classes": ("classes",), "quantiles": ("quantiles",)}
