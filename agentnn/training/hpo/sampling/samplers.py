"""How the next values are chosen: Optuna's samplers by the names of the schema."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from agentnn.config.search_methods import arguments_of
from agentnn.errors import AgentNNWarning
from agentnn.extras import require
from agentnn.training.hpo.sampling.dimensions import Choices, dimensions_of
from agentnn.training.hpo.sampling.space import grid_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from agentnn.config.schema import HpoSection


def build_sampler(hpo: HpoSection, seed: int) -> BaseSampler:
    """The sampler of a study.

    A study is the same each time for the same seed, also when it was interrupted and resumed. Where the values don't
    depend on those of earlier trials (random, grid), this is so however many workers there are.

    What a sampler can't do as well as another one is warned of: keys that are drawn at random instead.

    Args:
        hpo: Names it, its arguments, the search space and the number of workers.
        seed: Of everything that is random in it; ``hpo.seed`` is not looked at.

    Raises:
        ConfigError: An argument is unknown or wrong, a grid has no end, or the sampler can't do such a search.
        MissingDependencyError: Optuna, or cmaes where that was asked for, is not installed.
    """
    require("optuna", extra="hpo")
    from agentnn.training.hpo.sampling.grid_sampler import GridSampler
    from agentnn.training.hpo.sampling.seeded_sampler import SeededByTrial

    arguments = arguments_of(hpo, "sampler").to_dict()
    if hpo.sampler == "grid":
        return GridSampler(hpo.param_space, grid_of(hpo.param_space), seed)
    if hpo.sampler == "cmaes":
        require("cmaes", extra="hpo")
    if hpo.sampler == "tpe" and arguments["constant_liar"] is None:
        arguments["constant_liar"] = hpo.workers > 1
    _warn_of_random_keys(hpo)
    return SeededByTrial(partial(_make, hpo.sampler, arguments, seed), seed)


def most_trials(hpo: HpoSection) -> int:
    """How many trials a study has: ``hpo.num_trials``, but of a grid no more than there are combinations.

    A grid is tried as a whole where the configuration does not say ``hpo.num_trials`` itself.

    Raises:
        ConfigError: A grid has no end.
    """
    if hpo.sampler != "grid":
        return hpo.num_trials
    count = len(grid_of(hpo.param_space))
    return min(count, hpo.num_trials) if "num_trials" in hpo.model_fields_set else count


def _make(name: str, arguments: dict[str, Any], study_seed: int, seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler, QMCSampler, RandomSampler, TPESampler

    if name == "tpe":
        return TPESampler(seed=seed, **arguments)
    if name == "cmaes":
        return CmaEsSampler(seed=seed, warn_independent_sampling=False, **arguments)
    if name == "qmc":
        at_random = RandomSampler(seed=seed)
        one_sequence: dict[str, Any] = {
            "seed": study_seed,
            "independent_sampler": at_random,
            "warn_independent_sampling": False,
        }
        return QMCSampler(**one_sequence, **arguments)
    return RandomSampler(seed=seed)


def _warn_of_random_keys(hpo: HpoSection) -> None:
    dimensions = dimensions_of(hpo.param_space)
    conditional = {name for name, one in dimensions.items() if one.when}
    lists = {name for name, one in dimensions.items() if isinstance(one.values, Choices)}
    weak, why = {
        "cmaes": (conditional | lists, "searches ranges without conditions"),
        "qmc": (conditional, "searches keys without conditions"),
    }.get(hpo.sampler, (set(), ""))
    named = [name for name in hpo.param_space if name in weak]
    if named:
        text = f"{hpo.sampler} {why}; drawn at random: {', '.join(named)}"
        warnings.warn(text, AgentNNWarning, stacklevel=3)
