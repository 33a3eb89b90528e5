"""A criterion gives the mean over samples; judging them one by one needs the loss of each."""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def loss_a_sample(criterion: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The same loss for each sample alone, shape (n,): by torch's ``reduction`` where the criterion has it.

    Class weights then weigh each sample's loss and are not divided by their sum.

    Raises:
        UsageError: The criterion does not give the mean.
    """
    if getattr(criterion, "reduction", "mean") != "mean":
        raise UsageError("the criterion does not give the mean over the samples", hint="reduction='mean'")
    if isinstance(criterion, nn.Module) and hasattr(criterion, "reduction"):
        each: Any = copy.copy(criterion)
        each.reduction = "none"
    elif not isinstance(criterion, nn.Module) and _takes_reduction(criterion):
        each = partial(criterion, reduction="none")
    else:
        return torch.func.vmap(lambda output, target: criterion(output[None], target[None]))
    return lambda outputs, targets: _mean_of_each(each(outputs, targets))


def _mean_of_each(losses: Tensor) -> Tensor:
    """From (n, …) to (n,)."""
    count = len(losses)
    return losses.reshape(count) if losses.numel() == count else losses.reshape(count, -1).mean(dim=1)


def _takes_reduction(criterion: Callable[..., Tensor]) -> bool:
    try:
        return "reduction" in inspect.signature(criterion).parameters
    except (TypeError, ValueError):  # some of torch's are written in C
        return False
