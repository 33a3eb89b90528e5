"""Averages of the weights that a training goes through, which are judged and kept in their place."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor


class Averaging(Protocol):
    """Weights beside those that are trained."""

    def after_step(self) -> None:
        """Go on after a step of the optimizer."""

    def after_epoch(self, batches: Iterable[Tensor]) -> None:
        """Go on after an epoch, before it is judged; ``batches`` are the inputs of the training part."""

    def judged(self) -> nn.Module:
        """The model whose weights are judged and kept now; the trained one, as long as there is no average."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            KeyError, RuntimeError: It is the state of something else.
        """

    def settings(self) -> str:
        """What has to be the same for an average to be the same."""


class ExponentialAverage:
    """An exponential moving average of the weights, step by step (Polyak and Juditsky 1992; Kingma and Ba 2015).

    After ``t`` steps it is the mean of the weights after each step, weighted by ``decay`` to the power of their age:
    ``sum(decay^(t-i) · w_i) / sum(decay^(t-i))``. The weights that the training began with are not in it, and nothing
    draws it towards 0, as is also said: it is corrected for its bias. Without the correction the first step's weights
    stand for all that was before, which is what ``torch.optim.swa_utils.get_ema_multi_avg_fn`` computes.

    Buffers of floating-point numbers, such as the statistics of batch normalisation, are averaged in the same way;
    others are copied.

    Args:
        model: What is trained.
        decay: From 0 to below 1; about ``1 / (1 - decay)`` steps count.
        correct_bias: Whether it is corrected.

    Raises:
        UsageError: ``decay`` is out of range.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999, *, correct_bias: bool = True) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"decay must be at least 0 and below 1, not {decay!r}")
        self.decay = decay
        self.correct_bias = correct_bias
        self.steps = 0
        self._pair = _Pair(model, buffers=True)

    def after_step(self) -> None:
        """Take the weights in."""
        self.steps += 1
        self._pair.move(self._share())

    def _share(self) -> float:
        """How much of the new weights is taken in: all of the first ones."""
        if self.steps == 1:
            return 1.0
        return (1 - self.decay) / (1 - self.decay**self.steps) if self.correct_bias else 1 - self.decay

    def after_epoch(self, batches: Iterable[Tensor]) -> None:
        """Nothing: it goes by steps."""

    def judged(self) -> nn.Module:
        """The average, once there was a step."""
        return self._pair.average if self.steps else self._pair.model

    def state_dict(self) -> dict[str, Any]:
        """The average, and how many steps are in it."""
        return {"steps": self.steps, "average": self._pair.average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._pair.average.load_state_dict(state["average"])
        self.steps = state["steps"]

    def settings(self) -> str:
        """What has to be the same."""
        return f"ema, decay {self.decay!r}" + ("" if self.correct_bias else ", not corrected")


class StochasticAverage:
    """The mean of the weights at the end of each epoch from some epoch on (Izmailov et al. 2018, "SWA").

    The statistics of batch normalisation are those of the averaged weights: after each epoch the inputs of the training
    part are shown to the average, with nothing but these layers in training mode, which leaves dropout and random
    numbers out of it. Other buffers are copied.

    Args:
        model: What is trained.
        after: Epochs before the first one that is averaged.

    Raises:
        UsageError: ``after`` is no number of epochs.
    """

    def __init__(self, model: nn.Module, after: int) -> None:
        if type(after) is not int or after < 0:
            raise UsageError(f"after must be a whole number of at least 0, not {after!r}")
        self.after = after
        self.epochs = 0
        self._pair = _Pair(model, buffers=False)

    @property
    def averaged(self) -> int:
        """Epochs that are in the average."""
        return max(0, self.epochs - self.after)

    def after_step(self) -> None:
        """Nothing: it goes by epochs."""

    def after_epoch(self, batches: Iterable[Tensor]) -> None:
        """Take the weights in, if it is time for it, and measure the statistics anew."""
        self.epochs += 1
        if self.averaged:
            self._pair.move(1 / self.averaged)
            renew_statistics(self._pair.average, batches)

    def judged(self) -> nn.Module:
        """The average, once there is an epoch in it."""
        return self._pair.average if self.averaged else self._pair.model

    def state_dict(self) -> dict[str, Any]:
        """The average, and how many epochs there were."""
        return {"epochs": self.epochs, "average": self._pair.average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._pair.average.load_state_dict(state["average"])
        self.epochs = state["epochs"]

    def settings(self) -> str:
        """What has to be the same."""
        return f"swa, after {self.after} epochs"


class _Pair:
    """A model that is trained, and its average: a copy in evaluation mode.

    Args:
        model: The first.
        buffers: Whether buffers of floating-point numbers are averaged, and not copied.
    """

    def __init__(self, model: nn.Module, *, buffers: bool) -> None:
        self.model = model
        self.average = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        buffered = list(zip(self.average.buffers(), model.buffers(), strict=True))
        averaged: list[tuple[Tensor, Tensor]] = list(zip(self.average.parameters(), model.parameters(), strict=True))
        averaged += [pair for pair in buffered if buffers and pair[0].is_floating_point()]
        copied = [pair for pair in buffered if not buffers or not pair[0].is_floating_point()]
        self._averages, self._weights = [one for one, _ in averaged], [one for _, one in averaged]
        self._copies, self._copied = [one for one, _ in copied], [one for _, one in copied]

    @torch.no_grad()
    def move(self, share: float) -> None:
        """``average += share · (model - average)``; where the share is 1, they are then the same to the last bit."""
        if share == 1:
            torch._foreach_copy_(self._averages, self._weights)
        else:
            torch._foreach_lerp_(self._averages, self._weights, share)
        if self._copies:
            torch._foreach_copy_(self._copies, self._copied)


@torch.no_grad()
def renew_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure the statistics of batch normalisation anew: of each batch, and their mean, as ``swa_utils.update_bn``.

    Args:
        model: Its other layers stay in the mode in which they are.
        batches: Inputs.
    """
    layers = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]
    if not layers:
        return
    with _measuring(layers):
        for inputs in batches:
            model(inputs)


@contextmanager
def _measuring(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """In training mode, from nothing, with the mean over the batches in the place of a moving one."""
    before = [(one.training, one.momentum) for one in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
            layer.momentum = None
        yield
    finally:
        for layer, (was_training, momentum) in zip(layers, before, strict=True):
            layer.train(was_training)
            layer.momentum = momentum
