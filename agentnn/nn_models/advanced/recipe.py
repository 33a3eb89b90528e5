"""What a network is trained with: optimizer, schedule, loss and average, as the options say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.nn_models.advanced.smoothing import smoothed
from agentnn.training.loop.averaging import ExponentialAverage, StochasticAverage
from agentnn.training.loop.optimisation import Schedule, build_loss, build_optimizer, build_schedule
from agentnn.training.loop.parameter_groups import parameter_groups
from agentnn.training.loop.swa_schedule import SwaSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn
    from torch.optim import Optimizer

    from agentnn.nn_models.advanced.options import AdvancedOptions
    from agentnn.training.loop.averaging import Averaging


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a network is trained with.

    Attributes:
        optimizer: Of its parameters, in groups.
        schedule: Of the learning rate.
        criterion: (outputs, targets) to the mean loss; with smoothed labels in training mode.
        make_averaging: Makes the average, where there is to be one.
        groups: The groups of parameters by name: how many there are, their full learning rate, and weight decay.
    """

    optimizer: Optimizer
    schedule: Schedule
    criterion: nn.Module
    make_averaging: Callable[[nn.Module], Averaging] | None
    groups: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        options: AdvancedOptions,
        n_samples: int,
        output_dim: int = 1,
        criterion: nn.Module | None = None,
    ) -> Recipe:
        """The recipe that the options say.

        Args:
            model: What is trained, where it is trained.
            options: How.
            n_samples: Of the training part.
            output_dim: Values that the model gives.
            criterion: In the place of ``options.loss``.

        Raises:
            ConfigError: An argument of the optimizer, the scheduler or the loss is wrong.
            UsageError: A pattern of ``learning_rate_multipliers`` fits no parameter.
        """
        groups = parameter_groups(
            model, options, only_weights=options.decay_only_weights, multipliers=options.learning_rate_multipliers
        )
        plain = len(groups) == 1 and not options.learning_rate_multipliers  # LBFGS takes no groups
        optimizer = build_optimizer(options, groups[0]["params"] if plain else groups)
        described = {group.get("name", "all"): _described(group) for group in optimizer.param_groups}
        steps_per_epoch = math.ceil(n_samples / (options.batch_size * options.accumulate_steps))
        loss = build_loss(options.loss, options.loss_params, output_dim) if criterion is None else criterion
        return cls(
            optimizer,
            _schedule(options, optimizer, steps_per_epoch),
            smoothed(loss, options.label_smoothing),
            _average(options),
            described,
        )


def _described(group: dict[str, Any]) -> dict[str, Any]:
    return {
        "parameters": sum(one.numel() for one in group["params"]),
        "learning_rate": float(group["lr"]),
        "weight_decay": group.get("weight_decay", 0.0),
    }


def _schedule(options: AdvancedOptions, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    last = options.swa_learning_rate or options.learning_rate / 2
    rates = [group["lr"] * (last / options.learning_rate) for group in optimizer.param_groups]
    schedule = build_schedule(options, optimizer, steps_per_epoch)
    if options.average != "swa":
        return schedule
    return SwaSchedule(schedule, optimizer, rates, options.epochs_before_swa, options.swa_anneal_epochs)


def _average(options: AdvancedOptions) -> Callable[[nn.Module], Averaging] | None:
    if options.average == "ema":
        return lambda model: ExponentialAverage(model, options.ema_decay, correct_bias=options.ema_correct_bias)
    if options.average == "swa":
        return lambda model: StochasticAverage(model, options.epochs_before_swa)
    return None
