"""Predictions while the weights are being changed: always from one consistent set of them."""

from __future__ import annotations

import copy
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch

from agentnn.training.loop.devices import autocasting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from agentnn.training.loop.devices import Precision


class _Copy:
    """A copy of the model in evaluation mode, and how many predictions are using it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.tensors = [*self.model.parameters(), *self.model.buffers()]
        self.readers = 0


class ServedModel:
    """Copies of a model that predict while the model itself learns.

    After a step the weights are copied to a copy that nobody uses, and that one becomes the current one. The lock is
    held for the moment in which a prediction notes which copy it uses, never during a computation: predictions don't
    wait for steps, steps don't wait for predictions, and each prediction comes from the weights between two steps. Of
    a model there are two copies, and one more for each prediction that is still at work when the second next step ends.

    Args:
        model: What learns.
        device: Where it is.
        precision: Of the computations.
    """

    def __init__(self, model: nn.Module, device: torch.device, precision: Precision) -> None:
        self._model = model
        self._modules = [*model.modules()]
        self._source = [*model.parameters(), *model.buffers()]
        self._autocast = autocasting(device, precision)
        self._is_exact = precision == "float32"
        self._lock = Lock()
        self._current = _Copy(model)
        self._copies = [self._current, _Copy(model)]

    def __call__(self, inputs: Tensor) -> Any:
        """Predict for a batch, in evaluation mode and without gradients."""
        with self._lock:
            used = self._current
            used.readers += 1
        try:
            with torch.no_grad(), self._autocast():
                outputs = used.model(inputs)
        finally:
            with self._lock:
                used.readers -= 1
        return self._exact(outputs)

    def own(self, inputs: Tensor) -> Any:
        """The same for the thread that learns, between two steps: by the model itself, whose weights are at hand."""
        for one in self._modules:
            one.training = False
        try:
            with torch.no_grad(), self._autocast():
                outputs = self._model(inputs)
        finally:
            for one in self._modules:
                one.training = True
        return self._exact(outputs)

    def publish(self) -> None:
        """Let predictions use the weights as they are now; only one thread may publish."""
        fresh = self._unused()
        with torch.no_grad():
            for target, source in zip(fresh.tensors, self._source, strict=True):
                target.copy_(source)
        with self._lock:
            self._current = fresh

    def _exact(self, outputs: Any) -> Any:
        return outputs if self._is_exact or not isinstance(outputs, torch.Tensor) else outputs.float()

    def _unused(self) -> _Copy:
        with self._lock:
            for one in self._copies:
                if one is not self._current and not one.readers:
                    return one
        self._copies.append(_Copy(self._model))
        return self._copies[-1]
