"""Which procedure trains as a configuration says: the plain loop, or that of the trainer that it names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from agentnn.training.procedures import PLAIN

if TYPE_CHECKING:
    from agentnn.config.schema import Config
    from agentnn.training.procedures import Procedure

_HOMES = {
    "advanced": "agentnn.nn_models.advanced.procedure:AdvancedTraining",
    "dynamic_architecture": "agentnn.nn_models.architecture.procedure:DynamicArchitectureTraining",
    "multi_task": "agentnn.nn_models.multi_task.procedure:MultiTaskTraining",
    "distributed": "agentnn.nn_models.distributed.procedure:DistributedTraining",
    "online": "agentnn.nn_models.online.procedure:OnlineTraining",
}


def procedure_of(config: Config) -> Procedure:
    """What trains as the configuration says; only this trainer is imported."""
    if config.trainer is None:
        return PLAIN
    module, _, name = _HOMES[config.trainer].partition(":")
    return cast("Procedure", getattr(import_module(module), name)())
