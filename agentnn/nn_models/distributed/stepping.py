"""What a process does with its part of each batch, so that all of them together do what a single one would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agentnn.errors import UsageError
from agentnn.training.loop.steps import VALUES_AT_ONCE, Stepper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from agentnn.nn_models.distributed.group import Group
    from agentnn.nn_models.distributed.replicas import Replica
    from agentnn.training.loop.options import TrainingOptions
    from agentnn.training.loop.steps import Samples


class ShardedStepper(Stepper):
    """Steps that are those of a single process with the same batches, and a look at data that are not learnt from.

    DDP and FSDP take the mean of the processes' gradients. The loss of a process's rows is weighted by how many they
    are, so that the mean is the gradient of the mean loss over the rows of all, also where some have one row more or
    none: then the loss of a row that is another's counts nothing, and the process takes part.

    Args:
        replica: The network as this process has it.
        optimizer: Of its weights.
        criterion: (outputs, targets) to the mean loss.
        options: How to train; ``batch_size`` counts the rows of all processes.
        group: The processes.
    """

    def __init__(
        self,
        replica: Replica,
        optimizer: Optimizer,
        criterion: Callable[[Tensor, Tensor], Tensor],
        options: TrainingOptions,
        group: Group,
    ) -> None:
        super().__init__(replica.plain, optimizer, criterion, options, group.device, replica.trained)
        self._replica = replica
        self._group = group
        if replica.is_sharded and (self.scaler.is_enabled() or self._asks_again):
            raise UsageError(
                "neither float16 nor LBFGS can be used with fsdp: each process would see its own part of the gradients",
                hint="precision: bfloat16, another optimizer, or strategy: ddp",
            )

    def _backward(self, samples: Samples, rows: Tensor | None) -> Tensor:
        """The gradients of the mean loss over the rows of all processes; gives what this process adds to that loss."""
        if self._group.size == 1 and not self._replica.is_sharded:
            return super()._backward(samples, rows)
        if rows is None:
            rows = torch.arange(len(samples.inputs), device=samples.inputs.device)
        self.optimizer.zero_grad()
        losses = []
        batches = torch.split(rows, self.options.batch_size)
        for number, batch in enumerate(batches, 1):
            own = self._group.part_of(batch)
            with self._replica.without_sync(is_last=number == len(batches)):
                loss = self._compare(self._forward, samples.rows(own if len(own) else batch[:1])).loss
                share = len(own) / len(rows)
                weight = share * self._group.size
                self.scaler.scale(loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach() if share == 1 else loss.detach() * share)
        self._clip()
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def evaluate(
        self,
        samples: Samples,
        metrics: Mapping[str, Callable[[Tensor, Tensor], float]],
        model: nn.Module | None = None,
    ) -> dict[str, float]:
        """``val_loss`` and the metrics of all samples, of which each process looks at its part; the same in all."""
        count = len(samples.inputs)
        own = self._group.part_of(torch.arange(count, device=samples.inputs.device))
        at_once = max(self.options.batch_size, VALUES_AT_ONCE // samples.inputs[0].numel())
        total, seen = torch.zeros((), dtype=self._group.exact, device=self.device), []
        self.learns(is_learning=False)
        with torch.no_grad():
            for start in range(0, -(-count // self._group.size), at_once):  # equally often in all processes
                rows = own[start : start + at_once]
                compared = self._compare(model or self.model, samples.rows(rows if len(rows) else own.new_zeros(1)))
                total.add_(compared.loss, alpha=len(rows) / count)
                seen.append((compared.outputs[: len(rows)], compared.targets[: len(rows)]) if metrics else ())
            values = {"val_loss": self._group.total(total).item()}
            if metrics:
                outputs, targets = (self._group.gathered(torch.cat(parts), count) for parts in zip(*seen, strict=True))
                values |= {name: float(metric(outputs, targets)) for name, metric in metrics.items()}
        return values
