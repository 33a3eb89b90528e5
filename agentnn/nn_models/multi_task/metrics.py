"""What each task is measured by: epoch by epoch on the validation part, and at the end on any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnn.nn_models.multi_task.labels import label_counts, packed_labels
from agentnn.nn_models.multi_task.losses import TaskLosses
from agentnn.nn_models.multi_task.tasks import output_places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike
    from torch import Tensor

    from agentnn.nn_models.multi_task.balance import Balance
    from agentnn.nn_models.multi_task.network import MultiTaskNetwork
    from agentnn.nn_models.multi_task.tasks import Task

    Metric = Callable[[Tensor, Tensor], float]


def metrics_of(losses: TaskLosses, balance: Balance) -> dict[str, Metric]:
    """By name, (outputs, packed labels) of the whole validation part to a number: what the training loop takes.

    Of each task ``val_<task>_loss``; ``val_<task>_accuracy`` of classes, or ``val_<task>_mae`` and ``val_<task>_rmse``
    in the unit of the label (of quantiles, those of the one nearest to the median, and the share of labels between the
    lowest and the highest as ``val_<task>_coverage``); and the weight in the loss, ``weight_<task>``.
    """
    found: dict[str, Metric] = {}
    for place, task in enumerate(losses.tasks):
        found |= {f"val_{task.name}_{name}": measure for name, measure in _measures_of(losses, place).items()}
        found[f"weight_{task.name}"] = _weight(balance, place)
    return found


def errors_by_task(network: MultiTaskNetwork, inputs: ArrayLike, labels: Mapping[str, ArrayLike]) -> dict[str, float]:
    """The same of a network and any samples, as ``<task>_loss`` and so on; a task without a label is left out.

    Args:
        network: Is asked in evaluation mode, and stays as it is.
        inputs: Raw features, as for :meth:`~agentnn.nn_models.multi_task.network.MultiTaskNetwork.predict`.
        labels: By task, NaN where one is missing.
    """
    tasks, outputs = network.config.tasks, network.outputs(inputs)
    packed = packed_labels(labels, tasks, "labels", may_be_missing=True)
    losses = TaskLosses(tasks, network.label_scale.cpu())
    return {
        f"{task.name}_{name}": measure(outputs, packed)
        for place, (task, count) in enumerate(zip(tasks, label_counts(packed).tolist(), strict=True))
        if count
        for name, measure in _measures_of(losses, place).items()
    }


def _measures_of(losses: TaskLosses, place: int) -> dict[str, Metric]:
    """Those of the task at a place, (outputs, packed labels) of all tasks to a number."""
    task, columns = losses.tasks[place], output_places(losses.tasks)[place]
    measures = {name: _of_known(measure, place, columns) for name, measure in _measures(task).items()}
    return {"loss": _loss(losses, place), **measures}


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
