"""What an online learner can do to itself when its error has risen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from torch.optim import Optimizer


def find_head(model: nn.Module, name: str | None) -> nn.Module:
    """The module that is reset: the one of this name, or the last that has weights of its own and can be reset.

    Raises:
        UsageError: There is none.
    """
    if name is not None:
        named: nn.Module | None = dict(model.named_modules()).get(name)
        if named is None or not any(_can_be_reset(one) for one in named.modules()):
            raise UsageError(
                f"the model has no module {name!r} whose weights can be made anew", hint="see model.named_modules()"
            )
        return named
    able = [one for one in model.modules() if _can_be_reset(one)]
    if not able:
        raise UsageError("no module of the model can be reset", hint="leave reset_head out of the reactions")
    return able[-1]


def reset_weights(head: nn.Module, optimizer: Optimizer) -> None:
    """Draw the weights of a module anew, and let the optimizer forget what it knows of them."""
    with torch.no_grad():
        for one in head.modules():
            if _can_be_reset(one):
                resettable: Any = one
                resettable.reset_parameters()
    for weights in head.parameters():
        optimizer.state.pop(weights, None)


def reset_optimizer(optimizer: Optimizer) -> None:
    """Let the optimizer forget its moments."""
    optimizer.state.clear()


def _can_be_reset(module: nn.Module) -> bool:
    has_weights = any(True for _ in module.parameters(recurse=False))
    return has_weights and callable(getattr(module, "reset_parameters", None))
