"""``ExperimentTracker``: a run for each update, named by the moment and the model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn import ExperimentTracker

if TYPE_CHECKING:
    from mlflow import MlflowClient


def test_updates_evaluations_and_the_best_of_them(store: MlflowClient, tmp_path: Path):
    tracker = ExperimentTracker("online")
    (tmp_path / "notes.txt").write_text("retrained on last week", encoding="utf-8")

    names = [
        tracker.log_model_update("lstm", {"window": 10}, {"val_loss": 0.5}, [tmp_path / "notes.txt"]),
        tracker.log_model_update("gru", {"window": 5}, {"val_loss": 0.25}, {"inputs": tmp_path / "notes.txt"}),
    ]
    tracker.log_evaluation_results("backtest", {"sharpe_ratio": 1.2, "by_year": {"2023": 0.8}, "note": "dry run"})

    assert [re.fullmatch(r"(lstm|gru)_\d{8}_\d{6}", name)[1] for name in names] == ["lstm", "gru"]  # type: ignore[index]
    experiment = store.get_experiment_by_name("online")
    evaluation, gru, lstm = store.search_runs([experiment.experiment_id])
    assert (lstm.data.params, lstm.data.metrics) == ({"window": "10"}, {"val_loss": 0.5})
    assert lstm.data.tags["model_type"] == "lstm"
    assert [one.path for one in store.list_artifacts(lstm.info.run_id)] == ["notes.txt"]
    assert [one.path for one in store.list_artifacts(gru.info.run_id, "inputs")] == ["inputs/notes.txt"]
    assert evaluation.data.metrics == {"backtest_sharpe_ratio": 1.2, "backtest_by_year.2023": 0.8}
    kept = Path(store.download_artifacts(evaluation.info.run_id, "evaluation/backtest.json"))
    assert json.loads(kept.read_text(encoding="utf-8"))["note"] == "dry run"
    assert tracker.get_best_run("val_loss", ascending=True)["run_id"] == gru.info.run_id  # type: ignore[index]
    assert tracker.get_best_run("val_loss")["run_id"] == lstm.info.run_id  # type: ignore[index]


def test_inside_a_run_updates_are_children_and_evaluations_belong_to_it(store: MlflowClient):
    tracker = ExperimentTracker("online")
    with tracker.start_run(model_type="tcn") as run:
        tracker.log_params({"data": {"symbol": "GOOG"}})
        tracker.log_metrics({"loss": 0.5}, step=3)
        tracker.log_model_update("tcn", {"lr": 0.1}, {"loss": 0.4})
        tracker.log_evaluation_results("validation", {"accuracy": 0.6})
    child, parent = store.search_runs([store.get_experiment_by_name("online").experiment_id])
    assert parent.info.run_id == run.run_id
    assert child.data.tags["mlflow.parentRunId"] == run.run_id
    assert parent.data.params == {"data.symbol": "GOOG"}
    assert parent.data.metrics == {"loss": 0.5, "validation_accuracy": 0.6}
