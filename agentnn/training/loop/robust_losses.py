"""Losses that a few wrong or wild targets do not carry away."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ElementwiseLoss(nn.Module):
    """Compares value by value, and gives the mean; outputs and targets have the same shape."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """From two tensors of the same shape to the mean loss."""
        return self.each(outputs, targets).mean()

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each value."""
        raise NotImplementedError


class LogCosh(ElementwiseLoss):
    """``scale² · log cosh(error / scale)``: half the square of a small error, ``scale`` times the size of a great one.

    R. A. Saleh and A. K. M. E. Saleh, "Statistical properties of the log-cosh loss function used in machine learning",
    arXiv:2208.04564 (2022).

    Args:
        scale: The size of an error that is neither small nor great.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = _positive("scale", scale)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each value; written so that no error is too great to be squared."""
        size = (outputs - targets).abs() / self.scale
        return self.scale**2 * (size + functional.softplus(-2 * size) - math.log(2))

    def extra_repr(self) -> str:
        """What a representation of the module shows."""
        return f"scale={self.scale:g}"


class Barron(ElementwiseLoss):
    """A family that runs from the square (``alpha`` 2) through Charbonnier (1) and Cauchy (0) to Geman–McClure (-2).

    J. T. Barron, "A general and adaptive robust loss function", CVPR 2019, equation 8, with a fixed ``alpha``, times
    ``scale²``, so that it is half the square of a small error for every ``alpha``.

    Args:
        alpha: The smaller, the less a great error counts; below 0 its weight falls to nothing.
        scale: The size of an error that is neither small nor great.
    """

    def __init__(self, alpha: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or math.isnan(alpha) or alpha > 2:
            raise ValueError(f"alpha is a number of at most 2, not {alpha!r}")
        self.alpha, self.scale = float(alpha), _positive("scale", scale)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each value."""
        square, alpha = ((outputs - targets) / self.scale).square(), self.alpha
        if alpha == 2:
            found = square / 2
        elif alpha == 0:
            found = torch.log1p(square / 2)
        elif alpha == -math.inf:
            found = -torch.expm1(-square / 2)
        else:
            # expm1 and log1p, since (1 + small) ** power - 1 would lose what is small
            distance = abs(alpha - 2)
            found = distance / alpha * torch.expm1(alpha / 2 * torch.log1p(square / distance))
        return self.scale**2 * found

    def extra_repr(self) -> str:
        """What a representation of the module shows."""
        return f"alpha={self.alpha:g}, scale={self.scale:g}"


class GeneralizedCrossEntropy(ElementwiseLoss):
    """``(1 - p^q) / q`` of log-odds, where ``p`` is the probability of what came true: for labels that may be wrong.

    Z. Zhang and M. R. Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy labels",
    NeurIPS 2018. A target between 0 and 1 is a mixture of the two.

    Args:
        q: Above 0 and at most 1: near 0 it is the cross entropy, at 1 the distance of the probability, which an
            unlikely label moves no more than another one.
    """

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 < q <= 1:
            raise ValueError(f"q is a number above 0 and at most 1, not {q!r}")
        self.q = float(q)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each value, from log-odds; powers are taken of logarithms, which have no 0."""
        rise = -torch.expm1(self.q * functional.logsigmoid(outputs)) / self.q
        fall = -torch.expm1(self.q * functional.logsigmoid(-outputs)) / self.q
        return targets * rise + (1 - targets) * fall

    def extra_repr(self) -> str:
        """What a representation of the module shows."""
        return f"q={self.q:g}"


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"{name} is a number greater than 0, not {value!r}")
    return float(value)
