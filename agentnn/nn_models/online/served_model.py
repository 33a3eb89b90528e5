"""Predictions while the weights are being changed: always from one consistent set of them."""

from __future__ import annotations

import copy
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import torch

from agentnn.training.loop.devices import computing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from agentnn.nn_models.online.turn import Turn
    from agentnn.training.loop.devices import Precision


class _Copy:
    """A copy of the model in evaluation mode, and how many predictions are using it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.tensors = [*self.model.parameters(), *self.model.buffers()]
        self.readers = 0


class ServedModel:
    """Copies of a model that predict while the model itself learns, from the first time that somebody asks for it.

    After a step the weights are copied to a copy that nobody uses, and that one becomes the current one. The lock is
    held for the moment in which a prediction notes which copy it uses, never during a computation: predictions don't
    wait for steps, steps don't wait for predictions, and each prediction comes from the weights between two steps. Only
    the first one waits for its turn, to make the first copy. Of a model there are two copies then, and one more for
    each prediction that is still at work when the second next step ends.

    Args:
        model: What learns.
        device: Where it is.
        precision: Of the computations.
        turn: Held by whoever changes the weights, or publishes them.
    """

    def __init__(self, model: nn.Module, device: torch.device, precision: Precision, turn: Turn) -> None:
        self._model = model
        self._modules = [*model.modules()]
        self._source = [*model.parameters(), *model.buffers()]
        self._computed = computing(device, precision)
        self._turn, self._lock = turn, Lock()
        self._current: _Copy | None = None
        self._copies: list[_Copy] = []

    def __call__(self, inputs: Tensor) -> Any:
        """Predict for a batch, in evaluation mode and without gradients."""
        if self._current is None:
            self._begin()
        with self._lock:
            used = cast("_Copy", self._current)
            used.readers += 1
        try:
            with torch.no_grad():
                return self._computed(used.model, inputs)
        finally:
            with self._lock:
                used.readers -= 1

    def own(self, inputs: Tensor) -> Any:
        """The same for the thread that learns, between two steps: by the model itself, whose weights are at hand."""
        learning = [one for one in self._modules if one.training]
        _set_mode(learning, is_learning=False)
        try:
            with torch.no_grad():
                return self._computed(self._model, inputs)
        finally:
            _set_mode(learning, is_learning=True)

    def publish(self) -> None:
        """Let predictions use the weights as they are now; it takes nothing as long as nobody has asked for one."""
        if self._current is None:
            return
        fresh = self._unused()
        with torch.no_grad():
            for target, source in zip(fresh.tensors, self._source, strict=True):
                target.copy_(source)
        with self._lock:
            self._current = fresh

    def _begin(self) -> None:
        with self._turn:
            if self._current is None:
                self._copies = [_Copy(self._model)]
                self._current = self._copies[0]

    def _unused(self) -> _Copy:
        with self._lock:
            for one in self._copies:
                if one is not self._current and not one.readers:
                    return one
        self._copies.append(_Copy(self._model))
        return self._copies[-1]


def _set_mode(modules: list[nn.Module], *, is_learning: bool) -> None:
    """Into training or evaluation mode, as ``module.training = …`` does, but for its look whether that is a weight.

    The look takes a twentieth of a small network's step. What TorchScript has compiled has to be told its way.
    """
    for one in modules:
        if isinstance(one, torch.jit.ScriptModule):
            one.training = is_learning
        else:
            object.__setattr__(one, "training", is_learning)
