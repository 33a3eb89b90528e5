"""agentnn: neural-network experiments on MLflow, from the shell and from Python.

>>> from agentnn import ModelManager
>>> ModelManager("sqlite:///mlflow.db").get_best_run("sharpe_ratio").run_id  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentnn.errors import AgentNNError, AgentNNWarning, UnreadableWarning
    from agentnn.nn_models.advanced_training import (
        AdvancedOptions,
        AdvancedTrainer,
        HierarchicalNetwork,
        InputConfig,
    )
    from agentnn.nn_models.dynamic_architecture import ArchitectureOptimizer
    from agentnn.nn_models.multi_task_learning import MultiTaskOptions, MultiTaskTrainer
    from agentnn.nn_models.online_learning import OnlineLearner, OnlineOptions
    from agentnn.nn_models.training_infrastructure import DistributedOptions, DistributedTrainer
    from agentnn.query.comparison import Comparison
    from agentnn.query.selection import BestRun, Verdict
    from agentnn.records import Artifact, Experiment, Metric, ModelVersion, RegisteredModel, Run
    from agentnn.sdk.config_manager import ConfigurationManager
    from agentnn.sdk.enhanced_logging import EnhancedMLflowLogger
    from agentnn.sdk.experiment_organizer import ExperimentOrganizer
    from agentnn.sdk.experiment_tracking import ExperimentTracker
    from agentnn.sdk.ml_manager import MLProject, MLRun
    from agentnn.sdk.mlflow_logger import MLflowLogger
    from agentnn.sdk.mlflow_manager import MLflowManager
    from agentnn.sdk.nn_models import ModelManager
    from agentnn.sdk.reporting import ExperimentReporter
    from agentnn.tracking.active_run import ActiveRun, NullRun
    from agentnn.tracking.run_context import current_run
    from agentnn.tracking.starting import start_run

__version__ = "0.1.0"
__all__ = [
    "ActiveRun",
    "AdvancedOptions",
    "AdvancedTrainer",
    "AgentNNError",
    "AgentNNWarning",
    "ArchitectureOptimizer",
    "Artifact",
    "BestRun",
    "Comparison",
    "ConfigurationManager",
    "DistributedOptions",
    "DistributedTrainer",
    "EnhancedMLflowLogger",
    "Experiment",
    "ExperimentOrganizer",
    "ExperimentReporter",
    "ExperimentTracker",
    "HierarchicalNetwork",
    "InputConfig",
    "MLProject",
    "MLRun",
    "MLflowLogger",
    "MLflowManager",
    "Metric",
    "ModelManager",
    "ModelVersion",
    "MultiTaskOptions",
    "MultiTaskTrainer",
    "NullRun",
    "OnlineLearner",
    "OnlineOptions",
    "RegisteredModel",
    "Run",
    "UnreadableWarning",
    "Verdict",
    "__version__",
    "current_run",
    "start_run",
]

_HOMES = {
    "agentnn.errors": ("AgentNNError", "AgentNNWarning", "UnreadableWarning"),
    "agentnn.nn_models.advanced_training": (
        "AdvancedOptions",
        "AdvancedTrainer",
        "HierarchicalNetwork",
        "InputConfig",
    ),
    "agentnn.nn_models.dynamic_architecture": ("ArchitectureOptimizer",),
    "agentnn.nn_models.multi_task_learning": ("MultiTaskOptions", "MultiTaskTrainer"),
    "agentnn.nn_models.online_learning": ("OnlineLearner", "OnlineOptions"),
    "agentnn.nn_models.training_infrastructure": ("DistributedOptions", "DistributedTrainer"),
    "agentnn.query.comparison": ("Comparison",),
    "agentnn.query.selection": ("BestRun", "Verdict"),
    "agentnn.records": ("Artifact", "Experiment", "Metric", "ModelVersion", "RegisteredModel", "Run"),
    "agentnn.sdk.config_manager": ("ConfigurationManager",),
    "agentnn.sdk.enhanced_logging": ("EnhancedMLflowLogger",),
    "agentnn.sdk.experiment_organizer": ("ExperimentOrganizer",),
    "agentnn.sdk.experiment_tracking": ("ExperimentTracker",),
    "agentnn.sdk.ml_manager": ("MLProject", "MLRun"),
    "agentnn.sdk.mlflow_logger": ("MLflowLogger",),
    "agentnn.sdk.mlflow_manager": ("MLflowManager",),
    "agentnn.sdk.nn_models": ("ModelManager",),
    "agentnn.sdk.reporting": ("ExperimentReporter",),
    "agentnn.tracking.active_run": ("ActiveRun", "NullRun"),
    "agentnn.tracking.run_context": ("current_run",),
    "agentnn.tracking.starting": ("start_run",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
