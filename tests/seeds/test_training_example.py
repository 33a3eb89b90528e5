"""The guide's "Basic Training with Enhanced Experiment Management", as written but for the prefix of the imports."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trained import files_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

TEMPLATES = Path(__file__).parents[2] / "config_templates"

EXAMPLE = """
import torch
import torch.nn as nn
import torch.optim as optim
from agentnn.sdk.config_manager import ConfigurationManager
from agentnn.sdk.experiment_organizer import ExperimentOrganizer
from agentnn.sdk.enhanced_logging import EnhancedMLflowLogger
from agentnn.training.train_nn_model import train_model # Assuming train_model is in train_nn_model.py

def main():
    config_path = "training/config_templates/basic_training_example.yaml" # Example config path
    config_manager = ConfigurationManager(config_path)
    config = config_manager.get_config()

    organizer = ExperimentOrganizer(config)
    logger = EnhancedMLflowLogger()

    with organizer.start_run(run_name="Basic_NN_Training") as run:
        logger.log_config(config)
        logger.log_environment_details()

        # Dummy data for demonstration
        X_train = torch.randn(100, config.model.input_dim)
        y_train = torch.randn(100, config.model.output_dim)
        X_val = torch.randn(20, config.model.input_dim)
        y_val = torch.randn(20, config.model.output_dim)

        # Define a simple model
        model = nn.Sequential(
            nn.Linear(config.model.input_dim, config.model.hidden_layers[0]),
            nn.ReLU(),
            nn.Linear(config.model.hidden_layers[0], config.model.output_dim)
        )
        optimizer = optim.Adam(model.parameters(), lr=config.training.learning_rate)
        criterion = nn.MSELoss()

        # Train the model (simplified call)
        history = train_model(model, X_train, y_train, X_val, y_val, optimizer, criterion, config.training.epochs, logger)

        logger.log_model_summary(model, "model_architecture.txt")
        logger.log_training_history(history)
        logger.log_metrics({"final_loss": history['val_loss'][-1]})

if __name__ == "__main__":
    main()
"""  # noqa: E501


@pytest.fixture
def _in_a_project(store: MlflowClient, tmp_path: Path) -> None:
    """The templates, where the example has them."""
    shutil.copytree(TEMPLATES, tmp_path / "training" / "config_templates")


@pytest.mark.usefixtures("_in_a_project")
def test_basic_training(store: MlflowClient, uri: str):
    exec(compile(EXAMPLE, "example.py", "exec"), {"__name__": "__main__"})

    experiment = store.get_experiment_by_name("Basic_Training")
    assert experiment is not None
    [run] = store.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("Basic_NN_Training", "FINISHED")
    assert run.data.params["training.learning_rate"] == "0.001"
    assert run.data.params["model.hidden_layers"] == "[64, 32]"
    tags = run.data.tags
    assert (tags["project"], tags["model_type"], tags["task"]) == ("TradingBot", "NeuralNetwork", "Training")
    assert tags["agentnn.config.source"].endswith("training/config_templates/basic_training_example.yaml")

    curve = store.get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in curve] == list(range(1, 21))
    assert run.data.metrics["final_loss"] == curve[-1].value
    assert [point.step for point in store.get_metric_history(run.info.run_id, "train_loss")] == list(range(1, 21))
    assert run.data.metrics["model_parameters"] == 10 * 64 + 64 + 64 + 1
    assert files_of(uri, run.info.run_id) >= {
        "config.yaml", "environment/environment.json", "environment/packages.txt", "model_architecture.txt",
        "training/history.csv", "training/history.png",
    }  # fmt: skip
