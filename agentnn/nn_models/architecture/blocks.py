"""One hidden layer of a network whose layers change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agentnn.nn_models.architecture.description import ACTIVATIONS
from agentnn.nn_models.architecture.normalisation import make_normalisation

if TYPE_CHECKING:
    from agentnn.nn_models.architecture.description import Block


class DynamicBlock(nn.Module):
    """One hidden layer; see :class:`~agentnn.nn_models.architecture.description.Block`."""

    gate: nn.Parameter | None

    def __init__(self, n_inputs: int, block: Block) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, block.width)
        self.normalisation = make_normalisation(block.normalisation, block.width)
        self.activation = ACTIVATIONS[block.activation]()
        self.dropout = nn.Dropout(block.dropout)
        self.register_parameter("gate", nn.Parameter(torch.zeros(1)) if block.residual else None)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (batch, inputs) to (batch, width)."""
        outputs: Tensor = self.dropout(self.activation(self.normalisation(self.linear(inputs))))
        return outputs if self.gate is None else inputs + self.gate * outputs
