"""Net2WiderNet: more units in a layer, without a change of the function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.changes import Change
from agentnn.nn_models.architecture.surgery import Surgery
from agentnn.nn_models.architecture.unit_maps import UnitMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.network import DynamicNetwork


def widen(
    network: DynamicNetwork,
    layer: int,
    width: int,
    *,
    units: Sequence[int] | None = None,
    noise: float = 0.0,
    optimizer: Optimizer | None = None,
) -> Change:
    """Replicate units of a layer, and divide the weights that go out of them among the replicas.

    The network gives what it gave, in evaluation mode and up to rounding (Net2WiderNet: Chen, Goodfellow, Shlens 2016,
    https://arxiv.org/abs/1511.05641). With dropout it does so on average: replicas are dropped each by itself.
    Layers that add to this one are widened with it.

    The optimizer's state is what it would be had the units always been there (see ``TensorMap.moment``). Without noise
    and dropout replicas are trained alike and stay equal, so that nothing is gained: all of their outgoing weights make
    the step that the one weight would have made.

    Args:
        network: What is widened, in place.
        layer: A hidden layer, from 0.
        width: Its units afterwards; more than before.
        units: The units to replicate, one for each new unit; without them all in turn, in an order that torch's random
            numbers choose.
        noise: Standard deviation of what is added to the weights into the new units, as a share of that of the layer's
            weights. With it the replicas learn to differ, and the function changes by as much.
        optimizer: Trains the network, and has to be told.

    Raises:
        UsageError: There is no such layer or unit, the width is not greater, or the optimizer can't be carried over.
    """
    before = network.architecture
    stream = before.stream_of(layer)
    n_units = before.blocks[layer].width
    if type(width) is not int or width <= n_units:
        raise UsageError(f"layer {layer} has {n_units} units and can't be widened to {width!r}")
    if not noise >= 0:
        raise UsageError(f"noise must be at least 0, not {noise!r}")
    chosen = _in_turn(n_units, width - n_units) if units is None else _checked(units, n_units, width - n_units)
    surgery = Surgery(network, optimizer)
    linear = surgery.block(stream.start).linear
    surgery.resize(stream, UnitMap.of([*range(n_units), *chosen], n_units, linear.weight.device))
    if noise:
        with torch.no_grad():
            added = linear.weight[n_units:]
            spread = linear.weight[:n_units].std(correction=0)
            added.add_(noise * spread * torch.randn(added.shape, dtype=added.dtype).to(added.device))
    surgery.finish(before.with_width(stream, width))
    return Change("widen", layer, not noise, before, network.architecture)


def _in_turn(n_units: int, count: int) -> list[int]:
    """Units to replicate: none a second time before all were once."""
    rounds = -(-count // n_units)
    return torch.cat([torch.randperm(n_units) for _ in range(rounds)])[:count].tolist()


def _checked(units: Sequence[int], n_units: int, count: int) -> list[int]:
    if len(units) != count or not all(type(one) is int and 0 <= one < n_units for one in units):
        raise UsageError(f"units must name {count} units from 0 to {n_units - 1}, not {list(units)}")
    return list(units)
