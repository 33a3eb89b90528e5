"""The schema itself: its defaults, its names, and what editors are told of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentnn.config.json_schema import json_schema
from agentnn.config.loader import load_config
from agentnn.config.schema import SECTIONS, Activation, Config, Optimizer
from agentnn.config.search_space import target_of
from agentnn.training import networks
from agentnn.training.data import prices
from agentnn.training.loop.options import TrainingOptions


def names_of(choice: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = choice.__metadata__[0].names
    return names


def test_the_defaults_are_valid_and_are_those_of_the_training_loop():
    config = load_config({})
    assert load_config(config.to_dict()) == config
    said, own = TrainingOptions.from_section(config.training), TrainingOptions()
    for name in ("batch_size", "shuffle", "accumulate_steps", "clip_norm", "precision", "monitor", "monitor_mode",
                 "min_delta", "patience", "progress"):  # fmt: skip
        assert getattr(said, name) == getattr(own, name)


def test_every_family_of_the_networks_is_known():
    for family in networks.FAMILIES:
        assert load_config({"model": {"family": family.upper()}}).model.family == family


def test_optimizers_and_activations_are_called_as_in_torch():
    import torch

    assert all(issubclass(getattr(torch.optim, name), torch.optim.Optimizer) for name in names_of(Optimizer))
    assert all(callable(getattr(torch.nn.functional, name)) for name in names_of(Activation))


@pytest.mark.parametrize(
    ("section", "key", "written", "value"),
    [
        ("training", "optimizer", "Adam", "Adam"),
        ("training", "optimizer", "adam", "Adam"),
        ("training", "optimizer", "rms_prop", "RMSprop"),
        ("training", "loss", "Cross-Entropy", "cross_entropy"),
        ("training", "scheduler", "OneCycle", "onecycle"),
        ("model", "activation", "ReLU", "relu"),
        ("model", "activation", "LeakyReLU", "leaky_relu"),
        ("model", "family", "LSTM", "lstm"),
    ],
)
def test_a_name_may_be_written_in_any_case(section: str, key: str, written: str, value: str):
    config = load_config({section: {key: written}})
    assert config[section][key] == value


def test_a_number_is_kept_as_what_the_key_is():
    training = load_config({"training": {"learning_rate": 1}}).training
    assert (training.learning_rate, type(training.learning_rate)) == (1.0, float)


def test_what_a_search_names():
    assert target_of("learning_rate") == target_of("model.learning_rate") == ("training", "learning_rate")
    assert target_of("dropout") == ("model", "dropout")
    assert target_of("window") == ("data", "window")
    assert target_of("data.split.train") == ("data", "split", "train")
    assert target_of("model.params.a.b") == ("model", "params", "a", "b")
    for wrong in ("nothing", "tracking.uri", "training", "data.split.trian", "training.epochs.x", "..", ""):
        assert target_of(wrong) is None


def test_the_features_of_the_templates_exist():
    folder = Path(__file__).parents[2] / "config_templates"
    for template in folder.glob("*.yaml"):
        assert set(load_config(template).data.features or ()) <= set(prices.FEATURES)


def test_every_key_is_described():
    definitions = json_schema()["$defs"]
    sections = {name: one for name, one in definitions.items() if name != "FromEnvironment"}
    assert len(sections) == len(SECTIONS) + 4  # split, a range of a search, an objective, a task
    for name, section in sections.items():
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"


def test_reading_needs_no_network_library(tmp_path: Any):
    code = (
        "import sys; from agentnn.sdk.config_manager import ConfigurationManager; ConfigurationManager({});"
        "print(sorted({'mlflow', 'numpy', 'pandas', 'torch', 'sqlalchemy', 'requests'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout.strip() == "[]"


# -- JSON Schema -----------------------------------------------------------------------------------------

VALID: list[dict[str, Any]] = [
    {},
    {"training": None, "hpo": None},
    {"extends": "base.yaml"},
    {"extends": ["a.yaml", "b.yaml"]},
    {"training": {"optimizer": "Adam"}},
    {"training": {"optimizer": "rms_prop", "device": "${env:DEVICE:-cpu}", "patience": None}},
    {"model": {"learning_rate": 0.005, "activation": "LeakyReLU", "hidden_layers": [64, 32]}},
    {"experiment": {"tags": {"a": 1, "b": "x", "c": True}}},
    {"hpo": {"param_space": {"learning_rate": [0.1], "dropout": {"low": 0, "high": 0.5}}}},
]
INVALID: list[dict[str, Any]] = [
    {"trainig": {}},
    {"training": {"optimizer": "adm"}},
    {"training": {"epochs": 0}},
    {"training": {"epochs": "five"}},
    {"training": {"learning_rat": 1}},
    {"model": {"hidden_layers": []}},
    {"experiment": {"tags": {"a": [1]}}},
    {"hpo": {}},
    {"hpo": {"param_space": {"dropout": {"min": 0}}}},
    {"extends": 3},
]


def test_the_json_schema_says_yes_and_no_as_the_loader_does():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for document in [*VALID, {"training": {"epochs": "${env:EPOCHS}"}}]:  # without quotes a number, in a file
        assert list(validator.iter_errors(document)) == [], document
    for document in INVALID:
        assert list(validator.iter_errors(document)), document
    assert list(validator.iter_errors(Config().to_dict())) == []


@pytest.mark.parametrize("document", [one for one in VALID if "extends" not in one])
def test_the_loader_takes_what_the_json_schema_allows(document: dict[str, Any]):
    loaded = load_config(document, environ={})
    assert load_config(loaded.to_dict(), environ={}).to_dict() == loaded.to_dict()


@pytest.mark.parametrize("document", INVALID)
def test_the_loader_refuses_what_the_json_schema_refuses(document: dict[str, Any]):
    with pytest.raises(ValueError, match="problem"):
        load_config(document)


def test_the_patterns_of_names_are_those_of_editors():
    found = json_schema()["$defs"]["TrainingSection"]["properties"]["optimizer"]["anyOf"]
    pattern = next(one["pattern"] for one in found if one.get("pattern", "").startswith("^"))
    assert re.search(pattern, "ADAM")
    assert re.search(pattern, "adam-w")
    assert not re.search(pattern, "adm")
