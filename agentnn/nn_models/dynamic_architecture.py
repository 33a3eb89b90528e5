"""``ArchitectureOptimizer``: a small network that grows, or shrinks, while it is trained.

>>> optimizer = ArchitectureOptimizer(Architecture.of_widths(13, (8,)))  # doctest: +SKIP
>>> result = optimizer.optimize(X_train, y_train, X_val, y_val)  # doctest: +SKIP
>>> result.architecture.widths, result.value  # doctest: +SKIP

A network can also be changed by hand (:class:`~agentnn.nn_models.architecture.network.DynamicNetwork`), kept in files
(:func:`save_network`), and sought among all architectures of a space (:func:`search_architectures`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import UsageError
from agentnn.nn_models.architecture.description import Architecture, Block
from agentnn.nn_models.architecture.files import load_network, save_network
from agentnn.nn_models.architecture.growth import Growth
from agentnn.nn_models.architecture.network import DynamicNetwork
from agentnn.nn_models.architecture.options import ArchitectureOptions
from agentnn.nn_models.architecture.results import ArchitectureResult, ArchitectureStep
from agentnn.nn_models.architecture.search import (
    ArchitectureSpace,
    FoundArchitecture,
    architecture_study,
    search_architectures,
)
from agentnn.nn_models.architecture.trainee import Teaching
from agentnn.nn_models.trainer_runs import TrainerRuns
from agentnn.training.loop.checkpoints import Checkpoints
from agentnn.training.loop.devices import choose_device, reproducible
from agentnn.training.loop.named_optimizers import named_optimizer
from agentnn.training.loop.optimisation import build_loss
from agentnn.training.loop.steps import Samples
from agentnn.training.loop.tensors import sample_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from agentnn.settings import Settings
    from agentnn.tracking.active_run import ActiveRun, NullRun

__all__ = [
    "Architecture",
    "ArchitectureOptimizer",
    "ArchitectureOptions",
    "ArchitectureResult",
    "ArchitectureSpace",
    "ArchitectureStep",
    "Block",
    "DynamicNetwork",
    "FoundArchitecture",
    "architecture_study",
    "load_network",
    "save_network",
    "search_architectures",
]

EXPERIMENT = "architecture_optimization"
"""Where its runs are."""

_NO_PARAMS = ("checkpoint_dir", "resume", "log_model")


class ArchitectureOptimizer:
    """Trains a network, changes it, and goes on with the change where the validation part says so.

    Each change is tried on a copy: layers are widened and added without a change of the function, or pruned and
    removed, the optimizer's state is carried over, and the copy is trained for ``epochs``. It is kept if it is then
    better than the unchanged network after as much further training. The same seed and data give the same network.

    Args:
        start: The architecture to begin with, or a network; that one is left as it is.
        options: How; by the defaults without them.
        criterion: (outputs, targets) to the mean loss, in the place of ``options.loss``.
        make_optimizer: Makes the optimizer of a network's parameters, in the place of what the options say.
        experiment: The experiment of its runs.
        run_name: The name of its runs.
        tags: More tags for them.
        tracking_uri: The store; as the settings say without one.
        settings: All of the settings, instead of ``tracking_uri``.
        run: An open run to record in, instead of one of its own; it stays open, and gets no params.
        prefix: How the names of metrics begin.
        track: Whether anything is recorded.
    """

    def __init__(
        self,
        start: Architecture | DynamicNetwork,
        options: ArchitectureOptions | None = None,
        *,
        criterion: nn.Module | None = None,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        experiment: str = EXPERIMENT,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_uri: str | Path | None = None,
        settings: Settings | None = None,
        run: ActiveRun | NullRun | None = None,
        prefix: str = "",
        track: bool = True,
    ) -> None:
        self.start = start
        self.options = options or ArchitectureOptions()
        self.criterion = criterion
        self._make_optimizer = make_optimizer or self._optimizer_of_options
        self._prefix = prefix
        self._runs = TrainerRuns(
            given=run,
            experiment=experiment,
            name=run_name,
            tags=dict(tags or {}),
            tracking_uri=tracking_uri,
            settings=settings,
            track=track,
        )

    @property
    def architecture(self) -> Architecture:
        """The architecture to begin with."""
        return self.start if isinstance(self.start, Architecture) else self.start.architecture

    def optimize(
        self,
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        *,
        metrics: Mapping[str, Callable[[Tensor, Tensor], float]] | None = None,
        on_step: Callable[[ArchitectureStep], None] | None = None,
        on_network: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> ArchitectureResult:
        """Train the network and change its architecture, until a budget is spent or nothing is gained.

        The run gets, at the number of each change as the step: ``<monitor>`` of the network that was gone on with and
        its ``n_parameters``; of the change ``<monitor>_before``, ``_changed``, ``_unchanged`` and ``_after`` (see
        :class:`~agentnn.nn_models.architecture.results.ArchitectureStep`), ``change_n_parameters``, ``change_layer``,
        ``change_kept`` and ``change_ms``; and its kind in the tag ``architecture.change.<number>``.

        Args:
            X_train: Inputs to learn from, shape (samples, inputs) or (samples, window, features).
            y_train: What the network is to give for them.
            X_val: Inputs that decide about the changes, and are not learnt from. For prices: later ones.
            y_val: What belongs to them.
            metrics: By name, (outputs, targets) of the whole validation part to a number.
            on_step: Called after each change; what it raises goes through.
            on_network: Called with the number of changes so far, 0 for the first network, and what the training of the
                network that is gone on with has measured.

        Raises:
            UsageError: The data don't fit each other or the network, or a value is not what it has to be.
            ConflictError: Another search uses the folder of checkpoints, or its checkpoint is of another search.
            CorruptDataError: There are checkpoints, and none of them is whole.
            TrainingError: The first network's loss is no longer finite.
        """
        options, device = self.options, choose_device(self.options.device)
        teaching = self._teaching(X_train, y_train, X_val, y_val, metrics or {}, device)
        seeded = reproducible(
            device, seed=options.seed, deterministic=options.deterministic, num_threads=options.num_threads
        )
        with seeded, Checkpoints(options.checkpoint_dir, 0) as checkpoints:
            saved = checkpoints.start(device, resume=options.resume)
            growth = Growth.restore(saved, teaching, self._make_optimizer) if saved is not None else None
            with self._runs.open(saved["run"] if saved else "", model_type="dynamic_mlp") as run:
                if growth is None:
                    self._log_beginning(run, teaching)
                    growth = Growth.begin(teaching, self.start, self._make_optimizer)
                    self._log_network(run, growth)
                    checkpoints.write(growth.state(run.uuid, is_finished=False))
                    if on_network is not None:
                        on_network(0, growth.first_measures)

                while not (why_over := growth.why_over(proposal := growth.next_proposal())):
                    assert proposal is not None
                    step = growth.attempt(proposal)
                    self._log_step(run, step)
                    self._log_network(run, growth)
                    checkpoints.write(growth.state(run.uuid, is_finished=False))
                    if on_step is not None:
                        on_step(step)
                    if on_network is not None:
                        on_network(step.number, step.measures)

                checkpoints.write(growth.state(run.uuid, is_finished=True))
                result = self._result(growth, why_over, None if saved is None else saved["epoch"], run)
                self._log_end(run, result, teaching)
        return result

    # --- what is trained, and how

    def _teaching(
        self, X_train: Any, y_train: Any, X_val: Any, y_val: Any, metrics: Mapping[str, Any], device: torch.device
    ) -> Teaching:
        """Everything that the networks are trained with, checked."""
        options, architecture = self.options, self.architecture
        dtype = torch.float32 if isinstance(self.start, Architecture) else self.start.feature_mean.dtype
        train = Samples(*sample_tensors(X_train, y_train, ("X_train", "y_train"), dtype, device))
        validation = Samples(*sample_tensors(X_val, y_val, ("X_val", "y_val"), dtype, device))
        for name, samples in (("X_train", train), ("X_val", validation)):
            found = samples.inputs[0].numel()
            if found != architecture.n_inputs:
                raise UsageError(f"{name} has {found} values a sample, but the network takes {architecture.n_inputs}")
        is_normalised = any(block.normalisation == "batch" for block in architecture.blocks)
        if is_normalised and len(train.inputs) % options.batch_size == 1:
            raise UsageError(
                f"the last batch of {len(train.inputs)} samples holds one, which batch normalisation can't work with",
                hint=f"another batch_size than {options.batch_size}, or one sample less",
            )
        known = ("val_loss", *metrics)
        if options.monitor not in known:
            raise UsageError(f"{options.monitor!r} can't be monitored", hint=f"one of {', '.join(known)}")
        criterion = self.criterion or build_loss(options.loss, {}, architecture.n_outputs)
        return Teaching(train, validation, criterion.to(device), metrics, options, device)

    def _optimizer_of_options(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        options = self.options
        return named_optimizer(options.optimizer, parameters, options.learning_rate, options.weight_decay)

    def _result(
        self, growth: Growth, why_over: str, resumed_from: int | None, run: ActiveRun | NullRun
    ) -> ArchitectureResult:
        return ArchitectureResult(
            network=growth.trainee.network.eval(),
            optimizer=growth.trainee.optimizer,
            monitor=self.options.monitor,
            first_value=growth.first_value,
            first_measures=growth.first_measures,
            value=growth.trainee.value,
            steps=tuple(growth.steps),
            why_over=why_over,
            resumed_from=resumed_from,
            run_id=run.find_run_id(),
            uuid=run.uuid,
        )

    # --- the run

    def _log_beginning(self, run: ActiveRun | NullRun, teaching: Teaching) -> None:
        if run is self._runs.given:
            return
        params = {name: value for name, value in self.options.to_dict().items() if name not in _NO_PARAMS}
        run.log_params(
            {
                **params,
                "start_architecture": str(self.architecture),
                "start_n_parameters": self.architecture.n_parameters,
                "train_samples": len(teaching.train.inputs),
                "validation_samples": len(teaching.validation.inputs),
            }
        )

    def _log_network(self, run: ActiveRun | NullRun, growth: Growth) -> None:
        value, size = growth.trainee.value, growth.trainee.network.n_parameters
        run.log_metrics(self._named({self.options.monitor: value, "n_parameters": size}), len(growth.steps))

    def _log_step(self, run: ActiveRun | NullRun, step: ArchitectureStep) -> None:
        name = self.options.monitor
        values = {
            f"{name}_before": step.before,
            f"{name}_changed": step.changed,
            f"{name}_unchanged": step.unchanged,
            f"{name}_after": step.after,
            "change_n_parameters": step.n_parameters,
            "change_layer": step.layer,
            "change_kept": int(step.kept),
            "change_ms": step.change_ms,
        }
        run.log_metrics(self._named(values), step.number)
        run.set_tag(f"architecture.change.{step.number}", str(step))

    def _log_end(self, run: ActiveRun | NullRun, result: ArchitectureResult, teaching: Teaching) -> None:
        ends = {"changes": len(result.steps), "changes_kept": len(result.kept)}
        if math.isfinite(result.value):
            ends[f"best_{result.monitor}"] = result.value  # type: ignore[assignment]
        run.log_metrics(self._named(ends))
        run.set_tags({"architecture": str(result.architecture), "architecture.why_over": result.why_over})
        run.log_dict(result.to_dict(), "architecture.json")
        if self.options.log_model:
            run.log_model(result.network, input_example=teaching.validation.inputs[:5].cpu())

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{self._prefix}{name}": value for name, value in values.items()}
