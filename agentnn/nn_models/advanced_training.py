"""``AdvancedTrainer``: one network trained with all that is usual, and recorded.

>>> options = AdvancedOptions(epochs=50, average="ema", scheduler="warmup_cosine", clip_norm=1.0)
>>> result = AdvancedTrainer(model, options).train(X_train, y_train, X_val, y_val)  # doctest: +SKIP
>>> result.model, result.history.best_value, result.run_id  # doctest: +SKIP

It is the loop of :func:`~agentnn.training.train_nn_model.train_model` with what goes around it: parameters in groups, a
schedule with a warm-up, robust losses and smoothed labels, an average of the weights, and several inputs by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentnn.errors import UsageError
from agentnn.nn_models.advanced.network import HierarchicalNetwork
from agentnn.nn_models.advanced.options import AdvancedOptions
from agentnn.nn_models.advanced.recipe import Recipe
from agentnn.nn_models.trainer_runs import TrainerRuns
from agentnn.tracking.journal.state import read_json, write_json
from agentnn.training.hierarchy import InputConfig
from agentnn.training.loop.devices import choose_device
from agentnn.training.loop.tensors import sample_tensors
from agentnn.training.network_files import save_for_mlflow
from agentnn.training.networks import Network
from agentnn.training.train_nn_model import train_model

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.loop.history import History
    from agentnn.training.recording import RunLogger

__all__ = ["AdvancedOptions", "AdvancedResult", "AdvancedTrainer", "HierarchicalNetwork", "InputConfig"]

EXPERIMENT = "advanced_training"
"""Where its runs are."""

_NO_PARAMS = ("checkpoint_dir", "checkpoint_every_s", "resume", "progress", "log_model", "log_every")
_EXAMPLES = 5
_RUN_FILE = "run.json"
"""Beside the checkpoints: which run they are of."""


@dataclass(frozen=True, slots=True, eq=False)
class AdvancedResult:
    """What a training came to.

    Attributes:
        model: The network, in evaluation mode: with the weights, or their average, of the epoch that was kept.
        history: The values of every epoch.
        device: Where the model is.
        groups: The groups of parameters: how many, their learning rate and weight decay.
        run_id: The run's id in the store; ``None`` while the store has not answered, or where nothing is tracked.
        uuid: Our own id of the run; empty where nothing is tracked.
    """

    model: nn.Module = field(repr=False)
    history: History = field(repr=False)
    device: torch.device
    groups: Mapping[str, Mapping[str, Any]]
    run_id: str | None
    uuid: str


class AdvancedTrainer:
    """Trains one network, and records it.

    The same seed, data and options give the same weights on the same machine, and a training that was killed goes on
    from its checkpoint bit for bit, with the average of the weights and where the schedule is. What is judged after
    each epoch, and kept, is the average, where there is one.

    Args:
        model: Inputs to outputs; it is trained in place. One that takes several inputs by name is a
            :class:`~agentnn.nn_models.advanced.network.HierarchicalNetwork`.
        options: How; by the defaults without them.
        criterion: (outputs, targets) to the mean loss, in the place of ``options.loss``.
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
        model: nn.Module,
        options: AdvancedOptions | None = None,
        *,
        criterion: nn.Module | None = None,
        run: ActiveRun | None = None,
        experiment: str = EXPERIMENT,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_uri: str | Path | None = None,
        settings: Settings | None = None,
        track: bool = True,
    ) -> None:
        self.model = model
        self.options = options or AdvancedOptions()
        self.criterion = criterion
        self._runs = TrainerRuns(
            given=run,
            experiment=experiment,
            name=run_name,
            tags=dict(tags or {}),
            tracking_uri=tracking_uri,
            settings=settings,
            track=track,
        )

    def train(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        *,
        metrics: Mapping[str, Callable[[Tensor, Tensor], float]] | None = None,
        logger: RunLogger | None = None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> AdvancedResult:
        """Train the network.

        The run gets the options as params and, with the epoch as the step, ``train_loss`` (with smoothed labels, if
        there are any), ``val_loss``, ``learning_rate``, ``epoch_seconds`` and the ``metrics``; at the end
        ``best_<monitor>``, ``best_epoch``, and the network.

        Args:
            X_train: Inputs to learn from, samples first; by name for a hierarchical network.
            y_train: What the network is to give for them.
            X_val: Inputs that are only looked at. For prices: later ones.
            y_val: What belongs to them.
            metrics: By name, (outputs, targets) of the whole validation part to a number.
            logger: Gets the values of each epoch in the place of the run, which then gets only what no configuration
                says.
            on_epoch: Called after each epoch with its number and values; what it raises goes through.

        Raises:
            UsageError: The data don't fit each other or the model, or the options don't.
            ConflictError: Another training uses the folder of checkpoints, or its checkpoint is of another training.
            CorruptDataError: There are checkpoints, and none of them is whole.
            TrainingError: The loss is no longer finite.
        """
        options, model = self.options, self.model
        device = choose_device(options.device)
        model.to(device)
        dtype = next(model.parameters()).dtype
        train = sample_tensors(self._packed(X_train), y_train, ("X_train", "y_train"), dtype, device)
        validation = sample_tensors(self._packed(X_val), y_val, ("X_val", "y_val"), dtype, device)
        recipe = Recipe.of(model, options, len(train[0]), self._output_dim(train[1]), self.criterion)
        run_before = self._run_of_checkpoints()
        with self._runs.open(run_before, model_type=self._model_type()) as run:
            if logger is None and run.uuid != run_before:
                run.log_params({name: one for name, one in options.to_dict().items() if name not in _NO_PARAMS})
            self._log_facts(run, recipe, len(train[0]), len(validation[0]))

            def after_epoch(epoch: int, values: Mapping[str, float]) -> None:
                self._keep_run(run.uuid)
                if on_epoch is not None:
                    on_epoch(epoch, values)

            history = train_model(
                model,
                *train,
                *validation,
                recipe.optimizer,
                recipe.criterion,
                options.epochs,
                run if logger is None else logger,
                options=options.of_loop(),
                scheduler=recipe.schedule,
                metrics=metrics,
                make_averaging=recipe.make_averaging,
                on_epoch=after_epoch,
            )
            result = AdvancedResult(model.eval(), history, device, recipe.groups, run.find_run_id(), run.uuid)
            if logger is None:
                self._log_end(run, result, validation[0][:_EXAMPLES].cpu())
        return result

    # --- what is trained

    def _packed(self, inputs: Any) -> Any:
        if not isinstance(inputs, Mapping):
            return inputs
        if not isinstance(self.model, HierarchicalNetwork):
            raise UsageError(
                "inputs by name are for a network that takes several", hint="HierarchicalNetwork([InputConfig(…), …])"
            )
        return self.model.pack(inputs)

    def _output_dim(self, targets: Tensor) -> int:
        """Values that the model gives, as far as a loss asks: as the network says, or as the targets are."""
        if isinstance(self.model, Network):
            return self.model.config.output_dim
        return int(targets.shape[1]) if targets.ndim > 1 else 1

    # --- the run

    def _model_type(self) -> str:
        return self.model.config.family if isinstance(self.model, Network) else type(self.model).__name__

    def _run_of_checkpoints(self) -> str:
        """Our own id of the run that is to be gone on with; empty without one."""
        folder = self.options.checkpoint_dir
        found = read_json(Path(folder) / _RUN_FILE) if folder and self.options.resume else {}
        return str(found.get("uuid", ""))

    def _keep_run(self, uuid: str) -> None:
        folder = self.options.checkpoint_dir
        if folder and uuid and read_json(Path(folder) / _RUN_FILE).get("uuid") != uuid:
            with suppress(OSError):  # without it, a resumed training is another run
                write_json(Path(folder) / _RUN_FILE, {"uuid": uuid})

    def _log_facts(self, run: ActiveRun | NullRun, recipe: Recipe, n_train: int, n_validation: int) -> None:
        """What no configuration says."""
        n_parameters = sum(one.numel() for one in self.model.parameters())
        run.log_params({"n_parameters": n_parameters, "train_samples": n_train, "validation_samples": n_validation})
        run.log_dict(recipe.groups, "parameter_groups.json")

    def _log_end(self, run: ActiveRun | NullRun, result: AdvancedResult, example: Tensor) -> None:
        history, monitor = result.history, self.options.monitor
        run.log_metrics({f"best_{monitor}": history.best_value, "best_epoch": history.best_epoch})
        if not self.options.log_model:
            return
        if isinstance(result.model, Network):
            network = result.model
            run.log_saved_model(lambda folder: save_for_mlflow(folder, network, example.numpy()))
        else:
            run.log_model(result.model, input_example=example)
