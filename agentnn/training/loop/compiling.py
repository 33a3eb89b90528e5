"""A model's computations compiled by ``torch.compile``, where that can be done."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from agentnn.tracking.capture.guard import warn

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import nn

_LONGEST = 200


def compiled(
    model: nn.Module,
    inputs: Tensor,
    autocast: Callable[[], AbstractContextManager[Any]],
    *,
    backend: str | Callable[..., Any] = "inductor",
) -> Callable[[Tensor], Any]:
    """The model's computations, compiled; the model itself stays as it is, and its weights are the ones that are used.

    Compiling is tried first on a copy with a batch, forwards and backwards. Random numbers are left as they were.

    Args:
        model: Inputs to outputs.
        inputs: Of a batch.
        autocast: In which precision it will be computed.
        backend: Of ``torch.compile``.

    Returns:
        What computes as the model does. Where it can't be compiled, the model.

    Warns:
        AgentNNWarning: It can't be compiled, for example since there is no compiler here.
    """
    trial = copy.deepcopy(model).train()
    try:
        with torch.random.fork_rng(devices=[inputs.device] if inputs.device.type == "cuda" else []), autocast():
            outputs = torch.compile(trial, backend=backend)(inputs)
            if isinstance(outputs, Tensor) and outputs.requires_grad:
                outputs.float().sum().backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError, ImportError) as error:  # a backend's failure is a RuntimeError of torch's
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        warn(f"the model is not compiled, and trained as it is: {reason}")
        return model
    made: Callable[[Tensor], Any] = torch.compile(model, backend=backend)
    return made
