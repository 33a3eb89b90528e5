"""The loss of each task, a mean over the labels that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agentnn.nn_models.multi_task.tasks import NUMBERS, output_places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentnn.nn_models.multi_task.tasks import Task


class Summed(NamedTuple):
    """Of some samples.

    Attributes:
        sums: The sum of each task's losses over the samples that have its label; one number each.
        counts: How many have it, shape (tasks,).
    """

    sums: list[Tensor]
    counts: Tensor

    @property
    def means(self) -> list[Tensor]:
        """The mean loss of each task; 0, without a gradient, of one that has no label."""
        return [total / count for total, count in zip(self.sums, self.counts.clamp(min=1).unbind(), strict=True)]


class TaskLosses(nn.Module):
    """The losses of all tasks, each by itself.

    Args:
        tasks: What is learnt.
        label_scale: What the errors of numbers are divided by, shape (tasks,).
    """

    label_scale: Tensor

    def __init__(self, tasks: Sequence[Task], label_scale: Tensor) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("label_scale", label_scale.detach().clone())
        for task in self.tasks:
            if task.kind == "quantiles":
                self.register_buffer(f"quantiles_{task.name}", torch.tensor(task.quantiles))
        self._places = output_places(self.tasks)
        self._errors = [self._error(task) for task in self.tasks]

    def forward(self, outputs: Tensor, packed: Tensor) -> Summed:
        """Sum up each task's losses.

        Args:
            outputs: Of the network, shape (n, outputs of all tasks).
            packed: Labels, see :mod:`agentnn.nn_models.multi_task.labels`.
        """
        labels, known = packed.chunk(2, dim=1)
        scales, columns, masks = self.label_scale.unbind(), labels.unbind(1), known.unbind(1)
        sums = []
        for place, error in enumerate(self._errors):
            given, label = outputs[:, self._places[place]], columns[place]
            if self.tasks[place].kind in NUMBERS:
                given, label = given / scales[place], label / scales[place]
            sums.append(error(given, label).dot(masks[place]))
        return Summed(sums, known.sum(dim=0))

    def _error(self, task: Task) -> Callable[[Tensor, Tensor], Tensor]:
        """(outputs (n, outputs of the task), labels (n,)) to losses (n,)."""
        if task.kind == "direction":
            return lambda outputs, labels: functional.binary_cross_entropy_with_logits(
                outputs[:, 0], labels, reduction="none"
            )
        if task.kind == "classes":
            return lambda outputs, labels: functional.cross_entropy(outputs, labels.long(), reduction="none")
        if task.kind == "quantiles":
            return lambda outputs, labels: _pinball(outputs, labels, self.get_buffer(f"quantiles_{task.name}"))
        errors: dict[str, nn.Module] = {
            "mse": nn.MSELoss(reduction="none"),
            "mae": nn.L1Loss(reduction="none"),
            "huber": nn.HuberLoss(reduction="none"),
        }
        error = errors[task.loss]
        return lambda outputs, labels: error(outputs[:, 0], labels)


def _pinball(outputs: Tensor, labels: Tensor, levels: Tensor) -> Tensor:
    """Koenker and Bassett (1978), the mean over the levels."""
    over = labels.unsqueeze(1) - outputs
    return torch.maximum(levels * over, (levels - 1) * over).mean(dim=1)
