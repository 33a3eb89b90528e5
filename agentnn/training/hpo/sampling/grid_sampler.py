"""Every combination of a grid once, in any order, by any number of workers, also after an interruption."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

from agentnn.training.hpo.sampling.space import encoded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


class GridSampler(BaseSampler):
    """Gives each trial a combination that no other one has.

    Optuna's own knows nothing of conditions, so it would try the same again where a key that differs is left out, and
    it can't be used with ``study.tell``.

    Args:
        param_space: What the combinations are of.
        grid: The combinations.
        seed: Of their order, so that the first few lie all over the grid.
    """

    def __init__(self, param_space: Mapping[str, Any], grid: Sequence[Mapping[str, Any]], seed: int) -> None:
        combinations = [encoded(one, param_space) for one in grid]
        random.Random(seed).shuffle(combinations)
        self._combinations = combinations
        self._place = {_key(one): place for place, one in enumerate(combinations)}
        self._tried: set[int] = set()
        self._seen: set[int] = set()
        self._chosen: dict[int, Mapping[str, Any]] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: see :meth:`sample_independent`."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing: see :meth:`sample_independent`."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value that the trial's combination has.

        Once all were tried, they are tried again.
        """
        if trial.number not in self._chosen:
            self._chosen = {trial.number: self._next(study, trial)}
        return self._chosen[trial.number][param_name]

    def _next(self, study: Study, trial: FrozenTrial) -> Mapping[str, Any]:
        self._look(study)
        fitting = [
            place
            for place, one in enumerate(self._combinations)
            if all(name in one and one[name] == value for name, value in trial.params.items())
        ]
        untried = [place for place in fitting if place not in self._tried]
        place = (untried or fitting or [0])[0]
        self._tried.add(place)
        return self._combinations[place]

    def _look(self, study: Study) -> None:
        """Note what was tried, here or by another driver of the study."""
        # Through the storage, since a study that a pruner divides shows a part of its trials only.
        for trial in study._storage.get_all_trials(study._study_id, deepcopy=False):
            if trial.number in self._seen:
                continue
            place = self._place.get(_key(trial.params))
            if place is not None:
                self._tried.add(place)
            if place is not None or trial.state.is_finished():
                self._seen.add(trial.number)


def _key(combination: Mapping[str, Any]) -> str:
    return json.dumps(combination, sort_keys=True)
