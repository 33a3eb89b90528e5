"""Net2DeeperNet: one more layer, without a change of the function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.blocks import DynamicBlock
from agentnn.nn_models.architecture.changes import Change
from agentnn.nn_models.architecture.description import Architecture, Block
from agentnn.nn_models.architecture.surgery import Surgery

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.network import DynamicNetwork

_NEVER_NEGATIVE = ("relu", "sigmoid", "softplus")
"""Activations that give no negative numbers."""

_IDENTITY_ABOVE_ZERO = ("identity", "relu", "leaky_relu", "elu")
"""Activations that leave numbers of at least 0 as they are."""


def deepen(
    network: DynamicNetwork,
    at: int,
    *,
    activation: str | None = None,
    residual: bool | None = None,
    optimizer: Optimizer | None = None,
) -> Change:
    """Put a new layer before the one at a place; the network gives what it gave, in evaluation mode.

    The new layer is an identity where that is possible: behind a plain layer of ``relu``, ``sigmoid`` or ``softplus``,
    which give no negative numbers, and with an activation that leaves such numbers alone: ``relu``, ``leaky_relu``,
    ``elu``, ``identity`` (Net2DeeperNet: Chen, Goodfellow, Shlens 2016, https://arxiv.org/abs/1511.05641). It has no
    normalisation then, which would have to be undone for every batch anew. With ``identity`` as the activation it is
    an identity anywhere, and adds nothing but depth to a linear map.

    Otherwise it is a residual layer whose gate is 0, which changes nothing whatever its activation and its
    normalisation: its weights begin at random, by torch's random numbers, and learn once the gate has moved.

    Args:
        network: What is deepened, in place.
        at: From 0, before the first hidden layer, to the depth, behind the last one.
        activation: Of the new layer; without one that of the layer before it, or behind it at 0. So is its dropout.
        residual: Which of the two it is; what is possible without it.
        optimizer: Trains the network, and has to be told: the new weights begin without a state.

    Raises:
        UsageError: There is no such place, the layer can't be an identity there, or the optimizer can't be
            carried over.
        ConfigError: The activation is unknown.
    """
    before = network.architecture
    if type(at) is not int or not 0 <= at <= before.depth:
        raise UsageError(f"there is no place {at!r} for a layer", hint=f"from 0 to {before.depth}")
    block = block_for(before, at, activation=activation, residual=residual)
    surgery = Surgery(network, optimizer)
    surgery.insert(at, _made(block))
    surgery.finish(before.with_block(at, block))
    return Change("deepen", at, True, before, network.architecture)


def block_for(
    architecture: Architecture, at: int, *, activation: str | None = None, residual: bool | None = None
) -> Block:
    """The layer that :func:`deepen` would put in.

    Raises:
        UsageError: It can't be an identity there.
        ConfigError: The activation is unknown.
    """
    beside = architecture.blocks[max(at - 1, 0)] if architecture.depth else Block(width=1)
    chosen = beside.activation if activation is None else activation
    can_be_identity = _keeps_values(architecture, at, chosen)
    if residual is False and not can_be_identity:
        raise UsageError(f"a layer of {chosen} can't be an identity at {at}", hint="residual=True")
    is_residual = not can_be_identity if residual is None else residual
    return Block(
        width=architecture.width_before(at),
        activation=chosen,
        normalisation=beside.normalisation if is_residual else "none",
        dropout=beside.dropout,
        residual=is_residual,
    )


def _keeps_values(architecture: Architecture, at: int, activation: str) -> bool:
    """Whether an activation leaves what comes before this place as it is."""
    if activation == "identity":
        return True
    block = architecture.blocks[at - 1] if at else None
    is_never_negative = block is not None and not block.residual and block.activation in _NEVER_NEGATIVE
    return is_never_negative and activation in _IDENTITY_ABOVE_ZERO


def _made(block: Block) -> DynamicBlock:
    made = DynamicBlock(block.width, block)
    if not block.residual:
        with torch.no_grad():
            made.linear.weight.copy_(torch.eye(block.width))
            made.linear.bias.zero_()
    return made
