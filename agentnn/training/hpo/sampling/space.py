"""What a trial tries: values from the search space, the configuration that they make, and all of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.config.changes import with_changes
from agentnn.config.search_space import target_of
from agentnn.errors import ConfigError
from agentnn.training.hpo.sampling.dimensions import dimensions_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna import Trial

    from agentnn.config.schema import Config

MOST_COMBINATIONS = 100_000
"""A grid that is larger than this is refused."""


def suggest(trial: Trial, param_space: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the values of a trial.

    Args:
        trial: What Optuna's ``study.ask()`` gave.
        param_space: ``hpo.param_space``: by key, a list of values, or a range or choices with conditions.

    Returns:
        The values by key, as the configuration writes them; without the keys whose conditions don't hold.

    Raises:
        ConfigError: Conditions wait for each other.
    """
    params: dict[str, Any] = {}
    for name, dimension in dimensions_of(param_space).items():
        if dimension.is_wanted(params):
            params[name] = dimension.values.ask(trial)
    return {name: params[name] for name in param_space if name in params}


def decoded(stored: Mapping[str, Any], param_space: Mapping[str, Any]) -> dict[str, Any]:
    """The values that Optuna's ``trial.params`` stand for; what is not in the space is left out."""
    dimensions = dimensions_of(param_space)
    return {name: dimensions[name].values.decoded(stored[name]) for name in param_space if name in stored}


def encoded(params: Mapping[str, Any], param_space: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Optuna keeps them, for ``study.enqueue_trial``."""
    dimensions = dimensions_of(param_space)
    return {name: dimensions[name].values.encoded(value) for name, value in params.items()}


def with_params(config: Config, params: Mapping[str, Any]) -> Config:
    """The configuration of one trial.

    Args:
        config: The study's.
        params: What :func:`suggest` gave.

    Raises:
        ConfigError: The values don't fit each other: a width that the attention heads can't share.
    """
    changes = {}
    for name, value in params.items():
        target = target_of(name)
        if target is None:
            raise ConfigError(f"hpo.param_space.{name}: unknown key", hint="agentnn experiment schema shows every key")
        changes[target] = value
    return with_changes(config, changes, "the trial's configuration")


def grid_of(param_space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of values, each one once: a key whose conditions don't hold is in none.

    Raises:
        ConfigError: A range has no step, conditions wait for each other, or there are more than 100,000 combinations.
    """
    known: list[dict[str, Any]] = [{}]
    for name, dimension in dimensions_of(param_space).items():
        without = [one for one in known if not dimension.is_wanted(one)]
        wanting = [one for one in known if dimension.is_wanted(one)]
        if not wanting:
            continue
        count = len(without) + len(wanting) * dimension.values.count()
        if count > MOST_COMBINATIONS:
            raise ConfigError(
                f"the grid of {', '.join(param_space)} has {count:,} combinations or more",
                hint=f"at most {MOST_COMBINATIONS:,}: greater steps, shorter lists, or another sampler",
            )
        known = without + [{**one, name: value} for one in wanting for value in dimension.values.all_values()]
    return [{name: one[name] for name in param_space if name in one} for one in known]
