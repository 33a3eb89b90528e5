"""``trainer: online``: learnt on the training part, and then from every day that has been predicted."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.online.day_stream import DayStream
from agentnn.nn_models.online.options import OnlineOptions
from agentnn.nn_models.online_learning import OnlineLearner
from agentnn.training.data.datasets import PART_NAMES
from agentnn.training.fitting import Fitted
from agentnn.training.judging import criterion_of, judge
from agentnn.training.loop.devices import choose_device, reproducible
from agentnn.training.loop.history import OWN_METRICS, History
from agentnn.training.loop.optimisation import build_optimizer, predicts_by
from agentnn.training.networks import Network, NetworkConfig
from agentnn.training.procedures import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from agentnn.config.schema import Config
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.recording import RunLogger

PREFIX = "online_"
"""Begins the names of what the learner itself records."""

_UNSEEN = ("validation", "test")


class OnlineTraining:
    """Learns the training part, by epochs or once as a stream, and then goes on through validation and test part.

    There each day is predicted first, and learnt once its label is known: the predictions of both parts are those that
    were made before. By epochs, the validation part has chosen the epoch that is begun with, as ever; the test part has
    chosen nothing. The network that is kept is the one after the last day.
    """

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data as they are."""
        return dataset

    def check(self, config: Config, dataset: Dataset) -> None:
        """See :class:`~agentnn.training.procedures.Procedure`: what the plain loop needs, and what the learner does."""
        PLAIN.check(config, dataset)
        try:
            with torch.random.fork_rng(devices=[]):
                _learner(config, dataset, _network(config, dataset))
        except UsageError as error:
            raise ConfigError(f"online: {error.message}", hint=error.hint) from error

    def fit(
        self,
        config: Config,
        dataset: Dataset,
        run: ActiveRun | NullRun,
        logger: RunLogger | None,
        *,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
        checkpoint_dir: Path | None = None,
        resume: bool = False,
    ) -> Fitted:
        """See :class:`~agentnn.training.procedures.Procedure`; checkpoints are those of the epochs."""
        assert config.online is not None
        if config.online.warm_up == "stream":
            return _one_pass(config, dataset, run, logger, on_epoch)
        how: dict[str, Any] = {"on_epoch": on_epoch, "checkpoint_dir": checkpoint_dir, "resume": resume}
        begun = PLAIN.fit(config, dataset, run, logger, **how)
        with _seeded(config, begun.device):
            learner = _learner(config, dataset, begun.model, run)
            outputs = _streamed(learner, config, dataset, _UNSEEN)
        return replace(begun, model=begun.model.eval(), outputs=outputs, facts=_facts(learner))


def _one_pass(
    config: Config,
    dataset: Dataset,
    run: ActiveRun | NullRun,
    logger: RunLogger | None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None,
) -> Fitted:
    """Everything as a stream, from the first day of the training part on; it counts as one epoch."""
    device, began = choose_device(config.training.device), time.perf_counter()
    with _seeded(config, device):
        model = _network(config, dataset)
        learner = _learner(config, dataset, model, run)
        outputs = _streamed(learner, config, dataset, PART_NAMES)
    losses = [
        judge(model, dataset, part, config, outputs=outputs[part]).errors["loss"] for part in ("train", "validation")
    ]
    values = dict(zip(OWN_METRICS, (*losses, learner.options.learning_rate, time.perf_counter() - began), strict=True))
    if logger is not None:
        logger.log_metrics(values, 1)
    if on_epoch is not None:
        on_epoch(1, values)
    history = History({name: [value] for name, value in values.items()})
    history.best_epoch, history.best_value = 1, values["val_loss"]
    unseen = {part: outputs[part] for part in _UNSEEN}
    return Fitted(model.eval(), history, device, dataset.loss, unseen, _facts(learner))


def _seeded(config: Config, device: torch.device) -> AbstractContextManager[None]:
    training = config.training
    return reproducible(
        device, seed=training.seed, deterministic=training.deterministic, num_threads=training.num_threads
    )


def _network(config: Config, dataset: Dataset) -> Network:
    shape = NetworkConfig.from_section(
        config.model, len(dataset.feature_names), dataset.window, predicts_by(dataset.loss)
    )
    return Network(shape, dataset.standardisation)


def _learner(
    config: Config, dataset: Dataset, model: torch.nn.Module, run: ActiveRun | NullRun | None = None
) -> OnlineLearner:
    """A learner of a network; its optimizer begins anew, with the learning rate of the stream."""
    options = OnlineOptions.from_config(config)
    choice = config.training.model_copy(update={"learning_rate": options.learning_rate})
    model.to(choose_device(config.training.device))
    optimizer = build_optimizer(choice, model.parameters())
    criterion = criterion_of(dataset, config)
    return OnlineLearner(model, criterion, optimizer, options, run=run, prefix=PREFIX, track=run is not None)


def _streamed(
    learner: OnlineLearner, config: Config, dataset: Dataset, parts: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """What the learner says of each part, from one to the next; the days between two parts are seen by nobody."""
    stream, outputs = DayStream(learner, config.data.horizon), {}
    with learner:
        for name in parts:
            outputs[name] = stream.predict(getattr(dataset, name))
            stream.pass_over(dataset.embargo)
    return outputs


def _facts(learner: OnlineLearner) -> dict[str, str]:
    counts = learner.counts
    return {"stream": f"{counts.learned} days learnt in {counts.steps} steps, {counts.drifts} drifts"}
