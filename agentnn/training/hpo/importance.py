"""Which hyperparameters decided how good a trial was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentnn.training.hpo.sampling.optuna_quiet import quiet_optuna

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 15
"""Of fewer complete trials nothing is said: of 15 with one key that decides, it comes first in nine searches of ten."""

_LEAST_GOOD = 5
_GOOD_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class HyperparameterImportance:
    """All hyperparameters of a study.

    Measured by (conditional) PED-ANOVA (Watanabe et al., IJCAI 2023): how far the values of the best trials are from
    those of all of them. It takes no random numbers, and knows keys that are not part of every trial.

    Attributes:
        metric: What the best trials are best in; several names where there are several objectives, and then the best
            ones are those that no other one is better than in everything.
        shares: By name, the most important one first; they add up to 1. Empty where nothing can be said.
        trials: Complete trials that were looked at.
        best: How many of them count as the best ones: a tenth, but at least 5.
        reason: Why nothing can be said; empty where something can.
    """

    metric: str
    shares: dict[str, float]
    trials: int
    best: int = 0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "method": "ped_anova",
            "metric": self.metric,
            "trials": self.trials,
            "best": self.best,
            "params": [{"param": name, "importance": share} for name, share in self.shares.items()],
            "reason": self.reason,
        }


def hyperparameter_importance(study: Study, metric: str) -> HyperparameterImportance:
    """Measure it; the study does not change.

    Args:
        study: Any number of trials, with one objective or several.
        metric: What its objective is called.

    Returns:
        Without ``shares``, but with the ``reason``, where there are too few trials, or none better than another.
    """
    trials = _complete(study)
    if len(trials) < LEAST_TRIALS:
        text = f"{len(trials)} complete trials are too few, at least {LEAST_TRIALS} are needed"
        return HyperparameterImportance(metric, {}, len(trials), reason=text)
    if len({tuple(one.values) for one in trials}) == 1:
        return HyperparameterImportance(metric, {}, len(trials), reason=f"all trials have the same {metric}")
    share = max(_GOOD_SHARE, _LEAST_GOOD / len(trials))
    raw = _raw(study, share)
    total = math.fsum(raw.values())
    if not total > 0:
        text = "the best trials have the same values as all of them"
        return HyperparameterImportance(metric, {}, len(trials), reason=text)
    shares = {name: value / total for name, value in sorted(raw.items(), key=lambda item: (-item[1], item[0]))}
    return HyperparameterImportance(metric, shares, len(trials), math.ceil(share * len(trials)))


def _complete(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [one for one in found if all(map(math.isfinite, one.values))]


def _raw(study: Study, share: float) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with quiet_optuna():
        evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
        return get_param_importances(study, evaluator=evaluator, normalize=False)
