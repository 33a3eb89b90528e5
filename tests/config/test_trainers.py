"""``trainer:`` and the sections of trainers: what may be said beside which one, before anything heavy is loaded."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from agentnn import ConfigurationManager
from agentnn.config.changes import with_changes
from agentnn.config.json_schema import json_schema
from agentnn.config.loader import load_config, record_of
from agentnn.config.trainers import TRAINERS
from agentnn.errors import ConfigError, UsageError
from agentnn.nn_models.procedures import procedure_of
from agentnn.training.hpo.sampling.space import with_params
from agentnn.training.procedures import PLAIN

if TYPE_CHECKING:
    from pathlib import Path

HOMES = {
    "advanced": "advanced_training",
    "dynamic_architecture": "dynamic_architecture",
    "multi_task": "multi_task_learning",
    "distributed": "training_infrastructure",
    "online": "online_learning",
}


def problems_of(values: Any, overrides: list[str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(values, overrides)
    return tuple(one.removeprefix("dict: ") for one in caught.value.problems)


def test_without_a_trainer_nothing_of_it_is_there():
    config = load_config({"trainer": None, "online": None})
    assert config.trainer is None
    assert set(config) == {"experiment", "model", "data", "training", "backtest", "tracking"}
    assert config.experiment.name is None
    assert record_of(config).hash == record_of(load_config({})).hash
    assert procedure_of(config) is PLAIN


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_has_its_section_and_its_experiment(name: str):
    config = load_config({"trainer": name})
    assert config[name] == TRAINERS[name].section()
    assert set(config) & set(TRAINERS) == {name}
    module = importlib.import_module(f"agentnn.nn_models.{HOMES[name]}")
    assert config.experiment.name == TRAINERS[name].experiment == module.EXPERIMENT
    assert load_config({"trainer": name, "experiment": {"name": "mine"}}).experiment.name == "mine"
    again = load_config(config.to_dict())
    assert again == config
    assert type(procedure_of(config)).__module__.startswith("agentnn.nn_models.")


def test_a_trainer_is_chosen_on_the_command_line_in_any_spelling():
    assert load_config({}, ["--trainer", "Dynamic-Architecture"]).trainer == "dynamic_architecture"
    config = load_config({"trainer": "online"}, ["--online.samples_a_step=5", "--experiment.name", "mine"])
    assert (config.online and config.online.samples_a_step, config.experiment.name) == (5, "mine")
    with pytest.raises(UsageError) as caught:
        load_config({}, ["--trianer", "online"])
    assert caught.value.hint == "did you mean --trainer?"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trainer": "onlin"}, "trainer: expected advanced, dynamic_architecture, multi_task, distributed or online, "
         "not 'onlin' (did you mean online?)"),
        ({"trainer": "onlin", "online": {}}, "trainer: expected advanced, dynamic_architecture, multi_task, "
         "distributed or online, not 'onlin' (did you mean online?)"),
        ({"trainer": 3}, "trainer: expected advanced, dynamic_architecture, multi_task, distributed or online, not 3"),
        ({"online": {"memory": 3}}, "online: belongs to trainer: online, and there is no trainer"),
        ({"trainer": "online", "dynamic_architecture": {}}, "dynamic_architecture: belongs to trainer: "
         "dynamic_architecture, and the trainer is online"),
        ({"trainer": "online", "online": {"widen_by": 2.0}}, "online.widen_by: unknown key (it belongs to trainer: "
         "dynamic_architecture)"),
        ({"trainer": "online", "online": {"adwin_dleta": 0.1}}, "online.adwin_dleta: unknown key (did you mean "
         "adwin_delta?)"),
        ({"trainer": "online", "training": {"detector": "none"}}, "training.detector: unknown key (did you mean "
         "online.detector?)"),
        ({"training": {"detector": "none"}}, "training.detector: unknown key (it belongs to trainer: online)"),
        ({"trainer": "online", "online": {"reactions": ["reset_heads"]}}, "online.reactions[0]: expected "
         "raise_learning_rate, reset_optimizer or reset_head, not 'reset_heads' (did you mean reset_head?)"),
        ({"trainer": "online", "online": {"replayed": 3}}, "online.replayed: expected no more days than the memory "
         "holds, which are 0"),
        ({"trainer": "online", "online": {"warm_up": "stream"}, "training": {"monitor": "val_accuracy"}},
         "training.monitor: expected val_loss, since online.warm_up is stream"),
        ({"trainer": "dynamic_architecture", "model": {"family": "lstm"}},
         "model.family: expected mlp, whose layers can be changed by trainer: dynamic_architecture"),
        ({"trainer": "dynamic_architecture", "training": {"scheduler": "cosine"}},
         "training.scheduler: expected none, since a changing network is trained in short phases"),
        ({"trainer": "dynamic_architecture", "dynamic_architecture": {"moves": []}},
         "dynamic_architecture.moves: expected a list or a mapping that is not empty"),
        ({"trainer": "online", "hpo": {"param_space": {"dynamic_architecture.noise": [0.1, 0.2]}}},
         "hpo.param_space.\"dynamic_architecture.noise\": belongs to trainer: dynamic_architecture"),
        ({"trainer": "online", "hpo": {"param_space": {"online.memori": [1]}}},
         "hpo.param_space.\"online.memori\": unknown key (did you mean online.memory?)"),
        ({"trainer": "online", "hpo": {"param_space": {"online.memory": [-1]}}},
         "hpo.param_space.\"online.memory\"[0]: -1 is no online.memory: expected at least 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_was_meant(values: dict[str, Any], said: str):
    assert problems_of(values) == (said,)


def test_everything_wrong_is_told_at_once_with_its_line(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("trainer: online\nonline:\n  memory: -1\nadvanced:\n  ema_decay: 0.9\nmodel:\n  famly: mlp\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [one.removeprefix(f"{tmp_path}/").removeprefix("c.yaml:") for one in caught.value.problems] == [
        "3: online.memory: expected at least 0, not -1",
        "4: advanced: belongs to trainer: advanced, and the trainer is online",
        "7: model.famly: unknown key (did you mean family?)",
    ]


def test_a_trial_may_have_keys_of_the_trainer():
    config = load_config({"trainer": "online", "hpo": {"param_space": {"online.memory": [10, 20]}}})
    tried = with_params(config, {"online.memory": 20})
    assert (tried.online and tried.online.memory, tried.experiment.name) == (20, "online_learning")
    changed = with_changes(tried, {("training", "checkpoints"): False}, "x")
    assert changed.online == tried.online


def test_the_json_schema_takes_what_the_loader_takes():
    schema = json_schema()
    for name in (*TRAINERS, None, "${env:TRAINER}"):
        jsonschema.validate({"trainer": name}, schema)
    jsonschema.validate({"trainer": "online", "online": {"memory": 5}, "advanced": None}, schema)
    for wrong in ({"trainer": "onlin"}, {"trainer": "online", "online": {"memory": "x"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    assert ConfigurationManager.schema() == schema


def test_no_section_needs_torch():
    script = (
        "import sys\nfrom agentnn.config.loader import load_config\nfrom agentnn.config.trainers import TRAINERS\n"
        "[load_config({'trainer': name}) for name in TRAINERS]\n"
        "print([one for one in ('torch', 'numpy', 'mlflow', 'pandas') if one in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
