"""Optimizers by their names in ``torch.optim``, for trainers that have no configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn
    from torch.optim import Optimizer


def optimizer_class(name: str) -> type[Optimizer]:
    """The optimizer of that name.

    Raises:
        UsageError: There is none.
    """
    found = getattr(torch.optim, name, None)
    if not isinstance(found, type) or not issubclass(found, torch.optim.Optimizer):
        raise UsageError(f"torch.optim has no {name!r}", hint="AdamW, Adam, SGD or RMSprop")
    return found


def named_optimizer(
    name: str,
    weights: Iterable[nn.Parameter] | Iterable[Mapping[str, Any]],
    learning_rate: float,
    weight_decay: float | None,
) -> Optimizer:
    """The optimizer of that name.

    Args:
        name: Such as ``AdamW``.
        weights: What is trained, or groups of it.
        learning_rate: Of all groups that say none.
        weight_decay: The same; the optimizer's own default without it.

    Raises:
        UsageError: There is none.
    """
    make: Any = optimizer_class(name)
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    made: Optimizer = make(weights, lr=learning_rate, **decay)
    return made
