"""What a configuration says of a trainer beyond the plain loop: one section each, beside the key ``trainer``.

What the other sections say already, such as ``training.learning_rate``, is used from there and not said again here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self, get_args

from pydantic import Field, model_validator

from agentnn.config.schema_types import Choice, Section, Values, wrong

if TYPE_CHECKING:
    from agentnn.config.schema import Config

Move = Literal["widen", "deepen", "prune", "remove"]
Reaction = Literal["raise_learning_rate", "reset_optimizer", "reset_head"]


class TrainerSection(Section):
    """What only this trainer needs."""

    def check_beside(self, config: Config) -> None:
        """Look at the other sections, all of which are checked by now.

        Raises:
            PydanticCustomError: One of them does not go with this trainer: ``wrong("model.family", "expected …")``.
        """


class AdvancedSection(TrainerSection):
    """Training of one network with all that is usual: averaged weights, groups, warm-up, several inputs."""

    average: Literal["none", "ema", "swa"] = Field(
        default="none",
        description="What is judged and kept: the weights, their moving average, or their mean over the last epochs.",
    )
    ema_decay: float = Field(default=0.99, ge=0, lt=1, description="About 1 / (1 - ema_decay) steps count.")
    ema_correct_bias: bool = Field(
        default=True, description="Correct for the beginning; else the first step counts for all before it."
    )
    swa_start: float = Field(default=0.75, ge=0, lt=1, description="Share of the epochs before the first averaged one.")
    swa_learning_rate: float | None = Field(
        default=None, gt=0, description="In the averaged epochs; half of training.learning_rate otherwise."
    )
    swa_anneal_epochs: int = Field(default=0, ge=0, description="Epochs in which the learning rate goes to that.")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="How far labels are drawn to the middle while they are learnt from."
    )
    decay_only_weights: bool = Field(
        default=True, description="Weight decay leaves biases and the scales of normalisation alone."
    )
    learning_rate_multipliers: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=Values,
        description="Factors by a pattern of parameters' names, such as body.*; the first counts.",
    )
    keep: Literal["best", "last"] = Field(default="best", description="The weights of the best epoch, or of the last.")
    compile: bool = Field(default=False, description="Compile by torch.compile, where that can be done.")
    calendar: bool = Field(default=False, description="Weekday, month and the day in it as an input of its own.")
    static: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, description="Features of which only the latest day is read, as an input of their own."
    )
    fusion: Literal["gated", "concat"] = Field(
        default="gated", description="How several inputs are put together: shares that are learnt, or one layer."
    )

    @model_validator(mode="after")
    def _readable_multipliers(self) -> Self:
        object.__setattr__(self, "learning_rate_multipliers", Values(self.learning_rate_multipliers))
        return self


class DynamicArchitectureSection(TrainerSection):
    """A perceptron that is widened, deepened, pruned and shortened while it is trained.

    It begins with ``model.hidden_layers``, and is trained for ``training.epochs`` before the first change and after
    each one.
    """

    moves: list[Move] = Field(
        default_factory=lambda: list[Move](("widen", "deepen")),
        min_length=1,
        description="The kinds of changes to try, in turn.",
    )
    max_changes: int = Field(default=8, ge=0, description="Try no more changes than that.")
    max_parameters: int | None = Field(default=None, ge=1, description="Make the network no larger than that.")
    max_seconds: float | None = Field(default=None, gt=0, description="Try no further change after so much time.")
    most_in_vain: int = Field(default=3, ge=1, description="Stop after so many changes in succession not kept.")
    control: bool = Field(
        default=True, description="Compare with the unchanged network after as much further training."
    )
    min_gain: float = Field(default=0.0, ge=0, description="By how much a larger network has to be better.")
    tolerance: float = Field(default=0.0, ge=0, description="By how much a smaller one may be worse.")
    widen_by: float = Field(default=2.0, gt=1, description="The factor by which a layer is widened.")
    noise: float = Field(default=0.1, ge=0, description="How far copied units are drawn apart.")
    prune_fraction: float = Field(default=0.25, gt=0, lt=1, description="The share of its units that a layer loses.")
    prune_by: Literal["magnitude", "activation", "taylor"] = Field(
        default="activation", description="How these are chosen."
    )
    normalisation: Literal["none", "batch", "layer"] = Field(
        default="none", description="Of the layers that it begins with."
    )

    def check_beside(self, config: Config) -> None:
        """See :meth:`TrainerSection.check_beside`: a perceptron, trained in many short phases."""
        if config.model.family != "mlp":
            raise wrong("model.family", "expected mlp, whose layers can be changed by trainer: dynamic_architecture")
        training = config.training
        if training.scheduler != "constant" or training.warmup_steps:
            key = "scheduler" if training.scheduler != "constant" else "warmup_steps"
            raise wrong(f"training.{key}", "expected none, since a changing network is trained in short phases")


TaskKind = Literal["direction", "return", "volatility", "classes", "quantiles"]


class TaskSection(Section):
    """One of the tasks that are learnt at once."""

    kind: TaskKind | None = Field(default=None, description="What it predicts; as the task is called otherwise.")
    weight: float = Field(default=1.0, gt=0, description="How much it counts in the combined loss.")
    horizon: int | None = Field(
        default=None,
        ge=1,
        description="Days ahead that it looks; 5 of a volatility, otherwise 1; data.horizon of main.",
    )
    loss: Literal["mse", "mae", "huber"] | None = Field(
        default=None, description="Of a return or a volatility; mse otherwise, and training.loss of main."
    )
    classes: int | None = Field(
        default=None, ge=2, description="As many equally frequent ranges of the return, of which it predicts one; 3."
    )
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] | None = Field(
        default=None, min_length=1, description="Those of the return that it predicts, ascending; 0.1, 0.5, 0.9."
    )


_OF_KIND = {"loss": ("return", "volatility"), "classes": ("classes",), "quantiles": ("quantiles",)}
"""Keys of a task that only some kinds have."""


class MultiTaskSection(TrainerSection):
    """Several tasks on one encoder: the target of ``data``, and others that are derived from the prices."""

    tasks: dict[str, TaskSection] = Field(
        default_factory=lambda: {name: TaskSection() for name in ("direction", "return", "volatility")},
        min_length=1,
        description="What is learnt, by name.",
    )
    main: str | None = Field(
        default=None,
        min_length=1,
        description="The task that is the target of data, and is judged and traded; the first of that kind otherwise.",
    )
    balance: Literal["fixed", "uncertainty", "gradnorm"] = Field(
        default="uncertainty", description="How the losses become one: by their weights, or by what is learnt of them."
    )
    alpha: float = Field(default=1.5, ge=0, description="How strongly gradnorm pulls tasks that learn slowly.")
    balance_learning_rate: float = Field(default=0.025, gt=0, description="Of what the balance learns.")
    fusion: Literal["attention", "none"] = Field(
        default="attention", description="Whether each task attends by itself over what the encoder gives."
    )
    head_layers: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="The width of each hidden layer of a head."
    )

    @model_validator(mode="after")
    def _tasks_are_known(self) -> Self:
        for name, task in self.tasks.items():
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
                raise wrong(f"tasks.{name}", "expected a name of letters, digits and _, with a letter at first")
            kind = task.kind or name
            if kind not in get_args(TaskKind):
                raise wrong(f"tasks.{name}", f"expected a kind: one of {', '.join(get_args(TaskKind))}")
            for key, kinds in _OF_KIND.items():
                if task[key] is not None and kind not in kinds:
                    raise wrong(f"tasks.{name}.{key}", f"a task of the kind {kind} has none")
            if task.quantiles is not None and sorted(set(task.quantiles)) != task.quantiles:
                raise wrong(f"tasks.{name}.quantiles", "expected them in ascending order, each once")
        if self.main is not None and self.main not in self.tasks:
            raise wrong("main", f"expected one of the tasks: {', '.join(self.tasks)}")
        return self

    def check_beside(self, config: Config) -> None:
        """See :meth:`TrainerSection.check_beside`: gradients that are scaled can't be compared."""
        if self.balance == "gradnorm" and config.training.precision == "float16":
            raise wrong("training.precision", "expected bfloat16 or float32, since multi_task.balance is gradnorm")


