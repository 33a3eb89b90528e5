"""Searching for hyperparameters from a configuration."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from agentnn.extras import require
from agentnn.sdk.run_training import RunTraining
from agentnn.sdk.training_inputs import checked_config, inputs_for, organizer_for

if TYPE_CHECKING:
    from agentnn.config.overrides import Overrides
    from agentnn.config.schema import Config
    from agentnn.sdk.run_training import ConfigSource
    from agentnn.sdk.training_inputs import TrainingInputs
    from agentnn.tracking.active_run import ActiveRun
    from agentnn.training.data.datasets import Dataset
    from agentnn.training.hpo.judged_objective import JudgedObjective
    from agentnn.training.hpo.request import StudyEvents
    from agentnn.training.hpo.results import StudyResult


class RunSearch(RunTraining):
    """The part of :class:`~agentnn.sdk.nn_models.ModelManager` that searches."""

    def run_study(
        self,
        config: ConfigSource,
        overrides: Overrides | None = None,
        *,
        trials: int | None = None,
        workers: int | None = None,
        engine: Literal["local", "ray"] | None = None,
        address: str | None = None,
        resume: bool = False,
        events: StudyEvents | None = None,
    ) -> StudyResult:
        """Search for hyperparameters as a configuration says: a run for the study, a child run for each trial.

        Trials are trained on the first part of the data and judged on the validation part. The test part is looked at
        once, at the end, for the best trial alone: its figures there, and how much of its Sharpe ratio is left once it
        is said how many were tried, are metrics of the study's run, as its network is the run's model.

        The study is kept in a file of this machine, or where ``hpo.storage`` says. One that was broken off is gone on
        with by ``resume``, in the same run; one that came to its end is left as it is, and the next of its name begins
        beside it. Several processes, on several machines where the storage is a database, may work at one study: each
        is started with ``resume``.

        Args:
            config: A YAML file, a dict of the same shape, or a manager of one.
            overrides: Values that go before those of the configuration.
            trials: How many trials the study should come to; ``hpo.num_trials`` otherwise. A study that goes on may get
                more.
            workers: How many trials run at once, in processes of their own; ``hpo.workers`` otherwise.
            engine: ``local`` or ``ray``; ``hpo.engine`` otherwise.
            address: Of the Ray cluster; ``hpo.address`` otherwise.
            resume: Go on with the last study of this name.
            events: Is told what happens.

        Returns:
            All trials of the study, the best one, and what is to be thought of it.

        Raises:
            ConfigError: The configuration is wrong, has no search, or does not fit the data.
            UsageError, CorruptDataError: The data can't be used.
            NotFoundError: There is no such file.
            ConflictError: There is an unfinished study of this name, and ``resume`` was not asked for; or it searches
                something else; or the experiment is deleted.
            TrainingError: No trial came to a value.
            StoreUnavailable: The study's own storage can't be used. A tracking store that is down does not matter.
            MissingDependencyError: torch or Optuna is not installed.
        """
        from agentnn.config.study import with_study_options  # pydantic, which no question to a store needs

        checked = with_study_options(
            checked_config(config, overrides), num_trials=trials, workers=workers, engine=engine, address=address
        )
        require("torch", extra="train")
        require("optuna", extra="hpo")
        from agentnn.training.hpo.judged_objective import check_objectives

        check_objectives(checked)
        manager = self._for(checked)
        return manager._search(checked, inputs_for(checked), resume=resume, events=events)

    def _search(
        self, config: Config, inputs: TrainingInputs, *, resume: bool, events: StudyEvents | None
    ) -> StudyResult:
        from agentnn.sdk.enhanced_logging import EnhancedMLflowLogger
        from agentnn.training.hpo.engines.engine_maker import EngineMaker
        from agentnn.training.hpo.judged_objective import JudgedObjective
        from agentnn.training.hpo.request import StudyRequest
        from agentnn.training.hpo.study import search
        from agentnn.training.training_run import tags_of

        derived = tags_of(config, inputs.dataset)
        known = {key: one for key, one in derived.items() if key not in config.experiment.tags}
        organizer = organizer_for(config, self.settings, known)
        logger = EnhancedMLflowLogger()
        objective = JudgedObjective(inputs.source, logger, inputs.procedure)
        maker = EngineMaker.of(config, objective, organizer)
        result = search(
            StudyRequest(
                config=config,
                organizer=organizer,
                make_engine=maker.make,
                is_remote=maker.is_remote,
                resume=resume,
                begin=partial(_begin, config, inputs.dataset, logger),
                conclude=partial(_conclude, maker.config, objective),
                events=events,
            )
        )
        if not result.concluded or config.tracking.register_as is None:
            return result
        return dataclasses.replace(result, registered=self._register(config, result.run_id))


def _begin(config: Config, dataset: Dataset, logger: Any, run: ActiveRun) -> None:
    """Log what there is to log when the study's run is new."""
    logger.log_config(config)
    run.log_params({"dataset": dataset.description})
    if config.tracking.log_environment:
        logger.log_environment_details()


def _conclude(config: Config, objective: JudgedObjective, run: ActiveRun, result: StudyResult) -> StudyResult:
    from agentnn.training.hpo.study_files import record_study
    from agentnn.training.hpo.verdict import judge_best

    return judge_best(config, objective, run, record_study(config, run, result))
