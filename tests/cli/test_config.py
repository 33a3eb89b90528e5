"""``experiment validate`` and ``experiment schema``, as a shell and an editor meet them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from cli.support import agentnn, error_and_hint, fingerprint, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
experiment: {name: study, tags: {project: X}}
training:
  learning_rate: 1e-3
  optimizer: adam
tracking:
  params: {token: "${env:MY_TOKEN:-none}"}
"""
BAD = """\
training:
  learning_rat: 0.1
  epochs: "5"
model:
  dropout: 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def test_a_valid_file_is_shown_as_a_training_run_would_get_it(folder: Path):
    before = fingerprint(folder)
    ran = agentnn(
        "experiment", "validate", "good.yaml", "--model.learning_rate", "0.005", "--training.epochs=7", "-o", "json"
    )
    assert ran.returncode == 0
    found = json.loads(ran.stdout)
    assert found["config"]["training"]["learning_rate"] == 0.005
    assert (found["config"]["training"]["epochs"], found["config"]["training"]["optimizer"]) == (7, "Adam")
    assert found["config"]["data"]["window"] == 10
    assert found["files"] == ["good.yaml"]
    assert found["overrides"] == ["--model.learning_rate 0.005", "--training.epochs=7"]
    assert len(found["hash"]) == 64
    assert ran.stderr == f"good.yaml with 2 overrides is valid: {found['hash'][:12]}\n"
    assert fingerprint(folder) == before


def test_a_pipe_gets_a_line_a_key(folder: Path):
    ran = agentnn("experiment", "validate", "good.yaml", "--model.hidden_layers", "[64, 32]")
    lines = dict(line.split("\t") for line in ran.stdout.splitlines())
    assert lines["key"] == "value"
    assert (lines["training.optimizer"], lines["model.hidden_layers"], lines["experiment.tags.project"]) == (
        "Adam", "[64, 32]", "X",
    )  # fmt: skip
    assert lines["model.input_dim"] == ""


def test_a_person_sees_the_file_that_gives_it_again(folder: Path):
    seen = on_terminal("experiment", "validate", "good.yaml", "--training.epochs", "7")
    text = seen.text.partition("good.yaml with 1 override")[0]
    assert seen.code == 0
    found = yaml.safe_load(text)
    assert (found["training"]["epochs"], found["experiment"]["tags"]) == (7, {"project": "X"})


def test_all_errors_are_on_stderr_one_a_line(folder: Path):
    ran = agentnn("experiment", "validate", "bad.yaml", "--hpo.workers", "-1", "-o", "json")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        "bad.yaml:2: training.learning_rat: unknown key (did you mean learning_rate?)",
        "bad.yaml:3: training.epochs: expected a whole number, not '5' (5 without quotes is one)",
        "bad.yaml:5: model.dropout: expected a number less than 1, not 2",
        "--hpo.workers -1: hpo.param_space: is missing",
        "--hpo.workers -1: hpo.workers: expected at least 1, not -1",
        "error: bad.yaml has 5 problems",
        "hint: agentnn experiment schema shows every key",
    ]


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["good.yaml", "--epochs", "5"], "unknown option --epochs", "--training.epochs VALUE"),
        (["good.yaml", "-x", "5"], "unknown option -x", "two dashes"),
        (["good.yaml", "stray"], "unexpected argument 'stray'", "--training.epochs 5"),
        (["good.yaml", "--training.epochs"], "lacks a value", "VALUE"),
        (["--training.epochs", "5", "good.yaml"], "before its overrides", "CONFIG --training.epochs 5"),
        ([], "Missing argument", "--help"),
    ],
)
def test_wrong_use(arguments: list[str], said: str, hint: str, folder: Path):
    ran = agentnn("experiment", "validate", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    error, told = error_and_hint(ran.stderr)
    assert said in error
    assert hint in told


def test_a_missing_file_is_exit_2(folder: Path):
    ran = agentnn("experiment", "validate", "nothing.yaml")
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == ["nothing.yaml: there is no such file", "error: nothing.yaml has 1 problem"]


def test_no_secret_is_shown(folder: Path):
    environ = {"MY_TOKEN": "hunter2"}
    for form in ("json", "tsv", "md", "id"):
        ran = agentnn(
            "experiment", "validate", "good.yaml", "--tracking.uri=postgresql://me:hunter2@host/db",
            "--experiment.tags.password", "hunter2", "-o", form, env=environ,
        )  # fmt: skip
        assert ran.returncode == 0
        assert "hunter2" not in ran.stdout + ran.stderr
    (folder / "wrong.yaml").write_text('training: {epochs: "${env:MY_TOKEN}"}\n')
    ran = agentnn("experiment", "validate", "wrong.yaml", "--tracking.params.token=[hunter2", env=environ)
    assert ran.returncode == 2
    assert "hunter2" not in ran.stderr


def test_nothing_in_a_file_reaches_the_terminal(folder: Path):
    (folder / "evil.yaml").write_text(
        '"\\e]52;c;aGk=\\a": 1\nexperiment: {name: "[red]\\e[31m"}\ntraining: {epochs: "\\e[2J"}\n'
    )
    assert "\x1b" not in agentnn("experiment", "validate", "evil.yaml").stderr
    (folder / "odd.yaml").write_text('experiment: {name: "[red]\\e[31mx"}\n')
    seen = on_terminal("experiment", "validate", "odd.yaml").text
    assert "\x1b[31m" not in seen
    assert "[red]" in seen


def test_the_schema_is_json_schema_and_a_list_of_keys(folder: Path):
    schema = json.loads(agentnn("experiment", "schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "training" in schema["properties"]
    lines = agentnn("experiment", "schema", "-o", "tsv").stdout.splitlines()
    assert lines[0] == "key\tdefault\tdescription"
    assert "training.epochs\t100\tPasses over the training part, at most." in lines
    assert "data.split.train\t0.6\tThe first part, which is learned from." in lines
    assert "extends" in agentnn("experiment", "schema", "-o", "id").stdout.splitlines()
