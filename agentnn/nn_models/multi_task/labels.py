"""Labels of several tasks as one tensor, with those that are missing masked.

A packed tensor has the shape (samples, 2 * tasks): first the label of each task, with 0 in the place of a missing one,
then 1 where it is there and 0 where it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agentnn.errors import UsageError
from agentnn.nn_models.multi_task.tasks import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agentnn.nn_models.multi_task.tasks import Task


class LabelScale(NamedTuple):
    """Mean and standard deviation (ddof 0) of each task's labels, both of shape (tasks,); 0 and 1 of classes."""

    mean: Tensor
    scale: Tensor


def packed_labels(labels: Any, tasks: Sequence[Task], name: str, *, may_be_missing: bool = False) -> Tensor:
    """The packed tensor of some labels.

    Args:
        labels: By task, each of shape (n,) or (n, 1); or an array of shape (n, tasks). NaN stands for a missing label.
        tasks: What they are labels of.
        name: What errors call them.
        may_be_missing: Whether a task may have none at all.

    Raises:
        UsageError: They don't fit the tasks, or a task has none and must have some.
    """
    table = _table(labels, tasks, name)
    known = ~np.isnan(table)
    for column, task in enumerate(tasks):
        if not may_be_missing and not known[:, column].any():
            raise UsageError(f"{name} has no label of the task {task.name}")
        _check(table[known[:, column], column], task, name)
    values = np.where(known, table, 0.0)
    return torch.from_numpy(np.concatenate([values, known], axis=1).astype(np.float32))


def label_scale(packed: Tensor, tasks: Sequence[Task]) -> LabelScale:
    """Where the labels of the training part lie."""
    values, known = (one.double() for one in packed.chunk(2, dim=1))
    counts = known.sum(dim=0)
    mean = (values * known).sum(dim=0) / counts
    spread = (((values - mean).square() * known).sum(dim=0) / counts).sqrt()
    is_number = torch.tensor([task.kind in NUMBERS for task in tasks], device=packed.device)
    scale = torch.where(is_number & (spread > 0), spread, 1.0)
    return LabelScale(torch.where(is_number, mean, 0.0).float(), scale.float())


def label_counts(packed: Tensor) -> Tensor:
    """Labels of each task, shape (tasks,)."""
    return packed.chunk(2, dim=1)[1].sum(dim=0)


def _table(labels: Any, tasks: Sequence[Task], name: str) -> NDArray[np.float64]:
    if isinstance(labels, Mapping):
        named, wanted = set(labels), {task.name for task in tasks}
        if named != wanted:
            raise UsageError(
                f"{name} has labels of {', '.join(sorted(named)) or 'nothing'}, but the tasks are "
                f"{', '.join(sorted(wanted))}",
                hint="NaN stands for a label that is missing",
            )
        columns = [_column(labels[task.name], f"{name}[{task.name!r}]") for task in tasks]
        if len({len(one) for one in columns}) > 1:
            raise UsageError(f"{name} has labels of {', '.join(str(len(one)) for one in columns)} samples")
        return np.stack(columns, axis=1)
    table = _numbers(labels, name)
    if table.ndim == 1 and len(tasks) == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[1] != len(tasks):
        raise UsageError(
            f"{name} has the shape {table.shape}, not (samples, {len(tasks)})",
            hint="or give the labels by the names of the tasks",
        )
    return table


def _column(values: Any, name: str) -> NDArray[np.float64]:
    column = _numbers(values, name)
    if column.ndim == 0 or column.size != len(column):
        raise UsageError(f"{name} has the shape {column.shape}, not one label a sample")
    return column.reshape(len(column))


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name} is not an array of numbers")
    return array.astype(np.float64)


def _check(known: NDArray[np.float64], task: Task, name: str) -> None:
    """Whether labels are what the task's head can learn."""
    if not np.isfinite(known).all():
        raise UsageError(f"{name} holds an infinite label of the task {task.name}", hint="NaN stands for a missing one")
    if task.kind == "volatility" and (known < 0).any():
        raise UsageError(f"{name} holds a negative label of the task {task.name}, which is a volatility")
    if task.kind in ("direction", "classes"):
        count = 2 if task.kind == "direction" else task.classes
        if not np.isin(known, np.arange(count)).all():
            raise UsageError(f"{name} holds a label of the task {task.name} that is none of 0 to {count - 1}")
