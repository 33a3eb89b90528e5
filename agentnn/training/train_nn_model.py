"""``train_model``: the training loop, which reads from top to bottom."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from agentnn.errors import TrainingError, UsageError
from agentnn.training.loop.checkpoints import Checkpoints
from agentnn.training.loop.compiling import compiled
from agentnn.training.loop.devices import autocasting, choose_device, device_of, reproducible
from agentnn.training.loop.history import OWN_METRICS, History
from agentnn.training.loop.optimisation import Schedule
from agentnn.training.loop.options import TrainingOptions
from agentnn.training.loop.progress_bar import progress_bar
from agentnn.training.loop.resuming import Resumable, copied_weights
from agentnn.training.loop.steps import Samples, Stepper
from agentnn.training.loop.tensors import sample_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch.optim import Optimizer

    from agentnn.training.loop.averaging import Averaging
    from agentnn.training.recording import RunLogger

__all__ = ["History", "TrainingOptions", "train_model"]


def train_model(
    model: nn.Module,
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    optimizer: Optimizer,
    criterion: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    logger: RunLogger | None = None,
    *,
    options: TrainingOptions | None = None,
    scheduler: Any = None,
    metrics: Mapping[str, Callable[[Tensor, Tensor], float]] | None = None,
    make_averaging: Callable[[nn.Module], Averaging] | None = None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> History:
    """Train a model, epoch by epoch.

    The same seed, data and options give the same weights on the same machine. A training that was killed and goes on
    with ``resume`` ends bit for bit as one that was not, and logs again what it logged since its last checkpoint.

    Args:
        model: Inputs to outputs; it is trained in place, and its mode is left as it was.
        X_train: Inputs to learn from, samples first: a tensor, an array or a frame.
        y_train: What the model is to give for them. Where a sample has one value, (n,) and (n, 1) are the same.
        X_val: Inputs that are only looked at.
        y_val: What belongs to them.
        optimizer: Of the model's weights.
        criterion: (outputs, targets) to the mean loss of a batch; a module is in training mode with the model, and in
            evaluation mode with it.
        epochs: Passes over the training part, at most.
        logger: Gets the values of each epoch, with the epoch as the step, from 1: ``train_loss`` (the mean over the
            samples as they were met, with dropout), ``val_loss``, ``learning_rate`` (of the last step),
            ``epoch_seconds``, and the ``metrics``.
        options: How to train; by the defaults without them.
        scheduler: One of torch's, or what :func:`~agentnn.training.loop.optimisation.build_schedule` gives.
        metrics: By name, (outputs, targets) of the whole validation part to a number.
        make_averaging: Makes an average of the model's weights, such as
            :class:`~agentnn.training.loop.averaging.ExponentialAverage`. It is then the average that is judged after
            each epoch and whose best weights are kept; the model has an average's weights in the end.
        on_epoch: Called after each epoch with its number and values; what it raises goes through.

    Returns:
        All values, and which epoch was best.

    Raises:
        UsageError: The data are empty, not finite, or don't fit each other or the model.
        ConflictError: Another training uses the folder of checkpoints, or its checkpoint is of another training.
        TrainingError: The loss is no longer finite. The last checkpoint is one from before that.
    """
    options, metrics = options or TrainingOptions(), metrics or {}
    check_request(epochs, options, metrics, criterion)
    device = device_of(model) if options.device is None else choose_device(options.device)
    model.to(device)
    if isinstance(criterion, nn.Module):
        criterion.to(device)
    dtype = next((weights.dtype for weights in model.parameters() if weights.is_floating_point()), torch.float32)
    train = Samples(*sample_tensors(X_train, y_train, ("X_train", "y_train"), dtype, device))
    validation = Samples(*sample_tensors(X_val, y_val, ("X_val", "y_val"), dtype, device))
    n_samples, samples_a_step = len(train.inputs), options.batch_size * options.accumulate_steps

    schedule = Schedule.of(scheduler)
    autocast = autocasting(device, options.precision)
    forward = compiled(model, train.inputs[: options.batch_size].to(device), autocast) if options.compile else None
    stepper = Stepper(model, optimizer, criterion, options, device, forward)
    averaging = make_averaging(model) if make_averaging is not None else None
    settings = settings_of(options, optimizer, n_samples, averaging)
    resumable = Resumable(model, optimizer, schedule, stepper.scaler, device, settings, averaging)
    history = History({name: [] for name in (*OWN_METRICS, *metrics)})
    best_weights: dict[str, Any] | None = None

    with (
        reproducible(device, seed=options.seed, deterministic=options.deterministic, num_threads=options.num_threads),
        same_mode_afterwards(model, criterion),
        Checkpoints(options.checkpoint_dir, options.checkpoint_every_s) as checkpoints,
        progress_bar(epochs, is_wanted=options.progress) as show,
    ):
        saved = checkpoints.start(device, resume=options.resume)
        if saved is not None:
            best_weights = resumable.restore(saved, history)

        while not is_over(history, epochs, options):
            epoch, began = history.epochs + 1, time.perf_counter()

            # Learn from every sample once.
            stepper.learns(is_learning=True)
            train_loss, done = torch.zeros((), device=device), 0
            order = torch.randperm(n_samples) if options.shuffle else torch.arange(n_samples)
            for rows in torch.split(order.to(train.inputs.device), samples_a_step):
                loss, has_stepped = stepper.step(train, rows)
                train_loss.add_(loss, alpha=len(rows) / n_samples)  # a tensor: nothing waits for the device
                learning_rate = optimizer.param_groups[0]["lr"]
                if has_stepped:
                    schedule.after_step()
                    if averaging is not None:
                        averaging.after_step()
                done += len(rows)
                show(epoch - 1 + done / n_samples, history)

            # See what it came to.
            judged = model
            if averaging is not None:
                averaging.after_epoch(stepper.batches(train))
                judged = averaging.judged()
            values = {
                "train_loss": train_loss.item(),
                **stepper.evaluate(validation, metrics, judged),
                "learning_rate": float(learning_rate),
                "epoch_seconds": time.perf_counter() - began,
            }
            is_best = take_epoch(values, history, schedule, options, checkpoints)
            if is_best and (options.restore_best or checkpoints.are_kept):
                best_weights = copied_weights(judged)

            # Tell, and keep.
            if logger is not None and (epoch % options.log_every == 0 or is_over(history, epochs, options)):
                logger.log_metrics(values, epoch)
            if on_epoch is not None:
                on_epoch(epoch, values)
            if checkpoints.are_due:
                checkpoints.write(resumable.state(history, best_weights, is_finished=False))

        if checkpoints.are_kept:
            checkpoints.write(resumable.state(history, best_weights, is_finished=True))
        if options.restore_best and best_weights is not None:
            model.load_state_dict(best_weights)
        elif averaging is not None:
            model.load_state_dict(copied_weights(averaging.judged()))
    history.stopped_early = history.epochs < epochs
    return history


def check_request(
    epochs: int, options: TrainingOptions, metrics: Mapping[str, object], criterion: Callable[..., Tensor]
) -> None:
    """See whether a training can be had as it is asked for.

    Raises:
        UsageError: It can't.
    """
    if type(epochs) is not int or epochs < 0:
        raise UsageError(f"epochs must be a whole number of at least 0, not {epochs!r}")
    taken = [name for name in metrics if name in OWN_METRICS]
    if taken:
        raise UsageError(f"a metric can't be called {taken[0]}: every training has that one")
    if options.monitor not in (*OWN_METRICS, *metrics):
        listed = ", ".join((*OWN_METRICS, *metrics))
        raise UsageError(f"{options.monitor!r} can't be monitored, since no epoch has it", hint=f"one of {listed}")
    if getattr(criterion, "reduction", "mean") != "mean":
        raise UsageError("the criterion does not give the mean over the samples", hint="reduction='mean'")


def settings_of(
    options: TrainingOptions, optimizer: Optimizer, n_samples: int, averaging: Averaging | None
) -> dict[str, Any]:
    """What must not change between a checkpoint and its resumption."""
    names = ("batch_size", "shuffle", "accumulate_steps", "clip_norm", "precision", "seed", "monitor", "monitor_mode")
    groups = [(float(one.get("initial_lr", one["lr"])), one.get("weight_decay")) for one in optimizer.param_groups]
    return {
        **{name: getattr(options, name) for name in names},
        "optimizer": type(optimizer).__name__,
        "learning_rate": groups[0][0],  # a checkpoint's own would win, silently
        "groups of parameters": str(groups) if len(groups) > 1 else None,
        "number of samples": n_samples,
        "average of the weights": None if averaging is None else averaging.settings(),
    }


def is_over(history: History, epochs: int, options: TrainingOptions) -> bool:
    """Whether all epochs are trained, or patience has run out."""
    is_out_of_patience = options.patience is not None and history.epochs - history.best_epoch >= options.patience
    return is_out_of_patience or history.epochs >= epochs


def take_epoch(
    values: Mapping[str, float],
    history: History,
    schedule: Schedule,
    options: TrainingOptions,
    checkpoints: Checkpoints,
) -> bool:
    """Add the values of an epoch to the history, and tell the schedule; whether it is the best so far.

    Raises:
        TrainingError: A loss is no longer finite.
    """
    epoch, monitored = history.epochs + 1, values[options.monitor]
    for name in ("train_loss", "val_loss"):
        if not math.isfinite(values[name]):
            raise loss_not_finite(name, epoch, options, checkpoints)
    history.add(values)
    schedule.after_epoch(monitored)
    if not is_better(monitored, history, options):
        return False
    history.best_epoch, history.best_value = epoch, monitored
    return True


def is_better(value: float, history: History, options: TrainingOptions) -> bool:
    """Whether an epoch is the best one so far; one without a finite value is not."""
    if not math.isfinite(value):
        return False
    gain = history.best_value - value if options.monitor_mode == "min" else value - history.best_value
    return history.best_epoch == 0 or gain > options.min_delta


def loss_not_finite(name: str, epoch: int, options: TrainingOptions, checkpoints: Checkpoints) -> TrainingError:
    """What is raised then, with what may help."""
    advice = ["try a lower learning rate", "or clip_norm=1.0" if options.clip_norm is None else "or a lower clip_norm"]
    if options.precision == "float16":
        advice.append("or precision: bfloat16")
    if checkpoints.epoch:
        advice.append(f"; the checkpoint of epoch {checkpoints.epoch} is in {checkpoints.folder}")
    return TrainingError(f"the {name} is no longer finite in epoch {epoch}", hint=" ".join(advice).replace(" ;", ";"))


@contextmanager
def same_mode_afterwards(*parts: object) -> Iterator[None]:
    """Leave modules in training or evaluation mode, each as it was."""
    trees = [one for one in parts if isinstance(one, nn.Module)]
    modes = [(module, module.training) for tree in trees for module in tree.modules()]
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def main() -> None:
    """The script: ``agentnn run train`` under another name, by default on ``config_templates``' first example."""
    import sys

    from agentnn.training.scripts import run_script

    run_script("train", "basic_training_example.yaml", sys.argv[1:])


if __name__ == "__main__":
    main()
