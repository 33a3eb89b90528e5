"""``ExperimentOrganizer``: names, tags and families of runs, as MLflow's own client finds them in the store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from shared_store import copy_of, shared_state

from agentnn import ConfigurationManager, ExperimentOrganizer, current_run
from agentnn.errors import ConflictError, UsageError
from agentnn.sdk.trial_result import TrialResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Run

SEED: dict[str, Any] = {
    "experiment": {
        "name": "HPO_Study_NN_Model",
        "tags": {"project": "TradingBot", "model_type": "NeuralNetwork", "task": "HyperparameterOptimization"},
    },
    "model": {"input_dim": 10, "hidden_layers": [64, 32], "output_dim": 1, "activation": "relu"},
    "training": {"epochs": 50, "batch_size": 32, "learning_rate": 0.001, "optimizer": "Adam"},
    "hpo": {"param_space": {"learning_rate": [0.0001, 0.001, 0.01], "batch_size": [16, 32, 64]}, "num_trials": 10},
}


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(autouse=True)
def _outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def named(config: dict[str, Any], experiment: str) -> dict[str, Any]:
    return {**config, "experiment": {**config.get("experiment", {}), "name": experiment}}


def runs_of(uri: str, experiment: str) -> dict[str, Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def own_tags(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.data.tags.items() if not key.startswith(("mlflow.", "agentnn."))}


@pytest.mark.parametrize(
    "make", [dict, lambda config: ConfigurationManager(config).get_config()], ids=["dict", "config"]
)
def test_a_run_goes_to_the_experiment_with_its_tags(make: Any, uri: str, request: pytest.FixtureRequest):
    experiment = request.node.name
    organizer = ExperimentOrganizer(make(named(SEED, experiment)), tracking_uri=uri)
    with organizer.start_run(run_name="Basic_NN_Training", tags={"fold": 3}) as run:
        assert current_run() is run
    kept = runs_of(uri, experiment)["Basic_NN_Training"]
    assert kept.info.status == "FINISHED"
    assert own_tags(kept) == {**SEED["experiment"]["tags"], "fold": "3"}


def test_all_that_a_configuration_says_becomes_a_tag(uri: str):
    config = {
        "experiment": {
            "name": "tags",
            "type": "training",
            "stage": "development",
            "version": 2,
            "description": "# why",
            "run_name": "{stage}/{model_type} v{version} on {dataset}",
            "tags": {"project": "Bot", "stage": "production"},
        },
        "model": {"family": "lstm"},
        "data": {"path": "prices/eurusd.csv", "version": "2024-01"},
    }
    checked = ConfigurationManager(config).get_config()
    organizer = ExperimentOrganizer(checked, tracking_uri=uri, tags={"desk": "fx", "model_type": "LSTM-v2"})
    with organizer.start_run():
        pass
    kept = runs_of(uri, "tags")["production/LSTM-v2 v2 on eurusd"]
    assert own_tags(kept) == {
        "experiment_type": "training",
        "stage": "production",
        "model_type": "LSTM-v2",
        "model_version": "2",
        "dataset": "eurusd",
        "dataset_version": "2024-01",
        "project": "Bot",
        "desk": "fx",
    }
    assert kept.data.tags["mlflow.note.content"] == "# why"


def test_a_default_of_the_schema_is_no_statement_about_a_run():
    tags = ExperimentOrganizer(ConfigurationManager({"training": {"epochs": 3}}).get_config()).tags
    assert tags == {}


def test_the_commit_is_a_tag(tmp_path: Path):
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], cwd=tmp_path, check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    organizer = ExperimentOrganizer({}, name_pattern="net-{git}")
    assert organizer.tags == {"git_commit": commit.strip(), "git_branch": "main"}
    assert organizer.run_name() == f"net-{commit[:7]}"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (None, r"NeuralNetwork-\d{8}-\d{6}"),
        ("{experiment}", "HPO_Study_NN_Model"),
        ("{experiment}/{stage}-{time:%Y}", r"HPO_Study_NN_Model-\d{4}"),
        ("{stage}", r"run-\d{8}-\d{6}"),
        ("{model_type:.3}!", "Neu!"),
        ("{{fixed}}", "{fixed}"),
    ],
)
def test_names_follow_the_pattern_and_leave_out_what_is_not_known(pattern: str | None, name: str):
    made = ExperimentOrganizer(SEED, name_pattern=pattern).run_name()
    assert made == name or re.fullmatch(name, made)


@pytest.mark.parametrize(
    "pattern", ["{modle}", "{time", "{model_type.__class__}", "{0}", "{experiment[0]}", "{time:%Y!r}{"]
)
def test_a_wrong_pattern_is_said_at_once(pattern: str):
    with pytest.raises(UsageError) as refused:
        ExperimentOrganizer(SEED, name_pattern=pattern)
    assert "{model_type}" in refused.value.hint


def test_what_is_no_configuration_is_refused():
    with pytest.raises(UsageError, match="a str is no configuration"):
        ExperimentOrganizer("config.yaml")  # type: ignore[arg-type]


def test_a_secret_of_the_configuration_is_in_no_tag(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DESK_TOKEN", "s3cr3t-Swordfish")
    tags = {"source": "postgresql://ada:s3cr3t-Swordfish@db/x", "token": "s3cr3t-Swordfish"}
    checked = ConfigurationManager({"experiment": {"tags": {**tags, "desk": "${env:DESK_TOKEN}"}}}).get_config()
    for config in (checked, {"experiment": {"tags": tags}}):
        assert "Swordfish" not in str(ExperimentOrganizer(config).tags)


def test_the_store_is_that_of_the_configuration(uri: str):
    with ExperimentOrganizer({"experiment": {"name": "stored"}, "tracking": {"uri": uri}}).start_run("here"):
        pass
    assert list(runs_of(uri, "stored")) == ["here"]


# -- studies -----------------------------------------------------------------------------------------------


def test_a_study_is_a_family_with_its_best_trial_noted(uri: str):
    organizer = ExperimentOrganizer(named(SEED, "study"), tracking_uri=uri)
    with organizer.start_study("search") as study:
        for number, value in enumerate([0.5, 0.25, None, float("nan"), 0.1]):
            params = {"learning_rate": 10.0**-number, "batch_size": 16}
            trial = organizer.start_trial(number, params, tags={"fold": number})
            assert current_run() is trial
            state = "pruned" if number == 4 else "complete" if value is not None else "failed"
            organizer.finish_trial(trial, number, params, value, state=state, reason="" if value else "diverged")
            assert current_run() is study
        best = organizer.finish_study(study)
    runs = runs_of(uri, "study")
    parent = runs.pop("search")
    assert best == TrialResult(1, runs["trial-0001"].info.run_id, 0.25, {"learning_rate": 0.1, "batch_size": 16})
    told = {
        key.rpartition(".")[2]: value for key, value in parent.data.tags.items() if key.startswith("agentnn.study.")
    }
    assert json.loads(told.pop("best_params")) == {"learning_rate": 0.1, "batch_size": 16}
    assert told == {"best_trial": "1", "best_run_id": best.run_id, "objective": "min val_loss"}
    assert parent.data.metrics == {
        "best_val_loss": 0.25,
        "trials": 5,
        "trials_complete": 3,
        "trials_pruned": 1,
        "trials_failed": 1,
    }
    assert parent.data.tags["agentnn.role"] == "study"
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert [runs[f"trial-{number:04d}"].info.status for number in range(5)] == [
        *["FINISHED"] * 2,
        "FAILED",
        *["FINISHED"] * 2,
    ]
    failed = runs["trial-0002"]
    assert failed.data.tags["agentnn.end_reason"] == "diverged"
    assert (failed.data.tags["agentnn.trial.state"], failed.data.tags["agentnn.trial.number"]) == ("failed", "2")
    assert failed.data.params == {"learning_rate": "0.01", "batch_size": "16"}
    assert runs["trial-0004"].data.metrics == {"val_loss": 0.1}
    assert own_tags(failed)["project"] == "TradingBot"


def test_the_greatest_value_wins_where_the_configuration_says_so():
    config = {"hpo": {"metric": "sharpe_ratio", "mode": "max"}}
    organizer = ExperimentOrganizer(config)
    trials = [TrialResult(0, None, 1.0), TrialResult(1, None, 2.0), TrialResult(2, None, 2.0)]
    assert (organizer.metric, organizer.mode) == ("sharpe_ratio", "max")
    logged: dict[str, Any] = {}

    class Study:
        def log_metrics(self, metrics: dict[str, Any]) -> None:
            logged.update(metrics)

        def log_metric(self, key: str, value: float) -> None:
            logged[key] = value

        def set_tags(self, tags: dict[str, Any]) -> None:
            logged.update(tags)

    best = organizer.finish_study(Study(), trials)  # type: ignore[arg-type]
    assert best == trials[1]
    assert (logged["best_sharpe_ratio"], logged["agentnn.study.best_trial"]) == (2.0, 1)
    assert "agentnn.study.best_run_id" not in logged


def test_a_study_that_goes_on_notes_a_better_trial(uri: str):
    organizer = ExperimentOrganizer(named(SEED, "resumed"), tracking_uri=uri)
    with organizer.start_study("search") as study:
        organizer.finish_study(study, [TrialResult(0, "a" * 32, 0.5, {"x": 1})])
        organizer.finish_study(study, [TrialResult(7, "b" * 32, 0.1, {"x": 2})])
        assert organizer.finish_study(study, [TrialResult(8, None, None, {}, "failed")]) is None
    tags = runs_of(uri, "resumed")["search"].data.tags
    assert (tags["agentnn.study.best_trial"], tags["agentnn.study.best_params"]) == ("7", '{"x": 2}')


def test_a_trial_of_a_study_that_was_started_elsewhere(uri: str):
    organizer = ExperimentOrganizer(named(SEED, "elsewhere"), tracking_uri=uri)
    with organizer.start_study("search") as study:
        run_id = study.run_id
    with organizer.start_trial(3, {"x": 1}, parent_run_id=run_id) as trial:
        organizer.finish_trial(trial, 3, {"x": 1}, 0.5)
    kept = runs_of(uri, "elsewhere")["trial-0003"]
    assert kept.data.tags["mlflow.parentRunId"] == run_id


def test_trials_of_worker_processes_are_children_of_the_study(uri: str):
    config = named(SEED, "workers")
    worker = (
        "import json, sys\n"
        "from agentnn import ExperimentOrganizer\n"
        "config, number = json.loads(sys.argv[1]), int(sys.argv[2])\n"
        "organizer = ExperimentOrganizer(config)\n"
        "with organizer.start_trial(number, {'x': number}) as trial:\n"
        "    organizer.finish_trial(trial, number, {'x': number}, number / 10)\n"
    )
    with ExperimentOrganizer(config, tracking_uri=uri).start_study("search") as study:
        workers = [subprocess.Popen([sys.executable, "-c", worker, json.dumps(config), str(one)]) for one in range(2)]
        assert [one.wait(timeout=120) for one in workers] == [0, 0]
        run_id = study.run_id
    runs = runs_of(uri, "workers")
    assert sorted(runs) == ["search", "trial-0000", "trial-0001"]
    assert {runs[f"trial-000{number}"].data.tags["mlflow.parentRunId"] for number in range(2)} == {run_id}


def test_what_does_not_fit_is_refused(uri: str):
    organizer = ExperimentOrganizer(named(SEED, "refused"), tracking_uri=uri)
    with pytest.raises(UsageError, match="no study is open"):
        organizer.start_trial(0, {})
    with organizer.start_study("search"):
        with pytest.raises(ConflictError, match="'search' is open"):
            organizer.start_run()
        with organizer.start_trial(0, {}) as trial, pytest.raises(UsageError, match="a trial can't be 'done'"):
            organizer.finish_trial(trial, 0, {}, state="done")  # type: ignore[arg-type]


def test_a_store_that_is_down_does_not_stop_a_study():
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = "refuse"
        organizer = ExperimentOrganizer(SEED, tracking_uri=proxy.url)
        with organizer.start_study("search") as study:
            trial = organizer.start_trial(0, {"x": 1})
            result = organizer.finish_trial(trial, 0, {"x": 1}, 0.5)
            assert organizer.finish_study(study) == result
    assert (result.run_id, result.value) == (None, 0.5)
    assert result.to_dict() == {"number": 0, "run_id": None, "value": 0.5, "params": {"x": 1}, "state": "complete"}
