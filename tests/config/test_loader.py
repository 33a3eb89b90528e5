"""From files, overrides and the environment to one configuration, or to everything that is wrong with it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from agentnn.config.loader import load_config, record_of
from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a file into the working directory and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "file.yaml") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    return write


def problems_of(*arguments: Any, **more: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(*arguments, **more)
    assert caught.value.exit_code == 2
    assert all(one in str(caught.value) for one in caught.value.problems)
    return caught.value.problems


# -- reading ---------------------------------------------------------------------------------------------


def test_attributes_items_and_plain_dicts_show_the_same(write: Any):
    config = load_config(write("model: {input_dim: 10, params: {heads: {n: 2}}}\nexperiment: {tags: {project: X}}"))
    assert config.model.input_dim == config["model"]["input_dim"] == 10
    assert config.model.params.heads.n == config["model"]["params"]["heads"]["n"] == 2
    assert config.experiment.tags["project"] == "X"
    assert "input_dim" in config.model
    assert "nothing" not in config.model
    assert "model" in config
    assert list(config) == ["experiment", "model", "data", "training", "backtest", "tracking"]
    assert (
        dict(config.data.split) == config.to_dict()["data"]["split"] == {"train": 0.6, "validation": 0.2, "test": 0.2}
    )
    assert config.model.get("nothing", 3) == 3
    assert isinstance(config, Mapping)
    with pytest.raises(KeyError, match="nothing"):
        config["nothing"]
    with pytest.raises(AttributeError):
        config.nothing  # noqa: B018
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


def test_a_configuration_can_not_be_changed_but_its_dict_can(write: Any):
    config = load_config(write("training: {epochs: 3}"))
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 4
    config.to_dict()["model"]["hidden_layers"].append(1)
    assert config.model.hidden_layers == [32, 32]


def test_it_goes_to_another_process_with_its_record(write: Any):
    config = load_config(write("training: {epochs: 3}"))
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert record_of(copy) == record_of(config)


def test_a_configuration_gives_itself_again(write: Any):
    config = load_config(write("experiment: {name: '$${env:X}', tags: {a: 1}}"), environ={})
    assert config.experiment.name == "${env:X}"
    assert load_config(config, environ={}) == config


def test_an_empty_section_counts_as_left_out(write: Any):
    assert load_config(write("training:\nhpo:\n")) == load_config({})
    assert "hpo" not in load_config({})
    assert load_config({}).hpo is None


def test_a_file_may_begin_with_a_byte_order_mark(write: Any):
    assert load_config(write("\ufefftraining: {epochs: 3}")).training.epochs == 3


# -- everything that is wrong, at once -------------------------------------------------------------------


def test_every_error_is_told_at_once_with_its_line(write: Any):
    text = """\
experiment:
  name: 2024
  tags: {a: [1]}
training:
  learning_rat: 0.1
  epochs: "5"
  optimizer: adm
  batch_size: 0
model:
  hidden_layers:
    - 64
    - x
  dropout: 1.5
modle: {}
data:
  split: {train: 0.5}
  end: 2024-13-01
hpo:
  num_trials: yes
