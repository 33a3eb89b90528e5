"""Layer normalisation that a change of the width leaves as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SharedLayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450) whose mean and variance are weighted.

    With equal shares it is ``nn.LayerNorm``. Where a unit is replicated, its replicas divide its share, so that mean
    and variance over the units, and with them the function, are the same as before.

    Args:
        width: Units.
        eps: Added to the variance.
    """

    share: Tensor

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("share", torch.ones(width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, width), as it was."""
        share = self.share / self.share.sum()
        # No matrix products: autocasting would compute those with few digits.
        centred = inputs - (inputs * share).sum(dim=-1, keepdim=True)
        variance = (centred.square() * share).sum(dim=-1, keepdim=True)
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def make_normalisation(kind: str, width: int) -> nn.Module:
    """The layer for a block's ``normalisation``."""
    if kind == "batch":
        return nn.BatchNorm1d(width)
    return SharedLayerNorm(width) if kind == "layer" else nn.Identity()
