"""Smoothed labels: what is learnt from, and not what is judged by (Szegedy et al. 2016, section 7)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from agentnn.errors import ConfigError
from agentnn.training.loop.robust_losses import ElementwiseLoss, GeneralizedCrossEntropy


class SmoothedTargets(ElementwiseLoss):
    """A loss of log-odds whose targets ``y`` become ``(1 - smoothing) · y + smoothing / 2`` in training mode.

    Args:
        criterion: (outputs, targets) to the mean loss.
        smoothing: From 0 to below 1.
    """

    def __init__(self, criterion: nn.Module, smoothing: float) -> None:
        super().__init__()
        self.criterion = criterion
        self.smoothing = smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """From log-odds and what came true to the mean loss."""
        learnt = targets * (1 - self.smoothing) + self.smoothing / 2 if self.training else targets
        loss: Tensor = self.criterion(outputs, learnt)
        return loss

    def extra_repr(self) -> str:
        """What a representation of the module shows."""
        return f"smoothing={self.smoothing:g}"


class SmoothedClasses(nn.CrossEntropyLoss):
    """The cross entropy of classes, whose labels are smoothed in training mode."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - as torch calls it
        """From logits and classes to the mean loss."""
        smoothing = self.label_smoothing if self.training else 0.0
        return functional.cross_entropy(input, target, self.weight, None, self.ignore_index, label_smoothing=smoothing)


def smoothed(criterion: nn.Module, smoothing: float) -> nn.Module:
    """A loss of classes or of log-odds with smoothed labels; the same one where there is nothing to smooth.

    Raises:
        ConfigError: It is another kind of loss, or smooths labels already.
    """
    if not smoothing:
        return criterion
    if isinstance(criterion, nn.BCEWithLogitsLoss | GeneralizedCrossEntropy):
        return SmoothedTargets(criterion, smoothing)
    if not isinstance(criterion, nn.CrossEntropyLoss):
        name = type(criterion).__name__
        raise ConfigError(f"label_smoothing is for labels, which {name} has none of", hint="bce, gce or cross_entropy")
    if criterion.label_smoothing:
        raise ConfigError("the labels are smoothed twice", hint="label_smoothing, or that of the loss, but not both")
    weight: Any = criterion.weight
    return SmoothedClasses(weight, ignore_index=criterion.ignore_index, label_smoothing=smoothing)
