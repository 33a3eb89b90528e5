"""The examples of the guide to experiment management, as far as they are about configurations."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from agentnn.sdk.config_manager import ConfigurationManager

TEMPLATES = Path(__file__).parents[2] / "config_templates"
DOCUMENTED = """\
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
    """The templates, where the examples have them."""
    shutil.copytree(TEMPLATES, tmp_path / "training" / "config_templates")
    monkeypatch.chdir(tmp_path)


def test_basic_training():
    import torch
    from torch import nn, optim

    config_path = "training/config_templates/basic_training_example.yaml"  # Example config path
    config_manager = ConfigurationManager(config_path)
    config = config_manager.get_config()

    X_train = torch.randn(100, config.model.input_dim)
    y_train = torch.randn(100, config.model.output_dim)

    # Define a simple model
    model = nn.Sequential(
        nn.Linear(config.model.input_dim, config.model.hidden_layers[0]),
        nn.ReLU(),
        nn.Linear(config.model.hidden_layers[0], config.model.output_dim),
    )
    optimizer = optim.Adam(model.parameters(), lr=config.training.learning_rate)
    criterion = nn.MSELoss()

    before = criterion(model(X_train), y_train).item()
    for _ in range(config.training.epochs):
        optimizer.zero_grad()
        loss = criterion(model(X_train), y_train)
        loss.backward()
        optimizer.step()
    assert loss.item() < before
    assert isinstance(optimizer, getattr(optim, config.training.optimizer))


def test_hpo():
    config_path = "training/config_templates/hpo_example.yaml"  # Example HPO config path
    config_manager = ConfigurationManager(config_path)
    config = config_manager.get_config()
    assert config.hpo is not None
    assert config.hpo.param_space == {"learning_rate": [0.0001, 0.001, 0.01], "batch_size": [16, 32, 64]}
    assert config.hpo.num_trials == 10


def test_the_documented_file_is_read_as_it_stands():
    Path("documented.yaml").write_text(DOCUMENTED)
    config = ConfigurationManager("documented.yaml").get_config()
    for section, keys in yaml.safe_load(DOCUMENTED).items():
        for key, value in keys.items():
            assert config[section][key] == value, f"{section}.{key}"


def test_the_template_is_the_documented_file():
    template = yaml.safe_load((TEMPLATES / "hpo_example.yaml").read_text())
    for section, keys in yaml.safe_load(DOCUMENTED).items():
        assert {key: template[section][key] for key in keys} == keys


def test_an_override_of_the_command_line():
    config_path = "training/config_templates/basic_training_example.yaml"
    manager = ConfigurationManager(config_path, overrides=["--model.learning_rate", "0.005"])
    assert manager.get_config().training.learning_rate == 0.005


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_template_is_commented_and_can_be_built_on(template: Path):
    assert template.read_text().startswith("# ")
    Path("mine.yaml").write_text(f"extends: training/config_templates/{template.name}\ntraining: {{epochs: 3}}\n")
    assert ConfigurationManager("mine.yaml").get_config().training.epochs == 3
