"""Beginning a study in a storage, or going on with one: which study a name means, and what may not change in it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal

from agentnn.config.history import differences, leaves
from agentnn.config.loader import record_of
from agentnn.config.objectives import objectives_of
from agentnn.config.trainers import TRAINERS
from agentnn.errors import ConflictError
from agentnn.tracking.capture.guard import warn
from agentnn.training.hpo.ledger import StudyLedger
from agentnn.training.hpo.sampling.pruners import build_pruner
from agentnn.training.hpo.sampling.samplers import build_sampler

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna
    from optuna.storages import BaseStorage

    from agentnn.config.schema import Config, HpoSection

_PLAN, _CONFIG = "agentnn:plan", "agentnn:config"
_SHARED = ("model", "training", "data", "backtest", "trainer", *TRAINERS)
_OF_NO_ACCOUNT = ("training.progress", "training.num_threads", "training.checkpoints", "training.checkpoint_dir")
_MOST_NAMED = 3

_PLAN_S = 5.0
"""How long a driver may take to say what the study is that it has made."""

_DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}


def open_study(storage: BaseStorage, name: str, config: Config, *, resume: bool) -> StudyLedger:
    """Begin a study, or go on with the last one of its name.

    A study that came to its end is left as it is: without ``resume`` another one begins beside it, ``NAME (2)``.

    Args:
        storage: Where it is kept.
        name: Its name.
        config: What is searched, how, and all that the trials have in common.
        resume: Go on with the last study of this name, also with one that other drivers work at; where there is none,
            begin it.

    Raises:
        ConflictError: There is an unfinished one, and ``resume`` was not asked for; or it searches something else.
        ConfigError, MissingDependencyError: See ``build_sampler`` and ``build_pruner``.

    Warns:
        AgentNNWarning: It goes on, and its trials have something else in common than before.
    """
    import optuna
    from optuna.exceptions import DuplicatedStudyError

    hpo = config.hpo
    assert hpo is not None
    seed = config.training.seed if hpo.seed is None else hpo.seed
    sampler, pruner = build_sampler(hpo, seed), build_pruner(hpo)
    directions = [_DIRECTIONS[one.mode] for one in objectives_of(hpo)]
    while True:
        found, free = _names(storage, name)
        if found is not None:
            study = optuna.load_study(study_name=found, storage=storage, sampler=sampler, pruner=pruner)
            ledger = StudyLedger(study, storage, hpo, is_new=False)
            if resume:
                _refuse_another_search(study, hpo)
                _warn_of_changes(study, config)
                return ledger
            if not ledger.is_finished:
                raise _unfinished(name, ledger)
        try:
            study = optuna.create_study(
                study_name=free, storage=storage, sampler=sampler, pruner=pruner, directions=directions
            )
        except DuplicatedStudyError:  # another driver was faster
            continue
        study.set_user_attr(_CONFIG, _shared(config))
        study.set_user_attr(_PLAN, _plan(hpo))
        return StudyLedger(study, storage, hpo, is_new=True)


def _plan(hpo: HpoSection) -> dict[str, Any]:
    """What may not change from one trial to the next, as the storage gives it back."""
    plan = {"param_space": hpo.to_dict()["param_space"], "objectives": objectives_of(hpo)}
    found: dict[str, Any] = json.loads(json.dumps(plan, default=str))
    return found


def _shared(config: Config) -> dict[str, Any]:
    """What the trials have in common, without secrets."""
    values = record_of(config).values
    found: dict[str, Any] = json.loads(
        json.dumps({name: values[name] for name in _SHARED if name in values}, default=str)
    )
    return found


def _names(storage: BaseStorage, name: str) -> tuple[str | None, str]:
    """The last study of a name, and the name for one after it."""
    found, free, number = None, name, 1
    while True:
        try:
            storage.get_study_id_from_name(free)
        except KeyError:
            return found, free
        number += 1
        found, free = free, f"{name} ({number})"


def _unfinished(name: str, ledger: StudyLedger) -> ConflictError:
    others = ", ".join(f"process {one.pid} on {one.host}" for one in ledger.drivers.others())
    return ConflictError(
        f"the study {name!r} is not finished: {ledger.done()} trials are done"
        + (f", and {others} is at work" if others else ""),
        hint="to go on with it: --resume (resume=True); to begin another one: --hpo.study_name NAME",
    )


def _refuse_another_search(study: optuna.Study, hpo: HpoSection) -> None:
    """Refuse to mix trials of different searches.

    Raises:
        ConflictError: The search space or the objectives are not those that the study began with.
    """
    before, plan = _plan_of(study), _plan(hpo)
    if before == plan:
        return
    if before is None:
        raise ConflictError(
            f"the study {study.study_name!r} is not one of agentnn's", hint="another name: --hpo.study_name NAME"
        )
    spaces = before["param_space"], plan["param_space"]
    changed = [
        f"{name} {_told(spaces[0].get(name))} before, {_told(spaces[1].get(name))} now"
        for name in {**spaces[0], **spaces[1]}
        if spaces[0].get(name) != spaces[1].get(name)
    ]
    if before["objectives"] != plan["objectives"]:
        changed.append(f"objectives {_told(before['objectives'])} before, {_told(plan['objectives'])} now")
    raise ConflictError(
        f"the study {study.study_name!r} searches something else: {'; '.join(changed)}",
        hint="go on with what it began with, or give the new search a name: --hpo.study_name NAME",
    )


def _warn_of_changes(study: optuna.Study, config: Config) -> None:
    before, now = dict(leaves(study.user_attrs.get(_CONFIG, {}))), dict(leaves(_shared(config)))
    changed = [
        f"{one.key} was {_told(one.left)} and is {_told(one.right)}"
        for one in differences(before, now)
        if one.key not in _OF_NO_ACCOUNT
    ]
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        warn(f"the trials of this study are no longer alike: {'; '.join(changed[:_MOST_NAMED])}{more}")


def _plan_of(study: optuna.Study) -> Mapping[str, Any] | None:
    """What a study began with, which its first driver writes just after it has made it."""
    deadline = time.monotonic() + _PLAN_S
    while (plan := study.user_attrs.get(_PLAN)) is None and not study.trials and time.monotonic() < deadline:
        time.sleep(0.05)
    return plan


def _told(value: Any) -> str:
    return "not there" if value is None else json.dumps(value)
