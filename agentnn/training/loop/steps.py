"""What a training loop does with a model: a step of the optimizer, and a look at data that are not learnt from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from agentnn.errors import UsageError
from agentnn.training.loop.devices import computing
from agentnn.training.loop.tensors import matched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch.optim import Optimizer

    from agentnn.training.loop.options import TrainingOptions

VALUES_AT_ONCE = 2**18
"""Values of the inputs that are evaluated at once: what the model makes of them has to fit into memory."""


class Samples(NamedTuple):
    """Inputs and targets, samples first."""

    inputs: Tensor
    targets: Tensor

    def rows(self, rows: Tensor) -> Samples:
        """Some of them, in this order."""
        return Samples(self.inputs.index_select(0, rows), self.targets.index_select(0, rows))

    def on(self, device: torch.device) -> Samples:
        """The same on a device; the very same where they are there."""
        if self.inputs.device == device and self.targets.device == device:
            return self
        return Samples(self.inputs.to(device, non_blocking=True), self.targets.to(device, non_blocking=True))


class Compared(NamedTuple):
    """What a model made of some samples."""

    loss: Tensor
    outputs: Tensor
    targets: Tensor


class Stepper:
    """A model, and how it is trained.

    Args:
        model: Inputs to outputs.
        optimizer: Of its weights.
        criterion: (outputs, targets) to the mean loss.
        options: How to train.
        device: Where the model is.
        forward: What computes as the model does while it learns, such as the model compiled; the model without it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        criterion: Callable[[Tensor, Tensor], Tensor],
        options: TrainingOptions,
        device: torch.device,
        forward: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.criterion = criterion
        self.options = options
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=options.precision == "float16")
        self._forward = model if forward is None else forward
        self._computed = computing(device, options.precision)
        self._weights = [one for group in optimizer.param_groups for one in group["params"]]
        self._asks_again = isinstance(optimizer, torch.optim.LBFGS)
        if self._asks_again and self.scaler.is_enabled():
            raise UsageError("LBFGS can't be used with float16", hint="precision: bfloat16 or float32")

    def step(self, samples: Samples, rows: Tensor | None = None) -> tuple[Tensor, bool]:
        """Change the weights once; gives the mean loss before, and whether there was a step.

        There is none where 16-bit gradients were not finite: then their scale is lowered, for the next one.

        Args:
            samples: What is learnt from.
            rows: Which of them; without it all, as one batch.
        """
        if self._asks_again:
            return self.optimizer.step(lambda: self._backward(samples, rows)), True  # type: ignore[arg-type, return-value]
        loss = self._backward(samples, rows)
        if not self.scaler.is_enabled():
            self.optimizer.step()
            return loss, True
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss, self.scaler.get_scale() >= before

    def _backward(self, samples: Samples, rows: Tensor | None) -> Tensor:
        """The gradients of the mean loss over the rows, batch by batch; gives that loss."""
        self.optimizer.zero_grad()
        if rows is None or len(rows) <= self.options.batch_size:
            loss = self._add_gradients(samples if rows is None else samples.rows(rows))
        else:
            batches = torch.split(rows, self.options.batch_size)
            loss = torch.stack([self._add_gradients(samples.rows(one), len(one) / len(rows)) for one in batches]).sum()
        self._clip()
        return loss

    def _add_gradients(self, batch: Samples, share: float | None = None) -> Tensor:
        """Those of a batch, which counts as this share of the step; gives its loss, which counts as much."""
        loss = self._compare(self._forward, batch).loss
        if share is not None:
            loss = loss * share
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _clip(self) -> None:
        if self.options.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._weights, self.options.clip_norm)

    def learns(self, *, is_learning: bool) -> None:
        """Put the model, and the criterion if it is a module, into training or evaluation mode."""
        self.model.train(is_learning)
        if isinstance(self.criterion, nn.Module):
            self.criterion.train(is_learning)

    def batches(self, samples: Samples) -> Iterator[Tensor]:
        """The inputs as they are, batch by batch, where the model is."""
        for inputs in torch.split(samples.inputs, self.options.batch_size):
            yield inputs.to(self.device, non_blocking=True)

    def evaluate(
        self,
        samples: Samples,
        metrics: Mapping[str, Callable[[Tensor, Tensor], float]],
        model: nn.Module | None = None,
    ) -> dict[str, float]:
        """``val_loss`` and the metrics; a bounded number of samples at a time, with the model in evaluation mode.

        Args:
            samples: What the model is asked for.
            metrics: By name, (outputs, targets) to a number.
            model: One in evaluation mode that is asked in the place of the one that is trained.
        """
        count = len(samples.inputs)
        at_once = max(self.options.batch_size, VALUES_AT_ONCE // samples.inputs[0].numel())
        total, seen = torch.zeros((), device=self.device), []
        self.learns(is_learning=False)
        with torch.no_grad():
            for inputs, targets in zip(*(torch.split(one, at_once) for one in samples), strict=True):
                compared = self._compare(self.model if model is None else model, Samples(inputs, targets))
                total.add_(compared.loss, alpha=len(inputs) / count)
                seen.append((compared.outputs, compared.targets) if metrics else ())
            values = {"val_loss": total.item()}
            if metrics:
                outputs, targets = (torch.cat(parts) for parts in zip(*seen, strict=True))
                values |= {name: float(metric(outputs, targets)) for name, metric in metrics.items()}
        return values

    def _compare(self, forward: Callable[[Tensor], Any], samples: Samples) -> Compared:
        inputs, targets = samples.on(self.device)
        outputs = self._computed(forward, inputs)
        targets = matched(targets, outputs, self.criterion)
        loss = self.criterion(outputs, targets)
        if not isinstance(loss, Tensor) or loss.ndim:
            given = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise UsageError(f"the criterion gives {given}, not one number as a tensor", hint="give the mean")
        return Compared(loss, outputs, targets)
