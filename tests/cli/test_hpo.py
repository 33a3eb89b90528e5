"""``agentnn run hpo``: the template, the verdict on the best trial, going on, and what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cli.support import EXECUTABLE, environment, error_and_hint, in_process
from mlflow import MlflowClient
from shared_store import copy_of, shared_state

from agentnn import ConfigurationManager, ModelManager
from agentnn.training.data.datasets import load_dataset
from agentnn.training.trading import trade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

pytestmark = pytest.mark.usefixtures("undrawn")

TEMPLATE = Path(__file__).parents[2] / "config_templates" / "hpo_example.yaml"
QUICK = ("--training.epochs", "3", "--trials", "3")
LUCK = "deflated Sharpe ratio"


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    shutil.copy(TEMPLATE, tmp_path / "hpo.yaml")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)


def hpo(name: str, *arguments: str, config: str = "hpo.yaml") -> subprocess.CompletedProcess[str]:
    return in_process("run", "hpo", config, "--hpo.study_name", name, *arguments)


def family(uri: str, name: str) -> tuple[Run, dict[int, Run]]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("HPO_Study_NN_Model")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    [parent] = [run for run in runs if run.data.tags.get("agentnn.study.name") == name]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {int(run.data.tags["agentnn.trial.number"]): run for run in children}


@pytest.mark.slow
def test_the_template_is_searched_and_its_best_trial_is_judged_on_days_that_no_trial_saw(uri: str, tmp_path: Path):
    ended = hpo("template", *QUICK, "--workers", "2", "-o", "json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    parent, trials = family(uri, "template")
    assert told["run_id"] == parent.info.run_id
    assert sorted(trials) == [0, 1, 2]
    assert {run.info.status for run in (parent, *trials.values())} == {"FINISHED"}
    for run in trials.values():
        names = set(run.data.metrics)
        assert {"val_loss", "train_loss", "validation_sharpe_ratio", "validation_accuracy"} <= names
        assert not any(name.startswith("test_") or name == "sharpe_ratio" for name in names)
    _, best = min(trials.items(), key=lambda one: (one[1].data.metrics["val_loss"], one[0]))
    assert parent.data.tags["agentnn.study.best_run_id"] == best.info.run_id == told["best"]["run_id"]
    metrics = parent.data.metrics
    assert metrics["best_validation_sharpe_ratio"] == pytest.approx(best.data.metrics["validation_sharpe_ratio"])
    assert 0 <= metrics["deflated_sharpe_ratio"] <= metrics["probabilistic_sharpe_ratio"] <= 1
    assert {key: metrics[key] for key in told["metrics"]} == pytest.approx(told["metrics"])

    # The network that was logged is the best trial's, and its figures are those of the test part.
    chosen = MlflowClient(uri).download_artifacts(parent.info.run_id, "study/best_config.yaml", str(tmp_path))
    config = ConfigurationManager(chosen).get_config()
    dataset = load_dataset(config.data, config.model.output_dim, config.training.loss)
    model = ModelManager(uri).load_model(f"runs:/{parent.info.run_id}/model")
    predicted = np.asarray(model.predict(dataset.test.inputs), dtype=np.float64)
    traded = trade(predicted, dataset, dataset.test, config.backtest)
    assert metrics["best_test_sharpe_ratio"] == pytest.approx(traded.figures["sharpe_ratio"])
    assert metrics["best_test_accuracy"] == np.mean((predicted > 0.5) == (dataset.test.targets[:, 0] > 0.5))

    lines = ended.stderr.splitlines()
    assert lines[0] == "template: begins"
    assert sorted(line.partition(" ")[0] for line in lines[1:4]) == ["1/3", "2/3", "3/3"]
    assert any(LUCK in line for line in lines)
    assert f"see agentnn run show {parent.info.run_id}" in lines


def test_what_was_tried_is_a_table(uri: str):
    ended = hpo("table", *QUICK, "-o", "tsv")
    assert ended.returncode == 0, ended.stderr
    header, *rows = [line.split("\t") for line in ended.stdout.splitlines()]
    assert header[:6] == ["number", "state", "run_id", "val_loss", "params.learning_rate", "params.batch_size"]
    _, trials = family(uri, "table")
    for row in rows:
        kept = trials[int(row[0])]
        assert row[1:3] == ["complete", kept.info.run_id]
        assert float(row[3]) == kept.data.metrics["val_loss"]
        assert row[4:6] == [kept.data.params["learning_rate"], kept.data.params["batch_size"]]


def test_a_study_goes_on_with_resume_and_begins_beside_without(uri: str):
    registering = ("--tracking.register_as", "searched")
    first = hpo("goes on", *QUICK, *registering, "-o", "id")
    assert first.returncode == 0, first.stderr
    assert [one.run_id for one in MlflowClient(uri).search_model_versions("name='searched'")] == [first.stdout.strip()]
    nothing_to_do = hpo("goes on", *QUICK, *registering, "--resume", "-o", "id")
    assert nothing_to_do.stdout == first.stdout
    assert len(MlflowClient(uri).search_model_versions("name='searched'")) == 1
    more = hpo("goes on", *QUICK, "--resume", "--trials", "4", "-o", "id")
    assert more.stdout == first.stdout
    assert more.stderr.startswith("goes on: going on after 3 trials\n4/4 trial 3 ")
    parent, trials = family(uri, "goes on")
    assert (parent.info.run_id, sorted(trials)) == (first.stdout.strip(), [0, 1, 2, 3])
    beside = hpo("goes on", *QUICK, "--trials", "1", "-o", "id")
    other, trials = family(uri, "goes on (2)")
    assert (other.info.run_id, sorted(trials)) == (beside.stdout.strip(), [0])
    changed = hpo("goes on", *QUICK, "--resume", "--hpo.param_space.batch_size", "[16]")
    assert changed.returncode == 6
    error, hint = error_and_hint(changed.stderr)
    assert "searches something else: batch_size [16, 32, 64] before, [16] now" in error
    assert "--hpo.study_name" in hint


@pytest.mark.slow
def test_ctrl_c_ends_it_as_killed_and_another_one_is_not_begun_by_mistake(uri: str):
    command = [str(EXECUTABLE), "run", "hpo", "hpo.yaml", "--hpo.study_name", "stopped", "--workers", "2"]
    slow = ["--training.epochs", "100000", "--hpo.num_trials", "4"]
    with subprocess.Popen(
        [*command, *slow], env=environment({"MLFLOW_TRACKING_URI": uri}), stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            running = [run for run in _trials_of(uri, "stopped") if "val_loss" in run.data.metrics]
            if len(running) == 2:
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-2:] == ["note: 0 of 4 trials of 'stopped' are done; --resume goes on", "interrupted"]
    assert "Traceback" not in said
    deadline = time.monotonic() + 60
    while any(run.info.status == "RUNNING" for run in _trials_of(uri, "stopped")) and time.monotonic() < deadline:
        time.sleep(0.2)
    parent, trials = family(uri, "stopped")
    assert (parent.info.status, {run.info.status for run in trials.values()}) == ("KILLED", {"KILLED"})
    again = hpo("stopped", *QUICK)
    assert again.returncode == 6
    error, hint = error_and_hint(again.stderr)
    assert error == "the study 'stopped' is not finished: 0 trials are done"
    assert "--resume" in hint


def _trials_of(uri: str, name: str) -> list[Run]:
    try:
        return list(family(uri, name)[1].values())
    except (ValueError, AssertionError):  # not there yet
        return []


def test_a_person_sees_a_summary():
    shown = hpo("shown", *QUICK, "--trials", "2", "-o", "table")
    assert shown.returncode == 0, shown.stderr
    for word in ("study", "objective", "min val_loss", "2 complete", "best_test_sharpe_ratio", "learning_rate"):
        assert word in shown.stdout
    assert LUCK in shown.stderr


WRONG: dict[str, tuple[list[str], int, str]] = {
    "metric": (["--hpo.metric", "sharpe_ratio"], 2, "trials can't be judged by 'sharpe_ratio'"),
    "unknown metric": (["--hpo.metric", "validation_alpha"], 2, "a trial has no metric 'validation_alpha'"),
    "key": (["--hpo.param_space.learning_rat", "[0.1]"], 2, ""),
    "storage": (["--hpo.storage", "{uri}"], 2, "is MLflow's own"),
    "trials": (["--trials", "0"], 2, ""),
    "all fail": (["--hpo.param_space.learning_rate", "[1e30]"], 8, "none of 3 trials of the study"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said(what: str, uri: str):
    more, code, message = WRONG[what]
    ended = hpo(f"wrong {what}", *QUICK, *(word.format(uri=uri) for word in more))
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert "hint: " in ended.stderr or what == "key"
    assert ended.stdout == ""


def test_a_configuration_without_a_search_is_wrong_use():
    Path("plain.yaml").write_text("training: {epochs: 2}\n")
    ended = in_process("run", "hpo", "plain.yaml")
    assert ended.returncode == 2
    assert error_and_hint(ended.stderr)[0] == "there is nothing to search: the configuration has no hpo.param_space"


def test_python_does_the_same_in_one_call(uri: str):
    config: dict[str, Any] = {
        "extends": None,
        "experiment": {"name": "HPO_Study_NN_Model"},
        "model": {"hidden_layers": [4]},
        "training": {"epochs": 2},
        "data": {"window": 2},
        "hpo": {
            "param_space": {"learning_rate": [0.01, 0.02]},
            "study_name": "python",
            "metric": "validation_sharpe_ratio",
            "mode": "max",
        },
    }
    config.pop("extends")
    result = ModelManager(uri).run_study(config, {"hpo.sampler": "grid"}, trials=2)
    parent, trials = family(uri, "python")
    assert result.run_id == parent.info.run_id
    values = {number: run.data.metrics["validation_sharpe_ratio"] for number, run in trials.items()}
    assert result.best is not None
    assert result.best.number == max(values, key=lambda number: values[number])
    assert result.metrics["best_validation_sharpe_ratio"] == pytest.approx(result.best.value)
    assert "AGENTNN_RUN" not in os.environ
