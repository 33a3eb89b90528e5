"""From what callers give to tensors that fit each other, or an error that says what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agentnn.errors import UsageError
from agentnn.training.loop.robust_losses import ElementwiseLoss

if TYPE_CHECKING:
    from collections.abc import Callable

_ROWS_AT_ONCE = 2**16
_SHARE_OF_FREE_MEMORY = 4
_ELEMENTWISE = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.PoissonNLLLoss,
    nn.SoftMarginLoss,
    nn.MultiLabelSoftMarginLoss,
    ElementwiseLoss,
)
"""Losses that compare value by value, and would broadcast what does not fit."""


def sample_tensors(
    inputs: Any, targets: Any, names: tuple[str, str], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a part, samples first; on the device as far as they leave it room.

    Floating-point values get the type ``dtype``; whole numbers, such as classes, stay whole.

    Raises:
        UsageError: One is empty, not numeric or not finite, or they are not equally long.
    """
    X, y = (_tensor(value, name, dtype) for value, name in zip((inputs, targets), names, strict=True))
    if len(X) != len(y):
        raise UsageError(f"{names[0]} holds {len(X)} samples, but {names[1]} {len(y)}")
    return _placed(X, device), _placed(y, device)


def matched(targets: Tensor, outputs: Any, criterion: Callable[..., Tensor]) -> Tensor:
    """The targets in the shape of the outputs, so that no loss broadcasts what does not fit.

    Targets that differ in axes of length 1 alone, such as (n,) and (n, 1), are given the shape of the outputs. Whole
    numbers beside an axis of logits are classes and stay as they are.

    Raises:
        UsageError: They don't fit.
    """
    if not isinstance(outputs, Tensor):
        raise UsageError(f"the model gives a {type(outputs).__name__}, not a tensor", hint="return the outputs alone")
    if targets.shape != outputs.shape:
        targets = _reshaped(targets, outputs, criterion)
    if not targets.is_floating_point() and targets.shape == outputs.shape:
        return targets.to(outputs.dtype)
    return targets


def _reshaped(targets: Tensor, outputs: Tensor, criterion: Callable[..., Tensor]) -> Tensor:
    if outputs.ndim and len(targets) == len(outputs):
        is_classes = not targets.is_floating_point()
        if _sizes(targets) == _sizes(outputs):
            return targets.reshape(outputs.shape)
        if is_classes and _sizes(targets) == list(outputs.shape[2:]):
            return targets.reshape(len(outputs), *outputs.shape[2:])
        if targets.ndim == outputs.ndim and not is_classes and not isinstance(criterion, _ELEMENTWISE):
            return targets  # a criterion that knows what to do with them, such as one of quantiles
    raise UsageError(
        f"targets of shape {tuple(targets.shape)} don't fit outputs of shape {tuple(outputs.shape)}",
        hint="targets need the shape of the model's outputs; classes are whole numbers, one a sample",
    )


def _sizes(tensor: Tensor) -> list[int]:
    """The axes of a sample, without those of length 1."""
    return [size for size in tensor.shape[1:] if size != 1]


def _tensor(value: Any, name: str, dtype: torch.dtype) -> Tensor:
    tensor = value.detach() if isinstance(value, Tensor) else _from_array(value, name)
    if tensor.ndim == 0 or tensor.numel() == 0:
        raise UsageError(f"{name} is empty: its shape is {tuple(tensor.shape)}")
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        tensor = tensor.to(dtype)
    elif not tensor.is_complex():
        tensor = tensor.long()
    bad = sum(int((~torch.isfinite(rows.flatten(1))).any(dim=1).sum()) for rows in _chunks(tensor))
    if bad:
        raise UsageError(
            f"{name} holds NaN or infinite values in {bad} of {len(tensor)} samples",
            hint="leave those samples out, or fill them in before training",
        )
    return tensor


def _chunks(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor.reshape(len(tensor), -1), _ROWS_AT_ONCE) if tensor.is_floating_point() else ()


def _from_array(value: Any, name: str) -> Tensor:
    try:
        array = np.ascontiguousarray(value)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is not an array of numbers: {error}") from error


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, unless it would take much of its memory: then batches are copied one by one."""
    if device.type == "cuda" and tensor.device != device:
        free, _ = torch.cuda.mem_get_info(device)
        if tensor.nbytes * _SHARE_OF_FREE_MEMORY > free:
            return tensor
    return tensor.to(device)