"""
    assert problems_of(write(text)) == (
        "file.yaml:2: experiment.name: expected text, not 2024 (in quotes it is text)",
        "file.yaml:3: experiment.tags.a: expected text, a number, true or false, not a list",
        "file.yaml:5: training.learning_rat: unknown key (did you mean learning_rate?)",
        "file.yaml:6: training.epochs: expected a whole number, not '5' (5 without quotes is one)",
        "file.yaml:7: training.optimizer: expected AdamW, Adam, SGD, RMSprop, NAdam, RAdam, Adagrad, Adamax, Adadelta, "
        "ASGD or LBFGS, not 'adm' (did you mean Adam?)",
        "file.yaml:8: training.batch_size: expected at least 1, not 0",
        "file.yaml:12: model.hidden_layers[1]: expected a whole number, not 'x'",
        "file.yaml:13: model.dropout: expected a number less than 1, not 1.5",
        "file.yaml:14: modle: unknown key (did you mean model?)",
        "file.yaml:16: data.split: expected train, validation and test to add up to 1, not 0.9",
        "file.yaml:17: data.end: expected a date such as 2024-01-31, not '2024-13-01'",
        "file.yaml:18: hpo.param_space: is missing",
        "file.yaml:19: hpo.num_trials: expected a whole number, not 'yes'",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {lr: 1}", "training.lr: unknown key (did you mean learning_rate?)"),
        ("training: {dropout: 0.1}", "training.dropout: unknown key (did you mean model.dropout?)"),
        ("model: {lr: 1}", "model.lr: unknown key (did you mean training.learning_rate?)"),
        ("model: {n_layers: 1}", "model.n_layers: unknown key (did you mean hidden_layers?)"),
        ("epochs: 3", "epochs: unknown key (did you mean training.epochs?)"),
        ("zzz: 3", "zzz: unknown key (one of trainer, experiment, model, data, training, backtest, tracking, hpo)"),
        ("data: {split: {val: 0.2}}", "data.split.val: unknown key (did you mean validation?)"),
        ("training: {deterministic: no}", "expected true or false, not 'no' (in YAML 1.2 this word is text)"),
        ("training: {epochs: 1_000}", "expected a whole number, not '1_000' (1000 without quotes is one)"),
        ("training: {epochs: 1.5}", "expected a whole number, not 1.5"),
        ("training: {epochs: true}", "expected a whole number, not true"),
        ("training: {learning_rate: true}", "expected a number, not true"),
        (
            "training: {precision: float23}",
            "expected float32, bfloat16 or float16, not 'float23' (did you mean float32?)",
        ),
        ("training: {device: gpu}", "expected auto, cpu, mps, cuda or cuda:1, not 'gpu'"),
        ("training: [1]", "training: expected a mapping, not a list"),
        ("training: {params: 3}", "training.params: expected a mapping, not 3"),
        ("model: {family: lstm, hidden_layers: [64, 32]}", "expected one width for all layers of the lstm"),
        ("model: {family: transformer, hidden_layers: [6, 6]}", "a width that 4 heads can share"),
        ("model: {hidden_layers: []}", "model.hidden_layers: expected a list or a mapping that is not empty"),
        ("data: {start: 2024-02-01, end: 2024-01-01}", "data.end: expected a day after start"),
        ("experiment: {version: [1]}", "experiment.version: expected text, a number, true or false, not a list"),
        ("experiment: {name: ''}", "experiment.name: expected text that is not empty"),
        ("[1]", "file.yaml:1: expected a mapping of sections, not a list"),
        ("hpo: {param_space: {}}", "hpo.param_space: expected a list or a mapping that is not empty"),
    ],
)
def test_an_error_says_what_was_expected_and_what_was_meant(text: str, said: str, write: Any):
    (problem,) = problems_of(write(text))
    assert said in problem
    assert problem.startswith("file.yaml:1: ")


def test_a_dict_has_no_lines(write: Any):
    assert problems_of({"training": {"epoch": 3}, "model": {"params": {"f": print}}}) == (
        "dict: model.params.f: a configuration can't hold a builtin_function_or_method",
        "dict: training.epoch: unknown key (did you mean epochs?)",
    )
    assert "can't hold nan" in problems_of({"model": {"params": {"x": float("nan")}}})[0]
    circle: dict[str, Any] = {}
    circle["model"] = circle
    assert "nested more than" in problems_of(circle)[0]


def test_a_file_that_is_not_there_or_not_text(write: Any, tmp_path: Path):
    assert problems_of("missing.yaml") == ("missing.yaml: there is no such file",)
    assert problems_of(tmp_path) == (f"{tmp_path}: is a folder",)
    (tmp_path / "bytes.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert problems_of("bytes.yaml") == ("bytes.yaml:2: is not text in UTF-8",)


# -- overrides -------------------------------------------------------------------------------------------


def test_overrides_go_before_the_file(write: Any):
    name = write("training: {epochs: 3, learning_rate: 0.1}\nmodel: {hidden_layers: [8, 8], input_dim: 4}")
    config = load_config(
        name,
        [
            "--model.learning_rate",
            "0.005",
            "--model.hidden_layers=[64,32]",
            "--model.input_dim",
            "null",
            "--data.window=3",
        ],
    )
    assert (config.training.learning_rate, config.training.epochs) == (0.005, 3)
    assert (config.model.hidden_layers, config.model.input_dim, config.data.window) == ([64, 32], None, 3)
    assert (
        load_config(name, {"training.epochs": 7, "model": {"dropout": 0.5}}).to_dict()
        == load_config(name, ["--training.epochs", "7", "--model.dropout", "0.5"]).to_dict()
    )


def test_errors_in_overrides_name_the_override(write: Any):
    assert problems_of(
        write("training: {epochs: 0}"), ["--model.drop", "3", "--training.batch_size=[3", "--hpo.workers", "-2"]
    ) == (
        "file.yaml:1: training.epochs: expected at least 1, not 0",
        "--model.drop 3: model.drop: unknown key (did you mean dropout?)",
        "--training.batch_size=[3: training.batch_size: is not YAML: while parsing a flow sequence, "
        "did not find expected ',' or ']'",
        "--hpo.workers -2: hpo.param_space: is missing",
        "--hpo.workers -2: hpo.workers: expected at least 1, not -2",
    )


def test_an_override_mends_what_the_file_says(write: Any):
    assert load_config(write("training: {epochs: 0}"), ["--training.epochs", "1"]).training.epochs == 1


def test_the_learning_rate_of_the_model_is_that_of_the_training(write: Any):
    config = load_config(write("model: {learning_rate: 0.5}"))
    assert config.training.learning_rate == 0.5
    assert "learning_rate" not in config.model
    (problem,) = problems_of(write("model:\n  learning_rate: 0.5\ntraining:\n  learning_rate: 0.1"))
    assert problem.startswith("file.yaml:2: model.learning_rate: means the same as training.learning_rate")
    (problem,) = problems_of(write("model:\n  learning_rate: x\n"))
    assert problem.startswith("file.yaml:2: training.learning_rate: expected a number")


# -- extends ---------------------------------------------------------------------------------------------


def test_a_file_builds_on_others(write: Any):
    write("training: {epochs: 1, batch_size: 1, seed: 1}\nexperiment: {tags: {a: 1, b: 1}}", "base/first.yaml")
    write("extends: first.yaml\ntraining: {epochs: 2, batch_size: 2}\nmodel: {hidden_layers: [2]}", "base/second.yaml")
    write("training: {epochs: 3}\nexperiment: {tags: {c: 3}}", "third.yaml")
    config = load_config(write("extends: [base/second.yaml, third.yaml]\nexperiment: {tags: {b: 4}}"))
    assert (config.training.epochs, config.training.batch_size, config.training.seed) == (3, 2, 1)
    assert config.experiment.tags == {"a": 1, "b": 4, "c": 3}
    assert config.model.hidden_layers == [2]
    assert record_of(config).files == ("file.yaml", "base/second.yaml", "base/first.yaml", "third.yaml")


def test_a_null_takes_away_what_the_base_has(write: Any):
    write("hpo: {param_space: {seed: [1]}}\ntraining: {patience: 3}", "base.yaml")
    config = load_config(write("extends: base.yaml\nhpo:\ntraining: {patience: null}"))
    assert (config.hpo, config.training.patience) == (None, None)


def test_errors_point_into_the_right_file(write: Any):
    write("training:\n  epochs: 0\n  seed: -1\nmodel:\n  drop: 1\n", "base/b.yaml")
    assert problems_of(write("extends: base/b.yaml\n\ntraining:\n  epochs: -1\n")) == (
        "file.yaml:4: training.epochs: expected at least 1, not -1",
        "base/b.yaml:3: training.seed: expected at least 0, not -1",
        "base/b.yaml:5: model.drop: unknown key (did you mean dropout?)",
    )


def test_an_alias_of_the_base_and_a_key_of_the_file_are_the_same_key(write: Any):
    write("model: {learning_rate: 0.5}", "base.yaml")
    assert load_config(write("extends: base.yaml\ntraining: {learning_rate: 0.1}")).training.learning_rate == 0.1


def test_files_that_extend_each_other_are_refused(write: Any):
    write("extends: c.yaml", "b.yaml")
    write("extends: a.yaml", "c.yaml")
    assert problems_of(write("\nextends: b.yaml", "a.yaml")) == (
        "c.yaml:1: extends: the files extend each other in a circle: a.yaml → b.yaml → c.yaml → a.yaml",
    )
    assert "circle: x.yaml → x.yaml" in problems_of(write("extends: x.yaml", "x.yaml"))[0]


def test_two_ways_to_the_same_base_are_no_circle(write: Any):
    write("training: {epochs: 1}", "base.yaml")
    write("extends: base.yaml", "left.yaml")
    write("extends: base.yaml", "right.yaml")
    assert load_config(write("extends: [left.yaml, right.yaml]")).training.epochs == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nextends: missing.yaml", "file.yaml:2: extends: there is no file missing.yaml"),
        ("\nextends: .", "file.yaml:2: extends: . is a folder"),
        ("\nextends: 3", "file.yaml:2: extends: expected the path of a file, not 3"),
        ("\nextends:\n  - {a: 1}", "file.yaml:3: extends: expected the path of a file, not a mapping"),
        ("\nextends: /dev/zero", "file.yaml:2: extends: /dev/zero is not a file"),
    ],
)
def test_what_can_not_be_extended(text: str, said: str, write: Any):
    assert problems_of(write(text)) == (said,)


def test_many_files_are_refused_at_once(write: Any):
    for number in range(60):
        write(f"extends: [f{number + 1}.yaml, f{number + 1}.yaml]", f"f{number}.yaml")
    assert "more than 32 files" in problems_of("f0.yaml")[0]


def test_a_dict_extends_nothing(write: Any):
    assert problems_of({"extends": "base.yaml"})[0] == "dict: extends: only a file can extend another"


# -- environment -----------------------------------------------------------------------------------------


def test_the_environment_is_read_where_it_is_named(write: Any):
    text = """\
