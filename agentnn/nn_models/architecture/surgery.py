"""Replacing parameters of a network, and telling the optimizer in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agentnn.nn_models.architecture.normalisation import SharedLayerNorm
from agentnn.nn_models.architecture.optimizer_state import Added, Replaced, carry_over, check_optimizer
from agentnn.nn_models.architecture.unit_maps import TensorMap

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.blocks import DynamicBlock
    from agentnn.nn_models.architecture.description import Architecture
    from agentnn.nn_models.architecture.network import DynamicNetwork
    from agentnn.nn_models.architecture.unit_maps import UnitMap


class Surgery:
    """One change of a network, and of the optimizer that trains it.

    Args:
        network: What is changed.
        optimizer: Trains it, if one does.

    Raises:
        UsageError: The optimizer can't be carried over; nothing was changed.
    """

    def __init__(self, network: DynamicNetwork, optimizer: Optimizer | None) -> None:
        check_optimizer(optimizer, network)
        self._network = network
        self._optimizer = optimizer
        self._replaced: list[Replaced] = []
        self._added: list[Added] = []

    def block(self, place: int) -> DynamicBlock:
        """A hidden layer."""
        return self._network.blocks[place]  # type: ignore[return-value]

    def linear_after(self, place: int) -> nn.Linear:
        """The linear map that is given the units of this layer."""
        is_last = place + 1 == len(self._network.blocks)
        return self._network.head if is_last else self.block(place + 1).linear

    @torch.no_grad()
    def resize(self, stream: range, units: UnitMap) -> None:
        """Give the layers of a stream other units, and those that are given them other columns."""
        for place in stream:
            block = self.block(place)
            self._map(block.linear, "weight", TensorMap(units, units if place > stream.start else None))
            self._map(block.linear, "bias", TensorMap(units))
            block.linear.out_features = len(units)
            if place > stream.start:
                block.linear.in_features = len(units)
            self._resize_normalisation(block.normalisation, units)
        after = self.linear_after(stream[-1])
        self._map(after, "weight", TensorMap(columns=units))
        after.in_features = len(units)

    def _resize_normalisation(self, layer: nn.Module, units: UnitMap) -> None:
        if isinstance(layer, nn.Identity):
            return
        for name in ("weight", "bias"):
            self._map(layer, name, TensorMap(units))
        if isinstance(layer, SharedLayerNorm):
            layer.share = layer.share.index_select(0, units.source) / units.copies
        elif isinstance(layer, nn.BatchNorm1d):
            layer.num_features = len(units)
            for name in ("running_mean", "running_var"):
                layer.register_buffer(name, getattr(layer, name).index_select(0, units.source))

    def _map(self, module: nn.Module, name: str, map_: TensorMap) -> None:
        old: nn.Parameter = getattr(module, name)
        self._set(module, name, map_.value(old.detach()), map_)

    def put(self, module: nn.Module, name: str, value: Tensor) -> None:
        """Replace a parameter by one that has nothing in common with it but its place."""
        self._set(module, name, value, None)

    def _set(self, module: nn.Module, name: str, value: Tensor, map_: TensorMap | None) -> None:
        old: nn.Parameter = getattr(module, name)
        new = nn.Parameter(value, requires_grad=old.requires_grad)
        setattr(module, name, new)
        self._replaced.append(Replaced(old, new, map_))

    def insert(self, at: int, block: DynamicBlock) -> None:
        """Put a new block before the one at this place; its parameters are trained like those beside it."""
        like = self.linear_after(at - 1) if not at else self.block(at - 1).linear
        if not at and len(self._network.blocks):
            like = self.block(0).linear
        block.to(like.weight.device, like.weight.dtype)
        block.train(self._network.training)
        self._network.blocks.insert(at, block)
        for name, parameter in block.named_parameters():
            self._added.append(Added(parameter, getattr(like, "weight" if name == "linear.weight" else "bias")))

    def drop(self, place: int) -> None:
        """Take a block out."""
        del self._network.blocks[place]

    def finish(self, architecture: Architecture) -> None:
        """Note the new architecture, and carry the optimizer over."""
        self._network.become(architecture)
        if self._optimizer is not None:
            carry_over(self._optimizer, self._replaced, self._added, list(self._network.parameters()))
