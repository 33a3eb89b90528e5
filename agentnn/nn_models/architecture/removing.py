"""Taking a layer out of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.changes import Change
from agentnn.nn_models.architecture.surgery import Surgery

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.blocks import DynamicBlock
    from agentnn.nn_models.architecture.network import DynamicNetwork


def remove(network: DynamicNetwork, layer: int, *, optimizer: Optimizer | None = None) -> Change:
    """Take a layer out.

    The linear map behind a plain layer becomes the product of the two, as if there was nothing between them. So the
    network gives what it gave, in evaluation mode, where the layer has no activation (``identity``), and none or batch
    normalisation, whose running statistics go into the product. Elsewhere the non-linearity of the layer, and what a
    normalisation by layer did, are lost: that is as much as training has to make up for. It is little for a layer that
    :meth:`~agentnn.nn_models.architecture.network.DynamicNetwork.deepen` put in and that is close to an identity still.

    A residual layer is dropped: the network loses what it added, and nothing while its gate is 0.

    Args:
        network: What is changed, in place.
        layer: A hidden layer, from 0.
        optimizer: Trains the network, and has to be told: its state of the map behind the layer begins anew.

    Raises:
        UsageError: There is no such layer, residual layers add to it, or the optimizer can't be carried over.
    """
    before = network.architecture
    before.check_layer(layer)
    if layer + 1 < before.depth and before.blocks[layer + 1].residual and not before.blocks[layer].residual:
        raise UsageError(
            f"the residual layer {layer + 1} adds to layer {layer}", hint=f"remove layer {layer + 1} first"
        )
    surgery = Surgery(network, optimizer)
    block = surgery.block(layer)
    if block.gate is not None:
        is_exact = not bool(block.gate.detach().any())
    else:
        is_exact = isinstance(block.activation, nn.Identity) and before.blocks[layer].normalisation != "layer"
        after = surgery.linear_after(layer)
        weight, bias = _product(block, after)
        surgery.put(after, "weight", weight)
        surgery.put(after, "bias", bias)
        after.in_features = weight.shape[1]
    surgery.drop(layer)
    surgery.finish(before.without(layer))
    return Change("remove", layer, is_exact, before, network.architecture)


@torch.no_grad()
def _product(block: DynamicBlock, after: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weights and bias of both linear maps as one, computed in double precision."""
    weight, bias = block.linear.weight.double(), block.linear.bias.double()
    layer = block.normalisation
    if isinstance(layer, nn.BatchNorm1d):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        scale = layer.weight.double() / torch.sqrt(layer.running_var.double() + layer.eps)
        weight = weight * scale.unsqueeze(1)
        bias = (bias - layer.running_mean.double()) * scale + layer.bias.double()
    second = after.weight.double()
    both, offset = second @ weight, second @ bias + after.bias.double()
    return both.to(after.weight.dtype), offset.to(after.weight.dtype)
