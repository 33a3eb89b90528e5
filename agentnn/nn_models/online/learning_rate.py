"""The learning rate of an online learner: it goes up after a drift, and may follow the gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor
    from torch.optim import Optimizer

_FARTHEST = 10.0
"""The adapted learning rate stays within this factor of the one that was given."""


class LearningRate:
    """Sets the learning rate before each step.

    After :meth:`raise_for_a_while` it is ``factor`` times as high and comes down in equal parts over ``steps`` steps.

    With ``hypergradient`` above 0 it also follows how well the last step went: the loss of step ``t`` changes with the
    learning rate of step ``t - 1`` as ``g_t . d_{t-1}``, the gradient now times the direction taken then, and the
    learning rate is multiplied by ``1 + hypergradient * cos(g_t, -(w_t - w_{t-1}))``. For plain gradient descent that
    is the multiplicative rule of A. G. Baydin et al., *Online learning rate adaptation with hypergradient descent*,
    ICLR 2018, https://arxiv.org/abs/1703.04782; taking the weights' own change makes it hold for any optimizer. It
    stays within a factor of ten of where it began. The cosine is read from the device once a step.

    Args:
        optimizer: Whose learning rate it is.
        factor: Of the rise after a drift.
        steps: Of the way back.
        hypergradient: How fast it follows.
    """

    def __init__(self, optimizer: Optimizer, factor: float, steps: int, hypergradient: float) -> None:
        self._optimizer = optimizer
        self._base = [float(group["lr"]) for group in optimizer.param_groups]
        self._factor, self._steps, self._hypergradient = factor, steps, hypergradient
        self._left = 0
        self._scale = 1.0
        self._weights: Tensor | None = None
        self._moved: Tensor | None = None

    @property
    def value(self) -> float:
        """That of the last step, in the first group."""
        return float(self._optimizer.param_groups[0]["lr"])

    def raise_for_a_while(self) -> None:
        """Let the next step have the raised one."""
        self._left = self._steps

    def before_step(self) -> None:
        """Set the learning rate of the next step."""
        factor = self._scale * (1.0 + (self._factor - 1.0) * self._left / self._steps)
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            group["lr"] = base * factor
        self._left = max(0, self._left - 1)
        if self._hypergradient and self._weights is None:
            self._weights = self._flat([one.detach() for one in self._parameters])

    def after_step(self) -> None:
        """Look how the step before went, now that there are new gradients."""
        if not self._hypergradient:
            return
        weights = self._flat([one.detach() for one in self._parameters])
        if self._moved is not None:
            gradient = self._flat([torch.zeros_like(one) if one.grad is None else one.grad for one in self._parameters])
            agreement = torch.nn.functional.cosine_similarity(gradient, -self._moved, dim=0).item()
            scale = self._scale * (1.0 + self._hypergradient * agreement)
            self._scale = min(_FARTHEST, max(1 / _FARTHEST, scale))
        if self._weights is not None:
            self._moved = weights - self._weights
        self._weights = weights

    def forget_steps(self) -> None:
        """The weights were changed by something else than a step."""
        self._weights = self._moved = None

    def state(self) -> dict[str, Any]:
        """All that it remembers."""
        return {"left": self._left, "scale": self._scale, "weights": self._weights, "moved": self._moved}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self._left, self._scale = state["left"], state["scale"]
        self._weights, self._moved = state["weights"], state["moved"]

    @property
    def _parameters(self) -> list[Tensor]:
        return [one for group in self._optimizer.param_groups for one in group["params"]]

    @staticmethod
    def _flat(tensors: list[Tensor]) -> Tensor:
        return torch.cat([one.reshape(-1) for one in tensors])
