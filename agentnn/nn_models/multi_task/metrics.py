"""What each task is measured by on the validation part, as functions that the training loop takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.nn_models.multi_task.tasks import output_places

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from agentnn.nn_models.multi_task.balance import Balance
    from agentnn.nn_models.multi_task.losses import TaskLosses
    from agentnn.nn_models.multi_task.tasks import Task

    Metric = Callable[[Tensor, Tensor], float]


def metrics_of(losses: TaskLosses, balance: Balance) -> dict[str, Metric]:
    """By name, (outputs, packed labels) of the whole part to a number.

    Of each task ``val_<task>_loss``; ``val_<task>_accuracy`` of classes, or ``val_<task>_mae`` and ``val_<task>_rmse``
    in the unit of the label (of quantiles, those of the one nearest to the median, and the share of labels between the
    lowest and the highest as ``val_<task>_coverage``); and the weight in the loss, ``weight_<task>``.
    """
    found: dict[str, Metric] = {}
    for place, (task, columns) in enumerate(zip(losses.tasks, output_places(losses.tasks), strict=True)):
        found[f"val_{task.name}_loss"] = _loss(losses, place)
        for name, measure in _measures(task).items():
            found[f"val_{task.name}_{name}"] = _of_known(measure, place, columns)
        found[f"weight_{task.name}"] = _weight(balance, place)
    return found


def _loss(losses: TaskLosses, place: int) -> Metric:
    return lambda outputs, packed: float(losses(outputs, packed).means[place])


def _weight(balance: Balance, place: int) -> Metric:
    return lambda _outputs, _packed: float(balance.effective_weights()[place])


def _of_known(measure: Metric, place: int, columns: slice) -> Metric:
    """The measure of one task, over the samples that have its label."""

    def measured(outputs: Tensor, packed: Tensor) -> float:
        labels, known = packed.chunk(2, dim=1)
        rows = known[:, place] > 0
        return measure(outputs[rows, columns], labels[rows, place])

    return measured


def _measures(task: Task) -> dict[str, Metric]:
    if task.kind == "direction":
        return {"accuracy": lambda outputs, labels: _mean((outputs[:, 0] > 0) == (labels > 0.5))}
    if task.kind == "classes":
        return {"accuracy": lambda outputs, labels: _mean(outputs.argmax(dim=1) == labels)}
    middle = task.middle if task.kind == "quantiles" else 0
    found: dict[str, Metric] = {
        "mae": lambda outputs, labels: _mean((outputs[:, middle] - labels).abs()),
        "rmse": lambda outputs, labels: _mean((outputs[:, middle] - labels).square()) ** 0.5,
    }
    if task.kind == "quantiles" and task.n_outputs > 1:
        found["coverage"] = lambda outputs, labels: _mean((outputs[:, 0] <= labels) & (labels <= outputs[:, -1]))
    return found


def _mean(values: Tensor) -> float:
    return float(values.float().mean())
