"""How hopeless trials are ended early: Optuna's pruners by the names of the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentnn.config.search_arguments import PRUNER_ARGUMENTS
from agentnn.config.search_methods import arguments_of
from agentnn.extras import require

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from agentnn.config.schema import HpoSection


def build_pruner(hpo: HpoSection) -> BasePruner:
    """The pruner of a study.

    Args:
        hpo: Names it and its arguments.

    Raises:
        ConfigError: An argument is unknown or wrong, or there are several objectives: Optuna prunes by one value.
        MissingDependencyError: Optuna is not installed.
    """
    require("optuna", extra="hpo")
    return _make(hpo.pruner, arguments_of(hpo, "pruner").to_dict())


def _make(name: str, arguments: dict[str, Any]) -> BasePruner:
    from optuna import pruners

    if name == "patient":
        wrapped = arguments.pop("wrapped")
        inner = None if wrapped == "none" else _make(wrapped, PRUNER_ARGUMENTS[wrapped]().to_dict())
        return pruners.PatientPruner(inner, **arguments)
    classes: dict[str, type[BasePruner]] = {
        "none": pruners.NopPruner,
        "median": pruners.MedianPruner,
        "percentile": pruners.PercentilePruner,
        "halving": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
        "threshold": pruners.ThresholdPruner,
    }
    return classes[name](**arguments)
