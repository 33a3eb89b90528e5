"""A model's parameters in groups, each with a learning rate and a weight decay of its own."""

from __future__ import annotations

import inspect
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch

from agentnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from agentnn.training.loop.optimisation import OptimizerChoice

_FULL_AXES = 2


def parameter_groups(
    model: nn.Module,
    chosen: OptimizerChoice,
    *,
    only_weights: bool = True,
    multipliers: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """What an optimizer takes in the place of a model's parameters; those that are not trained are in no group.

    Args:
        model: Whose parameters.
        chosen: Names the optimizer, its learning rate and its weight decay.
        only_weights: Whether weight decay leaves alone what has fewer than two axes: biases, and the scales of
            normalisation.
        multipliers: Factors of the learning rate, by a pattern of names such as ``body.*``; the first pattern counts
            that fits. The group with the full rate, if there is one, comes first.

    Returns:
        By falling order of the factor 1, then the others as they are written: ``params``, ``name``, ``lr``, and
        ``weight_decay`` where it is not the optimizer's.

    Raises:
        UsageError: A pattern fits no parameter's name, or a factor is not above 0.
    """
    factors = dict(multipliers or {})
    for pattern, factor in factors.items():
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not factor > 0:
            raise UsageError(f"the learning rate of {pattern!r} can't be multiplied by {factor!r}", hint="above 0")
    named = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    unused = [one for one in factors if not any(fnmatchcase(name, one) for name, _ in named)]
    if unused:
        names = ", ".join(name for name, _ in named[:8])
        raise UsageError(f"no parameter's name fits {unused[0]!r}", hint=f"there are {names}, …")
    splits = only_weights and _decay_of(chosen) > 0
    found: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for pattern in ("", *factors):
        for is_bare in (False, True):
            found[pattern, is_bare] = []
    for name, parameter in named:
        pattern = next((one for one in factors if fnmatchcase(name, one)), "")
        found[pattern, splits and parameter.ndim < _FULL_AXES].append(parameter)
    return [
        _group(pattern, is_bare, parameters, chosen.learning_rate * factors.get(pattern, 1.0))
        for (pattern, is_bare), parameters in found.items()
        if parameters
    ]


def _group(pattern: str, is_bare: bool, parameters: list[nn.Parameter], rate: float) -> dict[str, Any]:  # noqa: FBT001
    name = (pattern or "all others") + (", without decay" if is_bare else "")
    decay = {"weight_decay": 0.0} if is_bare else {}
    return {"params": parameters, "name": name, "lr": rate, **decay}


def _decay_of(chosen: OptimizerChoice) -> float:
    """The weight decay that the optimizer will have; 0 for one that has none."""
    kind = getattr(torch.optim, chosen.optimizer)
    given = chosen.weight_decay
    if given is None:
        known = inspect.signature(kind).parameters.get("weight_decay")
        given = 0.0 if known is None else known.default
    return float(given)
