"""Optimizers, schedules of the learning rate, and losses, by the names of the configuration."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from agentnn.errors import ConfigError, UsageError
from agentnn.training.loop.robust_losses import Barron, GeneralizedCrossEntropy, LogCosh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch.optim import Optimizer

    from agentnn.training.networks import Predicts

_EACH_STEP = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
_SCHEDULER_PARAMS = "training.scheduler_params"


class OptimizerChoice(Protocol):
    """What says which optimizer is wanted: the section ``training``, or options with the same names."""

    @property
    def optimizer(self) -> str:
        """A class of ``torch.optim``."""

    @property
    def learning_rate(self) -> float:
        """Of a step."""

    @property
    def weight_decay(self) -> float | None:
        """The optimizer's own without it."""

    @property
    def momentum(self) -> float | None:
        """The optimizer's own without it."""

    @property
    def optimizer_params(self) -> Mapping[str, Any]:
        """Its other arguments."""


class ScheduleChoice(Protocol):
    """What says how the learning rate is to change: the section ``training``, or options with the same names."""

    @property
    def scheduler(self) -> str:
        """Its name."""

    @property
    def scheduler_params(self) -> Mapping[str, Any]:
        """Its arguments."""

    @property
    def learning_rate(self) -> float:
        """Of a step at its full rate."""

    @property
    def warmup_steps(self) -> int:
        """Steps until then."""

    @property
    def epochs(self) -> int:
        """Passes over the training part, at most."""

    @property
    def monitor_mode(self) -> str:
        """Whether what is monitored is best when it is smallest."""


def build_optimizer(
    training: OptimizerChoice, weights: Iterable[nn.Parameter] | Sequence[Mapping[str, Any]]
) -> Optimizer:
    """The optimizer that is chosen.

    Args:
        training: The section ``training``, or options like it.
        weights: What is trained; or groups of it, each with what is its own: see ``torch.optim``.

    Raises:
        ConfigError: It does not take one of the arguments, or not this value.
    """
    kind = getattr(torch.optim, training.optimizer)
    given = {"weight_decay": training.weight_decay, "momentum": training.momentum}
    arguments = {name: value for name, value in given.items() if value is not None}
    known = _arguments_of(kind)
    for name in arguments:
        if name not in known:
            raise ConfigError(f"training.{name}: {training.optimizer} has none", hint=f"leave training.{name} out")
    more = _checked(training.optimizer_params, known, "training.optimizer_params", training.optimizer)
    try:
        optimizer: Optimizer = kind(weights, lr=training.learning_rate, **arguments, **more)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"training.optimizer_params: {training.optimizer}: {error}") from error
    return optimizer


