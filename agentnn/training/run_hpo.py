"""``run_hpo_study``: a search for hyperparameters, as one run with a child run for each trial; and the script."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from agentnn.config.study import with_study_options
from agentnn.errors import ConfigError
from agentnn.training.hpo.engines.engine_maker import EngineMaker
from agentnn.training.hpo.request import StudyEvents, StudyRequest
from agentnn.training.hpo.study import search
from agentnn.training.hpo.study_files import record_study
from agentnn.training.hpo.trial import Objective, Trial, TrialPruned
from agentnn.training.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from agentnn.config.schema import Config
    from agentnn.training.hpo.results import StudyResult
    from agentnn.training.recording import StudyLogger, StudyOrganizer

__all__ = ["Trial", "TrialPruned", "main", "run_hpo_study"]


def run_hpo_study(
    config: Mapping[str, Any],
    X_train: Any,
    y_train: Any,
    X_val: Any,
    y_val: Any,
    organizer: StudyOrganizer,
    logger: StudyLogger | None = None,
    *,
    objective: Objective | None = None,
    build_model: Callable[[Config], nn.Module] | None = None,
    trials: int | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] | None = None,
    address: str | None = None,
    resume: bool = False,
    events: StudyEvents | None = None,
) -> StudyResult:
    """Search for hyperparameters: a run for the study, a child run for each trial, the best one noted in the first.

    A trial trains a network as ``config`` says with the trial's values in place, and is judged by ``hpo.metric`` at its
    best epoch, on the validation part alone. A trial that raises, or comes to NaN, fails, and the study goes on. One
    whose worker process dies is tried again.

    The study is kept in a file of this machine, or where ``hpo.storage`` says. One that was broken off is gone on with
    by ``resume``; one that came to its end is left as it is, and the next of its name begins beside it.

    Args:
        config: What ``ConfigurationManager.get_config()`` gives, or a mapping with the same sections.
        X_train: Shape (samples, features) or (samples, window, features); nothing of the data is looked at where there
            is an ``objective``.
        y_train: Shape (samples,) or (samples, outputs).
        X_val: Like ``X_train``.
        y_val: Like ``y_train``.
        organizer: An ``ExperimentOrganizer``.
        logger: An ``EnhancedMLflowLogger``; without one the runs hold params and final values only.
        objective: Judges a trial in another way; see :class:`~agentnn.training.hpo.trial.Trial`.
        build_model: Makes another model than the configuration's families, from the trial's configuration.
        trials: Instead of ``hpo.num_trials``: how many the study should come to.
        workers: Instead of ``hpo.workers``: with 1, trials run in this process.
        engine: Instead of ``hpo.engine``.
        address: Instead of ``hpo.address``.
        resume: Go on with the last study of this name.
        events: Is told what happens.

    Returns:
        All trials of the study, and the best one.

    Raises:
        ConfigError: The configuration is wrong, has no search, or names a trainer, and there is no ``objective``.
        ConflictError: There is an unfinished study of this name, and ``resume`` was not asked for; or it searches
            something else.
        TrainingError: No trial came to a value.
        StoreUnavailable: The study's own storage can't be used. A tracking store that is down does not matter.
        MissingDependencyError: Optuna is not installed.
    """
    checked = with_study_options(config, num_trials=trials, workers=workers, engine=engine, address=address)
    if objective is None and checked.trainer is not None:
        raise ConfigError(
            f"arrays are trained by the plain loop, and the configuration says trainer: {checked.trainer}",
            hint="ModelManager().run_study(config), or an objective of your own",
        )
    if objective is None:
        from agentnn.training.hpo.fitted_objective import FittedObjective  # brings torch, which others need not have

        objective = FittedObjective(X_train, y_train, X_val, y_val, logger, build_model)
    maker = EngineMaker.of(checked, objective, organizer)
    return search(
        StudyRequest(
            config=checked,
            organizer=organizer,
            make_engine=maker.make,
            is_remote=maker.is_remote,
            resume=resume,
            begin=partial(_begin, checked, logger),
            conclude=partial(record_study, checked),
            events=events,
        )
    )


def _begin(config: Config, logger: StudyLogger | None, _: object) -> None:
    """Log what there is to log when the study's run is new."""
    if logger is None:
        return
    logger.log_config(config)
    if config.tracking.log_environment:
        logger.log_environment_details()


def main() -> None:
    """The script: ``agentnn run hpo`` under another name."""
    run_script("hpo", "hpo_example.yaml", sys.argv[1:])


if __name__ == "__main__":
    main()
