"""A part of the network in each of several processes (FSDP)."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from agentnn.nn_models.distributed.replicas import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch.distributed.fsdp import FSDPModule
    from torch.optim import Optimizer

    from agentnn.nn_models.distributed.group import Group

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_TO_ALL = StateDictOptions(full_state_dict=True)


class Sharded:
    """A part of the network in each process; a block's weights are together only while it computes.

    Args:
        model: What is trained; a copy of it is sharded, and gets back what was learnt.
        group: The processes.
    """

    is_sharded = True

    def __init__(self, model: nn.Module, group: Group) -> None:
        self._model = model
        mesh = init_device_mesh(group.device.type, (group.size,))
        sharded = copy.deepcopy(model)
        for block in _blocks(sharded):
            fully_shard(block, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        self._fsdp = cast("FSDPModule", sharded)
        self.plain = self.trained = sharded

    def without_sync(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """See :class:`~agentnn.nn_models.distributed.replicas.Replica`."""
        self._fsdp.set_requires_gradient_sync(is_last)
        return nullcontext()

    def weights(self) -> dict[str, Any]:
        """See :class:`~agentnn.nn_models.distributed.replicas.Replica`."""
        return get_model_state_dict(self.trained, options=_WHOLE)

    def kept(self, optimizer: Optimizer) -> tuple[Kept, Kept]:
        """See :class:`~agentnn.nn_models.distributed.replicas.Replica`."""
        model = self.trained
        return (
            Kept(self.weights, lambda state: set_model_state_dict(model, state, options=_TO_ALL)),
            Kept(
                lambda: get_optimizer_state_dict(model, optimizer, options=_WHOLE),
                lambda state: set_optimizer_state_dict(model, optimizer, state, options=_TO_ALL),
            ),
        )

    def give_back(self, weights: Mapping[str, Any]) -> None:
        """See :class:`~agentnn.nn_models.distributed.replicas.Replica`."""
        self._model.load_state_dict(weights)

    def close(self) -> None:
        """See :class:`~agentnn.nn_models.distributed.replicas.Replica`; Python's own references can go at any time."""


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Layers of a sequence or a list, which are called one by one; the outer ones."""
    for child in model.children():
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from (one for one in child if any(True for _ in one.parameters()))
        else:
            yield from _blocks(child)
