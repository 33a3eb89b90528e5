"""A network, its optimizer, and what it is worth; what networks are trained on while an architecture is sought."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agentnn.nn_models.architecture.proposals import wider
from agentnn.training.loop.steps import Samples, Stepper
from agentnn.training.train_nn_model import train_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.changes import Change
    from agentnn.nn_models.architecture.network import DynamicNetwork
    from agentnn.nn_models.architecture.options import ArchitectureOptions
    from agentnn.nn_models.architecture.proposals import Proposal


@dataclass(frozen=True, slots=True, eq=False)
class Teaching:
    """What networks are trained on, and how.

    Attributes:
        train: What is learnt from.
        validation: What is only looked at.
        criterion: (outputs, targets) to the mean loss.
        metrics: By name, (outputs, targets) of the whole validation part to a number.
        options: How.
        device: Where.
    """

    train: Samples
    validation: Samples
    criterion: nn.Module
    metrics: Mapping[str, Callable[[Tensor, Tensor], float]]
    options: ArchitectureOptions
    device: torch.device

    def is_better(self, value: float, than: float, by: float = 0.0) -> bool:
        """Whether a value is better than another one by more than so much; one that is not finite never is."""
        if not math.isfinite(value) or not math.isfinite(than):
            return math.isfinite(value)
        gain = than - value if self.options.monitor_mode == "min" else value - than
        return gain > by


@dataclass(frozen=True, slots=True, eq=False)
class Trainee:
    """A network while its architecture is sought.

    Attributes:
        network: The network.
        optimizer: What trains it.
        value: Its value of what is monitored.
        measures: What its last training measured in the epoch whose weights were kept, by name.
    """

    network: DynamicNetwork
    optimizer: Optimizer
    value: float
    measures: Mapping[str, float] = field(default_factory=dict)

    def copied(self) -> Trainee:
        """Another one that is the same."""
        network, optimizer = copy.deepcopy((self.network, self.optimizer))
        return replace(self, network=network, optimizer=optimizer)

    def measured(self, teaching: Teaching) -> Trainee:
        """With the value that it has now."""
        stepper = Stepper(
            self.network, self.optimizer, teaching.criterion, teaching.options.of_phase(0), teaching.device
        )
        return replace(self, value=stepper.evaluate(teaching.validation, teaching.metrics)[teaching.options.monitor])

    def trained(self, teaching: Teaching, seed: int) -> Trainee:
        """Train it, with the order of samples and dropout of a seed; it keeps the weights of the best epoch."""
        history = train_model(
            self.network,
            *teaching.train,
            *teaching.validation,
            self.optimizer,
            teaching.criterion,
            teaching.options.epochs,
            options=teaching.options.of_phase(seed),
            metrics=teaching.metrics,
        )
        return replace(self, value=history.best_value, measures=history.at_best())

    def change(self, proposal: Proposal, teaching: Teaching) -> Change:
        """Change the network, and carry the optimizer over."""
        network, options = self.network, teaching.options
        if proposal.kind == "widen":
            width = wider(network.architecture.blocks[proposal.layer].width, options)
            return network.widen(proposal.layer, width, noise=options.noise, optimizer=self.optimizer)
        if proposal.kind == "deepen":
            return network.deepen(proposal.layer, optimizer=self.optimizer)
        if proposal.kind == "remove":
            return network.remove(proposal.layer, optimizer=self.optimizer)
        judged: dict[str, Any] = {"targets": teaching.train.targets, "criterion": teaching.criterion}
        return network.prune(
            proposal.layer,
            fraction=options.prune_fraction,
            by=options.prune_by,
            sample=teaching.train.inputs,
            **judged,
            optimizer=self.optimizer,
        )
