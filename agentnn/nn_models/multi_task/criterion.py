"""What is trained, a network and its balance, and the criterion that the training loop takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from agentnn.nn_models.multi_task.labels import label_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentnn.nn_models.multi_task.balance import Balance
    from agentnn.nn_models.multi_task.losses import TaskLosses
    from agentnn.nn_models.multi_task.network import MultiTaskNetwork


class Trainee(nn.Module):
    """A network, and the balance of its tasks: everything that a checkpoint has to hold.

    Args:
        network: Inputs to the outputs of all tasks.
        balance: Of the losses.
        settings: What has to be the same for the training to be the same, beside the shapes of the weights.
    """

    def __init__(self, network: MultiTaskNetwork, balance: Balance, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.balance = balance
        self.settings = dict(settings)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs of the network."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def get_extra_state(self) -> str:
        """The settings, which lie in the state dict beside the weights."""
        return json.dumps(self.settings)

    def set_extra_state(self, state: str) -> None:
        """Look whether the weights that are being loaded belong to this training.

        Raises:
            ValueError: They are of one with other settings.
        """
        was = json.loads(state)
        for name, value in json.loads(self.get_extra_state()).items():
            if was.get(name) != value:
                raise ValueError(f"its {name} was {was.get(name)}, and is {value} now")


class CombinedLoss(nn.Module):
    """The loss of all tasks: its value is that by the fixed weights, its gradient that of the balance.

    A learnt weight makes a loss smaller without making a prediction better. So what is seen of a training, and what
    chooses its best epoch, is ``sum of weight_i * L_i`` with the weights that the tasks were given, whatever the
    balance has learnt.

    Args:
        trainee: What is trained.
        losses: Of each task.
        validation: Packed labels of the part that is only looked at. In evaluation mode the losses of a task count as
            a mean over all labels of that part, however it is cut into batches.
    """

    weights: Tensor
    shares: Tensor

    def __init__(self, trainee: Trainee, losses: TaskLosses, validation: Tensor) -> None:
        super().__init__()
        self.losses = losses
        self.balance = trainee.balance
        self._shared = (trainee.network.shared,)  # in a tuple, so that it is no part of this module
        self.register_buffer("weights", torch.tensor([task.weight for task in losses.tasks]))
        self.register_buffer("shares", label_counts(validation) / len(validation))

    def forward(self, outputs: Tensor, packed: Tensor) -> Tensor:
        """From the network's outputs and packed labels to one number."""
        summed = self.losses(outputs, packed)
        if not self.training:
            return self.weights.dot(torch.stack(summed.sums) / (len(outputs) * self.shares))
        means = summed.means
        balanced: Tensor = self.balance(means, summed.counts, self._shared[0].weight)
        value = self.weights.dot(torch.stack(means).detach())
        return value + (balanced - balanced.detach())