experiment:
  name: "study of ${env:WHO}"
  description: ${env:NOTE:-none given}
  stage: "${env:EPOCHS}"
  type: $${env:WHO} ${HOME} $WHO
training:
  epochs: ${env:EPOCHS}
  seed: ${env:SEED:-42}
  learning_rate: ${env:EMPTY:-0.5}
"""
    environ = {"WHO": "ada", "EPOCHS": "7", "EMPTY": ""}
    config = load_config(write(text), environ=environ)
    assert config.experiment.name == "study of ada"
    assert config.experiment.description == "none given"
    assert config.experiment.stage == "7"
    assert config.experiment.type == "${env:WHO} ${HOME} $WHO"
    assert (config.training.epochs, config.training.seed, config.training.learning_rate) == (7, 42, 0.5)
    assert record_of(config).environment == {
        "experiment.name": ("WHO",), "experiment.stage": ("EPOCHS",), "training.epochs": ("EPOCHS",),
    }  # fmt: skip


def test_the_environment_is_read_in_overrides_and_dicts_and_names_of_bases(write: Any):
    write("training: {epochs: 9}", "base.yaml")
    environ = {"N": "8", "BASE": "base.yaml"}
    assert load_config(write("extends: ${env:BASE}"), environ=environ).training.epochs == 9
    assert load_config({}, ["--training.epochs", "${env:N}"], environ=environ).training.epochs == 8
    assert load_config({"experiment": {"name": "${env:N}"}}, environ=environ).experiment.name == "8"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("${env:NOPE}", "the environment variable NOPE is not set; ${env:NOPE:-…} gives a default"),
        ("a ${env:NOPE", "the } of ${env:NOPE is missing"),
        ("${env:9x}", "'9x' is not the name of an environment variable"),
        ("${env:}", "'' is not the name of an environment variable"),
    ],
)
def test_what_is_missing_is_told_with_its_line(value: str, said: str, write: Any):
    assert problems_of(write(f"experiment:\n  name: {value}\n"), environ={}) == (
        f"file.yaml:2: experiment.name: {said}",
    )


def test_what_a_variable_holds_is_in_no_message(write: Any):
    environ = {"N": "hunter2"}
    (problem,) = problems_of(write("training:\n  epochs: ${env:N}\n"), environ=environ)
    assert problem == "file.yaml:2: training.epochs: expected a whole number, not what ${env:N} holds"
    assert "hunter2" not in str(problems_of(write("training: {optimizer: '${env:N}'}"), environ=environ))
    assert "hunter2" not in str(problems_of(write("hpo: {param_space: {epochs: ['${env:N}']}}"), environ=environ))
    assert "123" not in str(problems_of(write("training: {epochs: '${env:N}'}"), environ={"N": "123"}))
    assert "99999" not in str(problems_of(write("training:\n  epochs: ${env:N}\n"), environ={"N": "9" * 999}))


def test_no_secret_is_kept(write: Any):
    text = """\
