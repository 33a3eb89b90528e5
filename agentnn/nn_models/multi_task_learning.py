"""``MultiTaskTrainer``: several tasks learnt at once on one encoder, such as direction, return and volatility.

>>> tasks = (Task(name="direction", kind="direction"), Task(name="volatility", kind="volatility"))
>>> trainer = MultiTaskTrainer(MultiTaskOptions(tasks=tasks, balance="gradnorm"))  # doctest: +SKIP
>>> result = trainer.fit(X_train, {"direction": up, "volatility": realised}, X_val, labels_val)  # doctest: +SKIP
>>> result.network.predict(X_test)["direction"]  # doctest: +SKIP
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from agentnn.nn_models.multi_task.balance import build_balance
from agentnn.nn_models.multi_task.criterion import CombinedLoss, Trainee
from agentnn.nn_models.multi_task.files import MainTask, load_network, save_network
from agentnn.nn_models.multi_task.labels import label_counts, label_scale
from agentnn.nn_models.multi_task.losses import TaskLosses
from agentnn.nn_models.multi_task.metrics import metrics_of
from agentnn.nn_models.multi_task.network import MultiTaskConfig, MultiTaskNetwork
from agentnn.nn_models.multi_task.options import MultiTaskOptions
from agentnn.nn_models.multi_task.parts import Parts
from agentnn.nn_models.multi_task.results import MultiTaskResult
from agentnn.nn_models.multi_task.tasks import Task
from agentnn.nn_models.trainer_runs import TrainerRuns
from agentnn.tracking.active_run import ActiveRun
from agentnn.training.loop.devices import choose_device, reproducible
from agentnn.training.loop.named_optimizers import named_optimizer
from agentnn.training.network_files import log_network
from agentnn.training.train_nn_model import check_request, train_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch.optim import Optimizer

    from agentnn.settings import Settings
    from agentnn.tracking.active_run import NullRun
    from agentnn.training.recording import RunLogger

__all__ = [
    "MainTask",
    "MultiTaskConfig",
    "MultiTaskNetwork",
    "MultiTaskOptions",
    "MultiTaskResult",
    "MultiTaskTrainer",
    "Task",
    "load_network",
    "save_network",
]

EXPERIMENT = "multi_task_learning"
"""Where its runs are."""

_EXAMPLES = 2


class MultiTaskTrainer:
    """Trains a shared encoder with a head for each of several tasks, and balances their losses.

    A label may be missing: NaN stands for it, and it counts nowhere. The labels of numbers are brought to the scale of
    the training part for the loss, and predicted in their unit. The same seed, data and options give the same weights,
    and a training that was killed goes on from its checkpoint (``training.checkpoint_dir`` and ``training.resume`` of
    the options) bit for bit, with what the balance has learnt.

    Args:
        options: What is learnt, and how.
        make_optimizer: Makes the optimizer of groups of parameters, in the place of what the options say; the groups
            are as for torch's optimizers, those of the balance have a learning rate of their own.
        make_scheduler: Makes a scheduler of the optimizer and the steps of an epoch, or a
            :class:`~agentnn.training.loop.optimisation.Schedule`.
        run: An open run, which is used as it is and left open; without one there is a new one, by what follows.
        experiment: The experiment of its runs.
        run_name: The name of its runs.
        tags: More tags for them.
        tracking_uri: The store; as the settings say without one.
        settings: All of the settings, instead of ``tracking_uri``.
        track: Whether there is a run at all.
    """

    def __init__(
        self,
        options: MultiTaskOptions,
        *,
        make_optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        make_scheduler: Callable[[Optimizer, int], Any] | None = None,
        run: ActiveRun | NullRun | None = None,
        experiment: str = EXPERIMENT,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_uri: str | Path | None = None,
        settings: Settings | None = None,
        track: bool = True,
    ) -> None:
        self.options = options
        self._make_optimizer = make_optimizer or self._optimizer_of_options
        self._make_scheduler = make_scheduler
        self._runs = TrainerRuns(
            given=run,
            experiment=experiment,
            name=run_name,
            tags=dict(tags or {}),
            tracking_uri=tracking_uri,
            settings=settings,
            track=track,
        )

    def fit(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        *,
        logger: RunLogger | None = None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> MultiTaskResult:
        """Train all tasks.

        The run gets at each epoch ``train_loss`` and ``val_loss``, the losses of all tasks by the weights that the
        tasks were given; of each task ``val_<task>_loss`` and what else it is measured by, see
        :func:`~agentnn.nn_models.multi_task.metrics.metrics_of`, and its weight in the balance, ``weight_<task>``.

        Args:
            X_train: Raw features to learn from, shape (samples, features) or (samples, window, features).
            y_train: Labels by the names of the tasks, or shape (samples, tasks); NaN stands for one that is missing.
            X_val: Samples that are only looked at. For prices: later ones.
            y_val: What belongs to them.
            logger: Gets the values of each epoch in the place of the run.
            on_epoch: Called after each epoch with its number and values; what it raises goes through.

        Raises:
            UsageError: The data don't fit each other or the tasks.
            ConflictError: Another training uses the folder of checkpoints, or its checkpoint is of another training.
            TrainingError: The loss is no longer finite.
        """
        options, training = self.options, self.options.training
        device = choose_device(training.device or "auto")
        parts = Parts.of(X_train, y_train, X_val, y_val, options.tasks, device)
        seeded = reproducible(
            device, seed=training.seed, deterministic=training.deterministic, num_threads=training.num_threads
        )
        with seeded, self._runs.open(model_type="multi_task") as run:
            setup = self._setup(parts, device)
            self._log_beginning(run, setup.trainee.network, parts)
            history = train_model(
                setup.trainee,
                *parts.train,
                *parts.validation,
                setup.optimizer,
                setup.criterion,
                options.epochs,
                logger or run,
                options=replace(training, seed=None, deterministic=False, num_threads=None, device=None),
                scheduler=setup.scheduler,
                metrics=metrics_of(setup.criterion.losses, setup.trainee.balance),
                on_epoch=on_epoch,
            )
            result = MultiTaskResult(
                network=setup.trainee.network.eval(),
                history=history,
                device=device,
                run_id=run.find_run_id(),
                uuid=run.uuid,
            )
            self._log_end(run, result, parts)
        return result

    def check(self, X_train: Any, y_train: Any, X_val: Any, y_val: Any) -> None:
        """See whether :meth:`fit` can begin with such data; nothing is recorded, and random numbers are used.

        Raises:
            UsageError: The data don't fit each other or the tasks, or an option does not fit the tasks.
        """
        options, device = self.options, torch.device("cpu")
        setup = self._setup(Parts.of(X_train, y_train, X_val, y_val, options.tasks, device), device)
        metrics = metrics_of(setup.criterion.losses, setup.trainee.balance)
        check_request(options.epochs, options.training, metrics, setup.criterion)

    # --- what is trained

    def _setup(self, parts: Parts, device: torch.device) -> _Setup:
        """The network, as it begins, and all that trains it."""
        options, (inputs, packed) = self.options, parts.train
        network = MultiTaskNetwork(
            options.network(parts.n_features, parts.window), parts.standardisation() if options.standardise else None
        )
        network.scale_labels(label_scale(packed.cpu(), options.tasks))
        balance = build_balance(options.balance, options.tasks, options.alpha, options.balance_learning_rate)
        trainee = Trainee(network, balance, options.of_balance()).to(device)
        losses = TaskLosses(options.tasks, network.label_scale)
        optimizer = self._make_optimizer(_groups(trainee, options))
        steps = math.ceil(len(inputs) / (options.training.batch_size * options.training.accumulate_steps))
        return _Setup(
            trainee,
            CombinedLoss(trainee, losses, parts.validation[1]).to(device),
            optimizer,
            None if self._make_scheduler is None else self._make_scheduler(optimizer, steps),
        )

    def _optimizer_of_options(self, groups: list[dict[str, Any]]) -> Optimizer:
        options = self.options
        return named_optimizer(options.optimizer, groups, options.learning_rate, options.weight_decay)

    # --- the run

    def _log_beginning(self, run: ActiveRun | NullRun, network: MultiTaskNetwork, parts: Parts) -> None:
        facts = {"n_parameters": network.n_parameters}
        for name, packed in (("train", parts.train[1]), ("validation", parts.validation[1])):
            counts = label_counts(packed).tolist()
            facts |= {
                f"labels.{task.name}.{name}": int(one) for task, one in zip(self.options.tasks, counts, strict=True)
            }
        run.log_params(facts if self._runs.given is not None else {**self.options.to_params(), **facts})

    def _log_end(self, run: ActiveRun | NullRun, result: MultiTaskResult, parts: Parts) -> None:
        run.log_dict(result.to_dict(), "multi_task.json")
        if self._runs.given is not None:
            return  # its owner says what else belongs to it
        monitored, history = self.options.training.monitor, result.history
        if history.best_epoch:
            run.log_metrics({f"best_{monitored}": history.best_value, "best_epoch": float(history.best_epoch)})
        if self.options.log_model and isinstance(run, ActiveRun):
            example = parts.validation[0][:_EXAMPLES].cpu().numpy()
            log_network(run, MainTask(result.network, self.options.main_task.name), example)


class _Setup(NamedTuple):
    """What is trained, and by what."""

    trainee: Trainee
    criterion: CombinedLoss
    optimizer: Optimizer
    scheduler: Any


def _groups(trainee: Trainee, options: MultiTaskOptions) -> list[dict[str, Any]]:
    """The parameters for an optimizer; what the balance learns does not decay."""
    groups: list[dict[str, Any]] = [{"params": list(trainee.network.parameters())}]
    learnt = list(trainee.balance.parameters())
    if learnt:
        groups.append({"params": learnt, "lr": options.balance_learning_rate, "weight_decay": 0.0})
    return groups
