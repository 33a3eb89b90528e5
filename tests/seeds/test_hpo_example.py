"""The example of hyperparameter optimization of the guide to experiment management, as it is written there."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("undrawn")

TEMPLATES = Path(__file__).parents[2] / "config_templates"

EXAMPLE = """\
import torch
import torch.nn as nn
import torch.optim as optim
from core.experiment_management.config_manager import ConfigurationManager
from core.experiment_management.experiment_organizer import ExperimentOrganizer
from core.experiment_management.enhanced_logging import EnhancedMLflowLogger
from training.run_hpo import run_hpo_study # Assuming run_hpo_study is in run_hpo.py

def main():
    config_path = "training/config_templates/hpo_example.yaml" # Example HPO config path
    config_manager = ConfigurationManager(config_path)
    config = config_manager.get_config()

    organizer = ExperimentOrganizer(config)
    logger = EnhancedMLflowLogger()

    # Dummy data for demonstration
    X_train = torch.randn(100, config.model.input_dim)
    y_train = torch.randn(100, config.model.output_dim)
    X_val = torch.randn(20, config.model.input_dim)
    y_val = torch.randn(20, config.model.output_dim)

    # Run HPO study
    run_hpo_study(config, X_train, y_train, X_val, y_val, organizer, logger)

if __name__ == "__main__":
    main()
"""

TEMPLATE = """\
# training/config_templates/hpo_example.yaml
experiment:
  name: "HPO_Study_NN_Model"
  tags:
    project: "TradingBot"
    model_type: "NeuralNetwork"
    task: "HyperparameterOptimization"
model:
  input_dim: 10
  hidden_layers: [64, 32]
  output_dim: 1
  activation: "relu"
training:
  epochs: 50
  batch_size: 32
  learning_rate: 0.001
  optimizer: "Adam"
hpo:
  param_space:
    learning_rate: [0.0001, 0.001, 0.01]
    batch_size: [16, 32, 64]
  num_trials: 10
"""


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    shutil.copytree(TEMPLATES, tmp_path / "training" / "config_templates")
    monkeypatch.chdir(tmp_path)


def run_example() -> None:
    renamed = EXAMPLE.replace("core.experiment_management.", "agentnn.sdk.").replace(
        "from training.", "from agentnn.training."
    )
    exec(compile(renamed, "example.py", "exec"), {"__name__": "__main__"})


@pytest.mark.slow
@pytest.mark.parametrize("documented", [False, True], ids=["template", "documented"])
def test_hpo_with_enhanced_experiment_management(documented: bool, store: MlflowClient, tmp_path: Path):
    if documented:  # the file as the guide prints it, without a line that is ours
        Path("training/config_templates/hpo_example.yaml").write_text(TEMPLATE)
    run_example()
    experiment = store.get_experiment_by_name("HPO_Study_NN_Model")
    assert experiment is not None
    runs = store.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if run.data.tags["agentnn.role"] == "study"]
    trials = {int(run.data.tags["agentnn.trial.number"]): run for run in runs if run is not parent}

    assert sorted(trials) == list(range(10))
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert (run.data.tags["project"], run.data.tags["model_type"]) == ("TradingBot", "NeuralNetwork")
        assert run.data.tags["task"] == "HyperparameterOptimization"
    for run in trials.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["agentnn.trial.state"] == "complete"
        assert set(run.data.params) == {"learning_rate", "batch_size"}
        assert float(run.data.params["learning_rate"]) in (0.0001, 0.001, 0.01)
        assert int(run.data.params["batch_size"]) in (16, 32, 64)
        curve = [point for point in store.get_metric_history(run.info.run_id, "val_loss") if point.step > 0]
        assert {point.step for point in curve} == set(range(1, 51))
        assert run.data.metrics["val_loss"] == min(point.value for point in curve)
        assert "config.yaml" in {one.path for one in store.list_artifacts(run.info.run_id)}

    # Of two trials with the same params and so the same value, the earlier one.
    _, best = min(trials.items(), key=lambda one: (one[1].data.metrics["val_loss"], one[0]))
    assert parent.data.tags["agentnn.study.best_run_id"] == best.info.run_id
    assert trials[int(parent.data.tags["agentnn.study.best_trial"])] is best
    found = json.loads(parent.data.tags["agentnn.study.best_params"])
    assert {name: str(value) for name, value in found.items()} == best.data.params
    assert parent.data.metrics["best_val_loss"] == best.data.metrics["val_loss"]
    assert (parent.data.metrics["trials"], parent.data.metrics["trials_complete"]) == (10, 10)
    assert parent.data.params["training.epochs"] == "50"

    table = Path(store.download_artifacts(parent.info.run_id, "study/trials.csv", str(tmp_path))).read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["run_id"] for row in rows] == [trials[number].info.run_id for number in range(10)]
    assert [float(row["val_loss"]) for row in rows] == [trials[number].data.metrics["val_loss"] for number in range(10)]