tracking:
  uri: postgresql://me:hunter2@host/db
  params:
    api_token: ${env:NAME}
    plain: "${env:MY_PASSWORD}"
    password: hunter2
    apiKey: hunter2
    max_tokens: 12
    tokenizer: bert
    shown: "${env:NAME}"
"""
    config = load_config(write(text), environ={"NAME": "hunter2", "MY_PASSWORD": "hunter2"})
    assert config.tracking.params.api_token == config.tracking.params.plain == "hunter2"
    record = record_of(config)
    assert record.values["tracking"]["uri"] == "postgresql://***@host/db"
    assert record.values["tracking"]["params"] == {
        "api_token": "${env:NAME}", "plain": "${env:MY_PASSWORD}", "password": "***", "apiKey": "***", "max_tokens": 12,
        "tokenizer": "bert", "shown": "hunter2",
    }  # fmt: skip
    environ = {"NAME": "other", "MY_PASSWORD": "other"}
    write(record.to_yaml(), "kept.yaml")
    assert load_config("kept.yaml", environ=environ).tracking.params.api_token == "other"


def test_a_wrong_value_under_a_secret_key_is_not_shown(write: Any):
    (problem,) = problems_of(write("experiment: {tags: {token: [hunter2]}}"), ["--tracking.uri", '["hunter2"]'])[:1]
    assert "hunter2" not in problem


# -- a search --------------------------------------------------------------------------------------------


def test_a_search_of_every_kind(write: Any):
    text = """\
