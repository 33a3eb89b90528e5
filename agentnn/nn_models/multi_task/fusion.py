"""How each task takes what it needs from the encoder: (batch, steps, width) to (batch, tasks, width)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Fusion = Literal["attention", "none"]


class StepAttention(nn.Module):
    """Each task attends over the steps with a query of its own, and adds what it finds to the latest step.

    It is the pooling by multi-head attention of the Set Transformer (Lee et al. 2019, https://arxiv.org/abs/1810.00825,
    section 3.2) with one seed a task.

    Args:
        width: Of a step's state.
        n_tasks: How many tasks.
        n_heads: The most attention heads; there are as many as also divide the width.
    """

    def __init__(self, width: int, n_tasks: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = math.gcd(width, n_heads)
        self.queries = nn.Parameter(torch.randn(n_tasks, width) / math.sqrt(width))
        self.keys_values = nn.Linear(width, 2 * width)
        self.mixed = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """From (batch, steps, width) to (batch, tasks, width)."""
        n_samples, n_steps, width = states.shape
        keys_values = self.keys_values(states).view(n_samples, n_steps, 2, self.n_heads, -1)
        keys, values = keys_values.permute(2, 0, 3, 1, 4)  # each (batch, heads, steps, width of a head)
        queries = self.queries.view(-1, self.n_heads, width // self.n_heads).transpose(0, 1)
        queries = queries.expand(n_samples, -1, -1, -1)
        found = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(-2)
        fused: Tensor = states[:, -1:] + self.mixed(found)
        return fused


class FeatureAttention(nn.Module):
    """Each task weighs the features of the latest step by a mask from 0 to 1 of its own.

    The soft attention masks of MTAN (Liu, Johns and Davison 2019, https://arxiv.org/abs/1803.10704, section 3.2), for
    an encoder that has no steps to attend over.

    Args:
        width: Of a step's state.
        n_tasks: How many tasks.
    """

    def __init__(self, width: int, n_tasks: int) -> None:
        super().__init__()
        self.n_tasks = n_tasks
        self.masks = nn.Linear(width, n_tasks * width)

    def forward(self, states: Tensor) -> Tensor:
        """From (batch, steps, width) to (batch, tasks, width)."""
        latest = states[:, -1]
        masks = torch.sigmoid(self.masks(latest)).view(len(latest), self.n_tasks, -1)
        fused: Tensor = masks * latest.unsqueeze(1)
        return fused


class SameForAll(nn.Module):
    """All tasks get the latest step as it is (hard parameter sharing, Caruana 1997).

    Args:
        n_tasks: How many tasks.
    """

    def __init__(self, n_tasks: int) -> None:
        super().__init__()
        self.n_tasks = n_tasks

    def forward(self, states: Tensor) -> Tensor:
        """From (batch, steps, width) to (batch, tasks, width)."""
        return states[:, -1:].expand(-1, self.n_tasks, -1)