class DistributedSection(TrainerSection):
    """Several processes of this machine that train one network; training.batch_size counts the samples of all."""

    processes: int = Field(
        default=2, ge=1, description="How many; one on each CUDA device, or on its share of the CPU."
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="The whole network in each process, or a part of it."
    )
    backend: Literal["auto", "gloo", "nccl"] = Field(
        default="auto", description="What they talk by; as the device needs it, otherwise."
    )
    timeout_s: float = Field(default=120.0, gt=0, description="Seconds that a process waits for the others.")
    max_restarts: int = Field(
        default=3, ge=0, description="How often they go on from the last checkpoint after one has failed or is gone."
    )
    keep_checkpoints: int = Field(default=3, ge=1, description="How many of the last checkpoints stay.")

    def check_beside(self, config: Config) -> None:
        """FSDP's processes see their own part of the gradients, and only CPUs and CUDA devices can talk."""
        training = config.training
        if self.strategy == "fsdp" and training.precision == "float16":
            raise wrong("training.precision", "expected bfloat16 or float32 with distributed.strategy: fsdp")
        if self.strategy == "fsdp" and training.optimizer == "LBFGS":
            raise wrong("training.optimizer", "expected another one than LBFGS with distributed.strategy: fsdp")
        if self.processes > 1 and training.device.partition(":")[0] in ("mps", "xpu"):
            raise wrong("training.device", "expected auto, cpu or cuda with distributed.processes above 1")