hpo:
  param_space:
    learning_rate: {low: 1e-4, high: 0.1, log: true}
    training.batch_size: [16, 32]
    model.hidden_layers: [[64, 32], [128]]
    optimizer: [adam, SGD]
    momentum: {low: 0.5, high: 0.99, when: {optimizer: SGD}}
    epochs: {low: 1, high: 9, step: 2, type: int}
    model.params.kernel: {choices: [3, 5]}
  objectives:
    - {metric: sharpe_ratio, mode: max}
    - {metric: max_drawdown}
  sampler: TPE
  pruner: NONE
"""
    hpo = load_config(write(text)).hpo
    assert hpo is not None
    assert hpo.param_space["training.batch_size"] == [16, 32]
    assert hpo.param_space["learning_rate"].log is True
    assert [one.mode for one in hpo.objectives] == ["max", "min"]
    assert (hpo.sampler, hpo.pruner) == ("tpe", "none")


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{learnin_rate: [1]}", "hpo.param_space.learnin_rate: unknown key (did you mean training.learning_rate?)"),
        ("{model.drop: [1]}", 'hpo.param_space."model.drop": unknown key (did you mean model.dropout?)'),
        ("{hpo.workers: [1]}", 'hpo.param_space."hpo.workers": unknown key'),
        ("{batch_size: [16, x]}", "batch_size[1]: 'x' is no training.batch_size: expected a whole number"),
        ("{batch_size: [16, 0]}", "batch_size[1]: 0 is no training.batch_size: expected at least 1"),
        ("{dropout: {low: 0.0, high: 1.0}}", "dropout.high: 1.0 is no model.dropout: expected a number less than 1"),
        ("{dropout: {low: 0.5, high: 0.1}}", "dropout.high: expected a number greater than low, which is 0.5"),
        ("{dropout: {low: 0.5}}", "dropout: expected low and high, or choices"),
        ("{dropout: {low: 0.5, high: 0.6, choices: [0.1]}}", "dropout: expected either choices or a range"),
        ("{dropout: {low: 0.0, high: 0.6, log: true}}", "dropout.low: expected a number greater than 0"),
        ("{dropout: {min: 0.0, high: 0.6}}", "dropout.min: unknown key (did you mean low?)"),
        ("{dropout: []}", "dropout: expected a list or a mapping that is not empty"),
        ("{dropout: 3}", "dropout: expected a mapping, not 3"),
        ("{seed: [1], training.seed: [2]}", 'hpo.param_space."training.seed": means the same as seed'),
        ("{seed: {choices: [1], when: {sed: 1}}}", "hpo.param_space.seed.when.sed: expected another key of the search"),
        ("{epochs: {low: 1.5, high: 3, type: int}}", "epochs.type: expected float"),
    ],
)
def test_a_search_is_checked_before_its_first_trial(space: str, said: str, write: Any):
    problems = problems_of(write(f"hpo:\n  param_space: {space}\n"))
    assert any(said in one and one.startswith("file.yaml:2: ") for one in problems), problems
