"""``trainer: distributed``: several processes of this machine train; this one owns the run, and waits for them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import TrainingError
from agentnn.nn_models.distributed.failures import WorkerLost
from agentnn.nn_models.distributed.fitting import fit_task, network_of
from agentnn.nn_models.distributed.job import Job, Task, error_of
from agentnn.nn_models.distributed.launching import launch
from agentnn.nn_models.distributed.options import DistributedOptions
from agentnn.tracking.capture.guard import warn
from agentnn.training.fitting import Fitted
from agentnn.training.loop.devices import choose_device, device_of
from agentnn.training.loop.optimisation import predicts_by
from agentnn.training.loop.progress_bar import progress_bar
from agentnn.training.networks import NetworkConfig
from agentnn.training.procedures import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from agentnn.config.schema import Config
    from agentnn.config.trainers import DistributedSection
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.recording import RunLogger

_WORKER = "agentnn.nn_models.distributed.worker"
_SECTIONS = ("model", "training", "distributed")


class DistributedTraining:
    """The plain loop's network, trained by several processes as a single one would train it.

    The workers are other processes under torchrun, which record nothing and never see the store; the values of each
    epoch, and in the end the best weights, come back here. Where a worker fails or is gone they go on from the last
    checkpoint, ``distributed.max_restarts`` times. With ``distributed.processes: 1`` this process trains itself.
    """

    def prepare(self, config: Config, dataset: Dataset) -> Dataset:
        """The data as they are."""
        return dataset

    def check(self, config: Config, dataset: Dataset) -> None:
        """See :class:`~agentnn.training.procedures.Procedure`: what the plain loop needs."""
        PLAIN.check(config, dataset)
        DistributedOptions.from_config(config)

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
        """See :class:`~agentnn.training.procedures.Procedure`."""
        training, section = config.training, config.distributed
        assert section is not None
        kept = checkpoint_dir or (training.checkpoint_dir if training.checkpoints else None)
        task = _task(config, dataset, None if kept is None else str(Path(kept).absolute()), resume=resume)
        run.set_tags({"distributed.processes": section.processes, "distributed.strategy": section.strategy})
        with progress_bar(training.epochs, is_wanted=training.progress) as show:
            heard = _Heard(run, logger, on_epoch, show)
            if section.processes == 1:
                model, result = fit_task(task, logger, heard.of_epoch)
                return Fitted(model.eval(), result.history, device_of(model), dataset.loss)
            with tempfile.TemporaryDirectory(prefix="agentnn-") as folder:
                return _launched(task, Job(Path(folder)), heard, section, choose_device(training.device))


def _launched(task: Task, job: Job, heard: _Heard, section: DistributedSection, device: torch.device) -> Fitted:
    """Have workers train; without checkpoints of its own the run has some for as long as it lasts."""
    if task.checkpoint_dir is None:
        task = replace(task, checkpoint_dir=str(job.folder / "checkpoints"))
    job.give(task)
    try:
        launch(
            ["-m", _WORKER, str(job.folder)],
            processes=section.processes,
            max_restarts=section.max_restarts,
            watch=lambda: heard.news_of(job),
        )
    except TrainingError as error:
        said = [one for one in job.failures() if one.kind != WorkerLost.__name__]
        raise (error_of(said[0]) if said else error) from error
    weights, history = job.result()
    model = network_of(task)
    model.load_state_dict(weights)
    return Fitted(model.to(device).eval(), history, device, task.loss)


def _task(config: Config, dataset: Dataset, checkpoint_dir: str | None, *, resume: bool) -> Task:
    train, validation = dataset.train, dataset.validation
    shape = NetworkConfig.from_section(
        config.model, len(dataset.feature_names), dataset.window, predicts_by(dataset.loss)
    )
    set_values = config.model_dump(mode="json", exclude_unset=True, include=set(_SECTIONS))
    return Task(
        config={"trainer": config.trainer, **set_values},
        network=shape.to_dict(),
        loss=dataset.loss,
        samples=(train.inputs, train.targets, validation.inputs, validation.targets),
        standardisation=dataset.standardisation,
        checkpoint_dir=checkpoint_dir,
        log_every=config.tracking.log_every,
        resume=resume,
    )


class _Heard:
    """Passes on what the workers tell: each epoch once, though after a restart they may go through it again."""

    def __init__(
        self,
        run: ActiveRun | NullRun,
        logger: RunLogger | None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None,
        show: Callable[[float, Mapping[str, list[float]]], None],
    ) -> None:
        self._run = run
        self._logger = logger
        self._on_epoch = on_epoch
        self._show = show
        self._epoch = self._logged = 0

    def news_of(self, job: Job) -> None:
        """Everything that was told since the last time."""
        for fact in job.told():
            if "logged" in fact:
                self._log(fact["logged"], fact["values"])
            elif "epoch" in fact:
                self.of_epoch(fact["epoch"], fact["values"])
            elif "note" in fact:
                warn(fact["note"])
            elif fact["restarts"]:
                self._run.set_tag("distributed.restarts", fact["restarts"])
                warn("a worker failed or is gone; all were started again, and go on from the last checkpoint")

    def of_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """The values of an epoch."""
        if epoch > self._epoch:
            self._epoch = epoch
            self._show(epoch, {name: [value] for name, value in values.items()})
            if self._on_epoch is not None:
                self._on_epoch(epoch, values)

    def _log(self, epoch: int, values: Mapping[str, float]) -> None:
        if epoch > self._logged and self._logger is not None:
            self._logged = epoch
            self._logger.log_metrics(values, epoch)
