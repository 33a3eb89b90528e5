"""The examples of the MLflow Logger's documentation, with only the import prefix changed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from agentnn import MLflowLogger, ModelManager
from agentnn.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient


@pytest.fixture
def logger(store: MlflowClient) -> Iterator[MLflowLogger]:
    logger = MLflowLogger("trading_experiment")
    yield logger
    logger.end_run()


def test_the_examples_of_the_document(store: MlflowClient, logger: MLflowLogger):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    trades_list = [
        {"date": "2024-01-02", "symbol": "GOOG", "quantity": 10, "price": 100.5},
        {"date": "2024-01-05", "symbol": "GOOG", "quantity": -10, "price": 104.25},
    ]
    values_list = [10_000.0, 10_020.5, 10_037.5, 10_012.25]

    # Start run
    logger.start_run("training_001")

    # Log parameters and metrics
    logger.log_params({"learning_rate": 0.001, "batch_size": 64})
    logger.log_metrics({"loss": 0.5, "accuracy": 0.95}, step=1)

    # Log model
    logger.log_model(model, "model")

    # End run
    logger.end_run()

    # Log backtest results
    logger.log_backtest_results(
        {
            "trades": trades_list,
            "portfolio_values": values_list,
            "metrics": {"sharpe_ratio": 1.5, "max_drawdown": 0.2},
        }
    )

    # Get best run
    best_run = logger.get_best_run(metric_name="sharpe_ratio", mode="max")

    experiment = store.get_experiment_by_name("trading_experiment")
    assert logger.experiment.experiment_id == experiment.experiment_id
    backtest, training = store.search_runs([experiment.experiment_id])
    assert (training.info.run_name, training.info.status) == ("training_001", "FINISHED")
    assert training.data.params == {"learning_rate": "0.001", "batch_size": "64"}
    assert training.data.metrics == {"loss": 0.5, "accuracy": 0.95}
    loaded = ModelManager().load_module(f"runs:/{training.info.run_id}/model")
    example = torch.ones(2, 4)
    assert torch.equal(loaded(example), model(example))
    assert best_run is not None
    assert best_run["run_id"] == backtest.info.run_id
    assert (best_run["metrics"]["sharpe_ratio"], best_run["metrics"]["max_drawdown"]) == (1.5, 0.2)
    assert best_run["metrics"]["total_return"] == pytest.approx(12.25 / 10_000)
    assert {one.path for one in store.list_artifacts(backtest.info.run_id, "backtest")} >= {
        "backtest/trades.csv",
        "backtest/portfolio_values.csv",
        "backtest/results.json",
    }


def test_a_run_without_a_name_is_called_after_the_moment(store: MlflowClient, logger: MLflowLogger):
    with logger.start_run() as run, pytest.raises(ConflictError, match="is open already"):
        logger.start_run("another")
    assert re.fullmatch(r"run_\d{8}_\d{6}", run.name)
    assert store.get_run(run.run_id).info.run_name == run.name


def test_dicts_and_lists_among_params_become_json_and_the_callers_dict_stays(store: MlflowClient, logger: MLflowLogger):
    params = {"layers": [64, 32], "optimizer": {"name": "adam", "betas": [0.9, 0.999]}, "dropout": 0.1}
    before = json.dumps(params)
    with logger.start_run("complex") as run:
        logger.log_params(params)
        logger.log_dict({"a": {"b": [1, 2]}}, "config/all.json")
    assert json.dumps(params) == before
    stored = store.get_run(run.run_id).data.params
    assert json.loads(stored["layers"]) == params["layers"]
    assert json.loads(stored["optimizer"]) == params["optimizer"]
    assert stored["dropout"] == "0.1"
    file = store.download_artifacts(run.run_id, "config/all.json")
    with open(file, encoding="utf-8") as text:  # noqa: PTH123 - MLflow gives a str
        assert json.load(text) == {"a": {"b": [1, 2]}}


def test_a_figure_is_a_picture_of_the_run(store: MlflowClient, logger: MLflowLogger):
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=(2, 1), dpi=100)
    figure.add_subplot().plot([1, 2, 3])
    with logger.start_run("drawn") as run:
        logger.log_figure(figure, "plots/loss.png")
    assert imread(store.download_artifacts(run.run_id, "plots/loss.png")).shape[:2] == (100, 200)


def test_the_best_run_is_none_where_there_is_none_and_open_runs_count(store: MlflowClient, logger: MLflowLogger):
    assert logger.get_best_run("sharpe_ratio") is None
    with logger.start_run("first"):
        logger.log_metrics({"loss": 0.5})
        assert logger.get_best_run("sharpe_ratio") is None
        best = logger.get_best_run("loss", mode="min")
    assert best is not None
    assert (best["metrics"], best["params"]) == ({"loss": 0.5}, {})
