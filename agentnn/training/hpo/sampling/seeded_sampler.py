"""Random numbers that belong to a trial, and not to the process or the moment that it is begun in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

_SEEDS = 2**32
_STEP = 0x9E3779B1
"""An odd number near 2**32 divided by the golden ratio: its multiples lie far apart, and the first 2**32 differ."""


def trial_seed(seed: int, number: int) -> int:
    """The seed of one trial's random numbers: another one for each trial of a study."""
    return (seed + (number + 1) * _STEP) % _SEEDS


class SeededByTrial(BaseSampler):
    """Asks another sampler, which is made anew for each trial with a seed of the trial's own.

    With one sampler for all trials, a study that is resumed would draw the numbers of its first trials again, and so
    would each of several drivers of the same study.

    Args:
        make: Gives a sampler for a seed.
        seed: The study's.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._running: dict[int, BaseSampler] = {}
        self._common: Any = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin a trial."""
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What is chosen together."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Choose it."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Choose one value."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """End a trial."""
        self._of(trial).after_trial(study, trial, state, values)
        del self._running[trial.number]

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._running:
            sampler = self._make(trial_seed(self._seed, trial.number))
            self._keep_common(sampler)
            self._running[trial.number] = sampler
        return self._running[trial.number]

    def _keep_common(self, sampler: BaseSampler) -> None:
        """Hand on which keys all trials have in common: each new sampler would look through all of them again."""
        common = getattr(sampler, "_search_space", None)
        if common is not None:
            self._common = self._common or common
            sampler._search_space = self._common  # type: ignore[attr-defined]
