"""A study as one call: its storage is opened, it is begun or gone on with, and driven to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.conventions import sounds_like_less_is_better
from agentnn.errors import UsageError
from agentnn.tracking.capture.guard import warn
from agentnn.training.hpo.driver import StudyDriver
from agentnn.training.hpo.opening import open_study
from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna
from agentnn.training.hpo.storage import open_storage, place_of, storage_errors

if TYPE_CHECKING:
    from agentnn.config.schema import HpoSection, Objective
    from agentnn.training.hpo.request import StudyRequest
    from agentnn.training.hpo.results import StudyResult


def search(request: StudyRequest) -> StudyResult:
    """Run a study, or go on with it.

    Raises:
        ConflictError: There is an unfinished study of this name, or it searches something else.
        TrainingError: No trial came to a value.
        StoreUnavailable: The study's storage can't be used.
        UsageError: What an objective gives is no value of the study's metric.
    """
    hpo = request.config.hpo
    if hpo is None:
        raise UsageError("there is nothing to search: the configuration has no section hpo", hint="hpo.param_space")
    name = hpo.study_name or request.organizer.experiment_name or "study"
    settings = request.organizer.settings
    place = place_of(hpo.storage, name, settings)
    _warn_of_unsaid_modes(hpo)
    storage = open_storage(hpo.storage, name, settings)
    with quiet_optuna(), storage_errors(place):
        ledger = open_study(storage, name, request.config, resume=request.resume)
        try:
            return StudyDriver(request, ledger, place).run()
        except BaseException as error:
            with suppress(Exception):  # the storage may be what failed, and the first error is the one to be seen
                if not ledger.forget_if_empty() and isinstance(error, (KeyboardInterrupt, SystemExit)):
                    warn(f"{ledger.done()} of {ledger.limit} trials of {ledger.name!r} are done; --resume goes on")
            raise


def _warn_of_unsaid_modes(hpo: HpoSection) -> None:
    """Warn where the smallest value of something counts as best that nobody would call a loss.

    Warns:
        AgentNNWarning: The configuration does not say which values are best, and the metric's name does not either.
    """
    several: list[Objective] | list[HpoSection] = hpo.objectives or [hpo]
    for said in several:
        if "mode" not in said.model_fields_set and not sounds_like_less_is_better(said.metric):
            key = "hpo.objectives: mode" if hpo.objectives else "hpo.mode"
            warn(f"the smallest {said.metric} counts as the best; say {key}: min, or max")
