"""Carrying an optimizer over a change of parameters: its groups with their options, and the state of each tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn, optim

from agentnn.errors import UsageError
from agentnn.tracking.capture.guard import warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch.optim import Optimizer

    from agentnn.nn_models.architecture.unit_maps import TensorMap

_POWERS: dict[type[Optimizer], dict[str, int]] = {
    optim.SGD: {"momentum_buffer": 1},
    optim.RMSprop: {"square_avg": 2, "grad_avg": 1, "momentum_buffer": 0},
    **dict.fromkeys((optim.Adam, optim.AdamW), {"exp_avg": 1, "exp_avg_sq": 2, "max_exp_avg_sq": 2}),
}
"""The tensors of an optimizer's state that are shaped like the weights, and which power of the gradient each one is a
running mean of. RMSprop's momentum is of gradients over their root mean square: whatever scales them cancels out."""

_NOT_TENSOR_BY_TENSOR = (optim.LBFGS, optim.Adagrad)
"""Keep one state for all weights, or make it when they are made."""


_NO_PARAMETER = -1


class Replaced(NamedTuple):
    """A parameter that another one has taken the place of; without a map nothing of its state is left."""

    old: nn.Parameter
    new: nn.Parameter
    map: TensorMap | None


class Added(NamedTuple):
    """A new parameter, and one that it is to be treated like."""

    new: nn.Parameter
    like: nn.Parameter


def check_optimizer(optimizer: Optimizer | None, network: nn.Module) -> None:
    """Whether an optimizer can be carried over a change of this network.

    Raises:
        UsageError: It is of another network, or of a kind whose state is not one of each tensor.
    """
    if optimizer is None:
        return
    if isinstance(optimizer, _NOT_TENSOR_BY_TENSOR):
        raise UsageError(
            f"the state of {type(optimizer).__name__} can't be carried over a change of layers",
            hint="change the network without optimizer=, and make the optimizer anew",
        )
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    own = {id(one) for one in network.parameters()}
    if not held & own or held - own:
        raise UsageError("the optimizer holds weights that are not this network's", hint="make it anew for the network")


def carry_over(
    optimizer: Optimizer, replaced: Sequence[Replaced], added: Iterable[Added], order: Sequence[nn.Parameter]
) -> None:
    """Put an optimizer to work on the parameters of a changed network.

    Groups and their options stay. A new parameter joins the group of the one that it is like, or the last group where
    that one is not trained, and has no state yet; one that is gone leaves its group. In every group parameters follow
    the order of the network, so that an optimizer made anew for a network of this architecture takes this one's
    ``state_dict``.

    The state of Adam, AdamW, SGD and RMSprop follows the weights (see :meth:`TensorMap.moment`); with the optimizer's
    own L2 penalty (``weight_decay`` of all but AdamW) it does so up to the penalty's part. The counts of steps stay.

    Args:
        optimizer: What is carried over.
        replaced: Parameters that have become others.
        added: Parameters that are new.
        order: All parameters of the network, as they are now.

    Warns:
        AgentNNWarning: It is another kind of optimizer: the state of the changed tensors begins anew.
    """
    powers = _POWERS.get(type(optimizer))
    becomes = {id(one.old): one for one in replaced}
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    joins: dict[int, list[nn.Parameter]] = {}
    for new, like in added:
        joins.setdefault(id(like) if id(like) in held else _NO_PARAMETER, []).append(new)
    place = {id(one): number for number, one in enumerate(order)}
    for group in optimizer.param_groups:
        members = [becomes[id(one)].new if id(one) in becomes else one for one in group["params"]]
        members += [joined for one in group["params"] for joined in joins.get(id(one), [])]
        if group is optimizer.param_groups[-1]:
            members += joins.get(_NO_PARAMETER, [])
        group["params"][:] = sorted((one for one in members if id(one) in place), key=lambda one: place[id(one)])
    lost = 0
    for one in replaced:
        state = optimizer.state.pop(one.old, None)
        if state and one.map is not None:
            if powers is not None:
                optimizer.state[one.new] = _followed(state, one.map, powers)
            lost += powers is None
    for parameter in [one for one in optimizer.state if isinstance(one, Tensor) and id(one) not in place]:
        del optimizer.state[parameter]
    if lost:
        warn(f"what {type(optimizer).__name__} knows of {lost} changed tensors can't be carried over, and begins anew")


@torch.no_grad()
def _followed(state: dict[str, Any], map_: TensorMap, powers: dict[str, int]) -> dict[str, Any]:
    return {
        name: map_.moment(value, powers[name]) if name in powers and isinstance(value, Tensor) else value
        for name, value in state.items()
    }