class OnlineSection(TrainerSection):
    """A network that goes on learning from the days that it has predicted, each label once it is known."""

    warm_up: Literal["epochs", "stream"] = Field(
        default="epochs",
        description="How the training part is learnt: by the plain loop as training says, or once, as a stream.",
    )
    samples_a_step: int = Field(default=1, ge=1, description="Days whose labels have come that make one step.")
    learning_rate_share: float = Field(
        default=0.1, gt=0, description="The learning rate of the stream, as a share of training.learning_rate."
    )
    hypergradient: float = Field(default=0.0, ge=0, description="How fast the learning rate adapts by itself.")
    replayed: int = Field(default=0, ge=0, description="Older days that are added to each step, drawn from the memory.")
    memory: int = Field(default=0, ge=0, description="The latest days that were learnt from, to be drawn again.")
    detector: Literal["adwin", "page_hinkley", "none"] = Field(
        default="adwin", description="What watches the error for drift."
    )
    adwin_delta: float = Field(default=0.002, gt=0, lt=1, description="How seldom adwin is wrong.")
    adwin_range: float | None = Field(
        default=None, gt=0, description="The greatest error that adwin reckons with; by what was seen otherwise."
    )
    page_hinkley_threshold: float = Field(default=50.0, gt=0, description="The rise from which on it is a drift.")
    page_hinkley_tolerance: float = Field(default=0.005, ge=0, description="A rise a day that is none.")
    drift_cooldown: int = Field(default=60, ge=0, description="Days after a drift in which no other is seen.")
    reactions: list[Reaction] = Field(
        default_factory=lambda: list[Reaction](("raise_learning_rate",)),
        description="What is done about a drift, in this order.",
    )
    raise_factor: float = Field(default=5.0, gt=0, description="By what raise_learning_rate multiplies it.")
    raise_steps: int = Field(default=20, ge=1, description="Steps in which it comes down again.")
    head: str | None = Field(
        default=None, min_length=1, description="The module that reset_head makes anew; the last one otherwise."
    )
    fading: float = Field(default=0.99, gt=0, le=1, description="What a day counts less than the next, in the error.")
    error_window: int = Field(default=250, ge=1, description="Days of the windowed error.")
    log_every: int = Field(default=20, ge=1, description="Days between two times that metrics are logged.")

    @model_validator(mode="after")
    def _has_what_it_replays(self) -> Self:
        if self.replayed > self.memory:
            raise wrong("replayed", f"expected no more days than the memory holds, which are {self.memory}")
        return self

    def check_beside(self, config: Config) -> None:
        """See :meth:`TrainerSection.check_beside`: a stream has no epochs that could be monitored."""
        if self.warm_up == "stream" and config.training.monitor != "val_loss":
            raise wrong("training.monitor", "expected val_loss, since online.warm_up is stream")


class _Known(NamedTuple):
    """A trainer.

    Attributes:
        section: What its section holds.
        experiment: What its runs belong to where ``experiment.name`` does not say it.
        model_type: The tag of its runs; ``model.family`` without one.
    """

    section: type[TrainerSection]
    experiment: str
    model_type: str | None = None


TRAINERS = {
    "advanced": _Known(AdvancedSection, "advanced_training"),
    "dynamic_architecture": _Known(DynamicArchitectureSection, "architecture_optimization", "dynamic_mlp"),
    "multi_task": _Known(MultiTaskSection, "multi_task_learning"),
    "distributed": _Known(DistributedSection, "distributed_training"),
    "online": _Known(OnlineSection, "online_learning"),
}
"""By name, which is that of the section, too."""

Trainer = Annotated[str, Choice(*TRAINERS)]
