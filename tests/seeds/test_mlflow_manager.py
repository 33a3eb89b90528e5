"""The examples of the MLflow Manager's documentation, with only the import prefix changed."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

from agentnn import MLflowManager, ModelManager

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from mlflow import MlflowClient
    from mlflow.entities import Run


def runs_of(store: MlflowClient, experiment: str) -> list[Run]:
    found = store.get_experiment_by_name(experiment)
    return list(store.search_runs([found.experiment_id])) if found else []


def test_the_examples_of_the_document(store: MlflowClient):
    mlflow_manager = MLflowManager()

    # Using context manager
    with mlflow_manager.start_run("training_run"):
        # Log parameters
        mlflow_manager.log_params({"learning_rate": 0.001, "batch_size": 64})

        # Log metrics
        mlflow_manager.log_metrics({"loss": 0.5, "accuracy": 0.95}, step=1)

    # Automatic test experiment detection
    with mlflow_manager.start_run("test_run"):
        mlflow_manager.log_metrics({"test_metric": 1.0})

    test_run, training_run = runs_of(store, "test")
    assert (training_run.info.run_name, training_run.info.status) == ("training_run", "FINISHED")
    assert training_run.data.params == {"learning_rate": "0.001", "batch_size": "64"}
    assert training_run.data.metrics == {"loss": 0.5, "accuracy": 0.95}
    assert store.get_metric_history(training_run.info.run_id, "loss")[0].step == 1
    assert (test_run.info.run_name, test_run.data.metrics) == ("test_run", {"test_metric": 1.0})
    assert runs_of(store, "Default") == []


def test_without_a_run_it_warns_and_logs_nothing(store: MlflowClient, caplog: pytest.LogCaptureFixture):
    manager = MLflowManager()
    with caplog.at_level(logging.WARNING):
        manager.log_metrics({"loss": 0.5}, step=1)
        manager.log_params({"learning_rate": 0.1})
        manager.end_run()
    assert [record.name for record in caplog.records] == ["MLflowManager", "MLflowManager"]
    assert "the metrics loss are not logged" in caplog.text
    assert store.search_runs(["0"]) == []


def test_nested_runs_are_children_and_end_run_ends_the_inner_one(store: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGENTNN_TEST_EXPERIMENT", "of-this-test")
    manager = MLflowManager()
    with manager.start_run("outer"):
        manager.start_run("inner", nested=True)
        manager.log_metrics({"depth": 2})
        manager.end_run()
        manager.log_metrics({"depth": 1})
    inner, outer = runs_of(store, "of-this-test")
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert (inner.data.metrics["depth"], outer.data.metrics["depth"]) == (2, 1)
    assert inner.info.status == outer.info.status == "FINISHED"


def test_outside_of_tests_the_run_goes_where_the_environment_says(store: MlflowClient, tmp_path: Path):
    script = (
        "from agentnn.sdk.mlflow_manager import MLflowManager\n"
        "with MLflowManager().start_run('plain'): pass\n"
        "import os; os.environ['AGENTNN_TEST'] = '1'\n"
        "with MLflowManager().start_run('in a test'): pass\n"
        "os.environ['MLFLOW_EXPERIMENT_NAME'] = 'named'\n"
        "with MLflowManager().start_run('named'): pass\n"
    )
    import os

    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path, timeout=120)
    manager = ModelManager()
    assert {run.name: run.experiment for run in manager.list_runs()} == {
        "plain": "Default",
        "in a test": "test",
        "named": "named",
    }
