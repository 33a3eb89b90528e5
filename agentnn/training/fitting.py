"""``fit``: a network built and trained as a configuration says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from agentnn.errors import UsageError
from agentnn.training.loop.devices import choose_device, reproducible
from agentnn.training.loop.optimisation import build_loss, build_optimizer, build_schedule, predicts_by
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.networks import Network, NetworkConfig
from agentnn.training.train_nn_model import train_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import nn

    from agentnn.config.schema import Config
    from agentnn.training.data.datasets import Dataset, Part
    from agentnn.training.data.prices import Standardisation
    from agentnn.training.loop.history import History
    from agentnn.training.recording import RunLogger


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What :func:`fit` gives back.

    Attributes:
        model: With the weights of the best epoch, in evaluation mode.
        history: The values of every epoch.
        device: Where the model is.
        loss: The name of the loss it was trained by.
        outputs: By part, ``validation`` or ``test``, what was predicted while it still learnt, shape (n, outputs); the
            model is asked about all other parts.
        facts: What a person is told of how it went, by name.
        errors_beside: Of a part of some data, the errors of what was learnt beside the target, by name.
    """

    model: nn.Module
    history: History
    device: torch.device
    loss: str
    outputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    errors_beside: Callable[[Dataset, Part], Mapping[str, float]] = lambda _dataset, _part: {}


def fit(
    config: Config,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    logger: RunLogger | None = None,
    *,
    standardisation: Standardisation | None = None,
    build_model: Callable[[Config], nn.Module] | None = None,
    loss: str | None = None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    checkpoint_dir: str | Path | None = None,
    checkpoints: bool = True,
    resume: bool = False,
) -> Fitted:
    """Build a network, an optimizer, a schedule and a loss as the configuration says, and train.

    The weights, the order of the samples and dropout come from ``training.seed``, whatever was done before; the
    random numbers of the process are afterwards as they were.

    Args:
        config: Its sections ``model`` and ``training``, and ``tracking.log_every``.
        X_train: Shape (samples, features) or (samples, window, features).
        y_train: Shape (samples,) or (samples, outputs); numbers of classes for ``cross_entropy``.
        X_val: Like ``X_train``.
        y_val: Like ``y_train``.
        logger: Gets the values of each epoch.
        standardisation: Of the features, which becomes part of the network.
        build_model: Makes another model than the configuration's families.
        loss: A name of ``training.loss``, where the configuration says none; without either ``bce`` where all targets
            are 0 or 1, and otherwise ``mse``.
        on_epoch: Called after each epoch with its number and values; what it raises goes through.
        checkpoint_dir: A folder for checkpoints; without one, as ``training.checkpoint_dir`` says.
        checkpoints: Whether there are any at all: trainings side by side can't share a folder.
        resume: Whether to go on from the last checkpoint.

    Raises:
        ConfigError: The configuration does not fit the data, or an argument of the optimizer, the scheduler or the
            loss is wrong.
        UsageError: The data are empty, not finite, or don't fit each other.
        ConflictError: Another training uses the folder of checkpoints, or its checkpoint is of another training.
        TrainingError: The loss is no longer finite.
    """
    training, shape = config.training, _shape_of(X_train)
    chosen = training.loss or loss or _loss_for(y_train)
    criterion = build_loss(chosen, training.params.get("loss_params", {}), config.model.output_dim)
    targets = [
        _targets(y, name, chosen, config.model.output_dim) for y, name in ((y_train, "y_train"), (y_val, "y_val"))
    ]
    device = choose_device(training.device)
    folder = checkpoint_dir or (training.checkpoint_dir if training.checkpoints else None)
    options = _options(config, folder if checkpoints else None, resume=resume)
    seeded = reproducible(
        device, seed=training.seed, deterministic=training.deterministic, num_threads=training.num_threads
    )
    with seeded:
        if build_model is None:
            window = shape[1] if len(shape) == 3 else 1
            network = NetworkConfig.from_section(config.model, shape[-1], window, predicts_by(chosen))
            model: nn.Module = Network(network, standardisation)
        else:
            model = build_model(config)
        model.to(device)
        optimizer = build_optimizer(training, model.parameters())
        steps_per_epoch = math.ceil(shape[0] / (training.batch_size * training.accumulate_steps))
        history = train_model(
            model,
            X_train,
            targets[0],
            X_val,
            targets[1],
            optimizer,
            criterion,
            training.epochs,
            logger,
            options=options,
            scheduler=build_schedule(training, optimizer, steps_per_epoch),
            metrics=epoch_metrics(chosen),
            on_epoch=on_epoch,
        )
    return Fitted(model.eval(), history, device, chosen)


def _options(config: Config, checkpoint_dir: str | Path | None, *, resume: bool) -> TrainingOptions:
    """Without what :func:`fit` sees to itself, before there is a model: seed, algorithms, threads, device."""
    options = TrainingOptions.from_section(config.training)
    return replace(
        options,
        seed=None,
        deterministic=False,
        num_threads=None,
        device=None,
        log_every=config.tracking.log_every,
        checkpoint_dir=checkpoint_dir,
        resume=resume,
    )


def _shape_of(inputs: Any) -> tuple[int, ...]:
    shape = tuple(inputs.shape) if hasattr(inputs, "shape") else np.shape(inputs)
    if len(shape) not in (2, 3) or 0 in shape:
        raise UsageError(f"X_train has the shape {shape}, not (samples, features) or (samples, window, features)")
    return shape


def _array(targets: Any, name: str) -> NDArray[Any]:
    array = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name} is not an array of numbers")
    return array


def _loss_for(targets: Any) -> str:
    return "bce" if np.isin(_array(targets, "y_train"), (0, 1)).all() else "mse"


def _targets(targets: Any, name: str, loss: str, output_dim: int) -> Any:
    """What the loss takes: whole numbers for classes.

    Raises:
        UsageError: They are not what the loss is for.
    """
    if predicts_by(loss) == "value":
        return targets
    array = _array(targets, name)
    if predicts_by(loss) == "probability":
        if np.isfinite(array).all() and not ((array >= 0) & (array <= 1)).all():
            raise UsageError(
                f"{name} holds values outside of 0 to 1, which the loss {loss} needs", hint="training.loss: mse"
            )
        return array.astype(np.float32)
    classes = array.reshape(len(array)) if array.shape[1:] == (1,) else array
    if not np.isin(classes, np.arange(output_dim)).all():
        raise UsageError(
            f"{name} holds values that are no classes from 0 to {output_dim - 1}",
            hint="model.output_dim counts classes",
        )
    return classes.astype(np.int64)


def _accuracy_of_probability(outputs: Tensor, targets: Tensor) -> float:
    return ((outputs > 0) == (targets > 0.5)).float().mean().item()


def _accuracy_of_classes(outputs: Tensor, targets: Tensor) -> float:
    return (outputs.argmax(dim=1) == targets).float().mean().item()


_METRICS: dict[str, dict[str, Callable[[Tensor, Tensor], float]]] = {
    "probability": {"val_accuracy": _accuracy_of_probability},
    "classes": {"val_accuracy": _accuracy_of_classes},
}


def epoch_metrics(loss: str) -> dict[str, Callable[[Tensor, Tensor], float]]:
    """What every epoch is also measured by, where the targets are classes: (outputs, targets) to a number, by name."""
    return _METRICS.get(predicts_by(loss), {})