@dataclass(slots=True, eq=False)
class Schedule:
    """How the learning rate changes; parts may be missing.

    Attributes:
        each_step: A scheduler that is told of every step.
        each_epoch: A scheduler that is told of every epoch, and of what is monitored if it asks for it.
    """

    each_step: lr_scheduler.LRScheduler | None = None
    each_epoch: lr_scheduler.LRScheduler | None = None

    @classmethod
    def of(cls, scheduler: Any) -> Self:
        """A schedule as it is, or of one of torch's schedulers: those that count steps are told of steps."""
        if isinstance(scheduler, cls):
            return scheduler
        return cls(each_step=scheduler) if isinstance(scheduler, _EACH_STEP) else cls(each_epoch=scheduler)

    def after_step(self) -> None:
        """Go on after a step of the optimizer."""
        scheduler = self.each_step
        if isinstance(scheduler, lr_scheduler.OneCycleLR) and scheduler.last_epoch >= scheduler.total_steps:
            return  # more epochs than it was made for: its last value stays
        if scheduler is not None:
            scheduler.step()

    def after_epoch(self, monitored: float) -> None:
        """Go on after an epoch."""
        if isinstance(self.each_epoch, lr_scheduler.ReduceLROnPlateau):
            self.each_epoch.step(monitored)
        elif self.each_epoch is not None:
            self.each_epoch.step()

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return {name: one.state_dict() for name, one in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            KeyError: It is the state of another kind of schedule.
        """
        for name, one in self._parts.items():
            one.load_state_dict(state[name])

    @property
    def _parts(self) -> dict[str, Any]:
        parts = {"each_step": self.each_step, "each_epoch": self.each_epoch}
        return {name: one for name, one in parts.items() if one is not None}


def build_schedule(training: ScheduleChoice, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """The schedule that is chosen.

    In the first ``warmup_steps`` steps the learning rate rises in equal parts to what the scheduler says. ``step``,
    ``multistep`` and ``exponential`` change it from one epoch to the next, ``cosine`` and ``onecycle`` with every step;
    ``warmup_cosine`` begins its cosine after the warm-up, which is a tenth of all steps unless it is said;
    ``plateau`` looks at ``training.monitor`` after each epoch.

    Args:
        training: The section ``training``, or options like it.
        optimizer: What is scheduled.
        steps_per_epoch: Steps of the optimizer in an epoch.

    Raises:
        ConfigError: The scheduler does not take one of ``scheduler_params``, or not this value.
    """
    try:
        return _schedule(training, optimizer, steps_per_epoch)
    except ConfigError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"{_SCHEDULER_PARAMS}: {training.scheduler}: {error}") from error


def _schedule(training: ScheduleChoice, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    name, params = training.scheduler, training.scheduler_params
    total, warmup = training.epochs * steps_per_epoch, training.warmup_steps
    if name == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        given = {"max_lr": rates, "total_steps": total, "pct_start": warmup / total or 0.3}
        known = _arguments_of(lr_scheduler.OneCycleLR) - {"total_steps", "epochs", "steps_per_epoch"}
        arguments = {**given, **_checked(params, known, _SCHEDULER_PARAMS, name)}
        return Schedule(each_step=lr_scheduler.OneCycleLR(optimizer, **arguments))
    if name == "plateau":
        known = _arguments_of(lr_scheduler.ReduceLROnPlateau)
        arguments = {"mode": training.monitor_mode, **_checked(params, known, _SCHEDULER_PARAMS, name)}
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, **arguments)
        return Schedule(each_step=_WarmUp(optimizer, warmup) if warmup else None, each_epoch=plateau)
    if name == "warmup_cosine" and not warmup:
        warmup = max(1, total // 10)
    factor = _factor(training, steps_per_epoch, warmup)
    if name == "constant" and not warmup:
        return Schedule()
    return Schedule(
        each_step=lr_scheduler.LambdaLR(optimizer, lambda step: factor(step) * min(1.0, (step + 1) / (warmup or 1)))
    )


def _factor(training: ScheduleChoice, steps_per_epoch: int, warmup: int) -> Callable[[int], float]:
    """What the learning rate is multiplied by at a step, from 0, once it has warmed up."""
    name, epochs = training.scheduler, training.epochs

    def arguments(**defaults: Any) -> tuple[Any, ...]:
        return tuple(
            {**defaults, **_checked(training.scheduler_params, set(defaults), _SCHEDULER_PARAMS, name)}.values()
        )

    if name == "step":
        step_size, gamma = arguments(step_size=max(1, epochs // 3), gamma=0.1)
        return lambda step: float(gamma ** (step // steps_per_epoch // step_size))
    if name == "multistep":
        milestones, gamma = arguments(milestones=[epochs // 2, epochs * 3 // 4], gamma=0.1)
        return lambda step: float(gamma ** sum(step // steps_per_epoch >= one for one in milestones))
    if name == "exponential":
        (gamma,) = arguments(gamma=0.95)
        return lambda step: float(gamma ** (step // steps_per_epoch))
    if name in ("cosine", "warmup_cosine"):
        (eta_min,) = arguments(eta_min=0.0)
        least, first = eta_min / training.learning_rate, warmup if name == "warmup_cosine" else 0
        length = max(1, epochs * steps_per_epoch - first)
        return lambda step: least + (1 - least) * (1 + math.cos(math.pi * min(1, max(0, step - first) / length))) / 2
    arguments()
    return lambda step: 1.0


class _WarmUp(lr_scheduler.LRScheduler):
    """Multiplies the learning rate while it warms up, and then leaves it to somebody else."""

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rates of the next step."""
        if self.last_epoch >= self.steps:
            return [group["lr"] for group in self.optimizer.param_groups]
        return [base * (self.last_epoch + 1) / self.steps for base in self.base_lrs]


class QuantileLoss(nn.Module):
    """The pinball loss: its minimum is where each output is that quantile of the target.

    Args:
        quantiles: One for each output, between 0 and 1.
    """

    quantiles: Tensor

    def __init__(self, quantiles: Sequence[float]) -> None:
        super().__init__()
        if not quantiles or not all(0 < one < 1 for one in quantiles):
            raise ValueError(f"quantiles lie between 0 and 1, not {list(quantiles)}")
        self.register_buffer("quantiles", torch.tensor(list(quantiles), dtype=torch.float32))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """From (n, quantiles) and (n, 1), or one target for each quantile, to the mean loss."""
        if outputs.shape[-1] != len(self.quantiles):
            raise UsageError(
                f"{outputs.shape[-1]} outputs can't be {len(self.quantiles)} quantiles",
                hint="training.params.loss_params.quantiles has one for each of model.output_dim",
            )
        over = targets - outputs
        return torch.maximum(self.quantiles * over, (self.quantiles - 1) * over).mean()


_LOSSES: dict[str, tuple[type[nn.Module], Predicts]] = {
    "mse": (nn.MSELoss, "value"),
    "mae": (nn.L1Loss, "value"),
    "huber": (nn.HuberLoss, "value"),
    "smooth_l1": (nn.SmoothL1Loss, "value"),
    "bce": (nn.BCEWithLogitsLoss, "probability"),
    "cross_entropy": (nn.CrossEntropyLoss, "classes"),
    "quantile": (QuantileLoss, "value"),
    "log_cosh": (LogCosh, "value"),
    "barron": (Barron, "value"),
    "gce": (GeneralizedCrossEntropy, "probability"),
}
"""The losses, and what a network predicts that was trained by them."""


def predicts_by(loss: str) -> Predicts:
    """What the outputs of a network mean that was trained by this loss."""
    return _LOSSES[loss][1]


def build_loss(loss: str, params: Mapping[str, Any], output_dim: int = 1) -> nn.Module:
    """A loss that is a mean over samples.

    Args:
        loss: ``mse``, ``mae``, ``huber``, ``smooth_l1``, ``bce`` (of log-odds), ``cross_entropy`` (of logits),
            ``quantile``, or one of :mod:`~agentnn.training.loop.robust_losses`: ``log_cosh``, ``barron``, ``gce`` (of
            log-odds).
        params: Its arguments, such as ``{"delta": 0.5}``, ``{"pos_weight": 2.0}`` or ``{"quantiles": [0.1, 0.9]}``; by
            default quantiles divide the distribution into equal parts.
        output_dim: Outputs of the network.

    Raises:
        ConfigError: The loss does not take one of the arguments, or not this value.
    """
    kind, place = _LOSSES[loss][0], "training.params.loss_params"
    if not isinstance(params, Mapping):
        raise ConfigError(f"{place}: expected arguments by name, not {params!r}")
    arguments = _checked(params, _arguments_of(kind) - {"reduction", "size_average", "reduce"}, place, loss)
    try:
        for name in ("weight", "pos_weight"):
            if arguments.get(name) is not None:
                arguments[name] = torch.tensor(arguments[name], dtype=torch.float32)
        if kind is QuantileLoss:
            arguments.setdefault("quantiles", [(one + 1) / (output_dim + 1) for one in range(output_dim)])
        criterion = kind(**arguments)
        target = torch.zeros(1, dtype=torch.int64) if kind is nn.CrossEntropyLoss else torch.zeros(1, output_dim)
        criterion(torch.zeros(1, output_dim), target)  # many arguments are looked at with the first batch only
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{place}: {loss}: {error}") from error
    return criterion


def _arguments_of(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters) - {"params", "lr", "optimizer", "last_epoch", "verbose"}


def _checked(given: Mapping[str, Any], known: set[str], place: str, name: str) -> dict[str, Any]:
    unknown = [key for key in given if key not in known]
    if unknown:
        listed = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise ConfigError(f"{place}.{unknown[0]}: unknown to {name}", hint=listed)
    return dict(given)
