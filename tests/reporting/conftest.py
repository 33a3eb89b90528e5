"""Stores to report on: one with a run that logged everything, for real, and small ones whose every value is known."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from cli.support import Rows
from real_stores import end_senders

from agentnn.sdk.reporting import ExperimentReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "hunter2-hunter2"
FEATURES = ("close", "volume", "range", "noise")
EPOCHS = 40


class Logged(NamedTuple):
    """A store with one run that logged everything that there is to log.

    Attributes:
        uri: The store.
        folder: What it lies in.
        run_id: The run.
        actual, predicted: Of its predictions.
        equity: The values of its portfolio.
        dates: Their dates, ISO 8601.
    """

    uri: str
    folder: Path
    run_id: str
    actual: np.ndarray
    predicted: np.ndarray
    equity: list[float]
    dates: list[str]


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Iterator[Logged]:
    """A run that was logged through agentnn itself, into a store of its own."""
    folder, state = tmp_path_factory.mktemp("logged"), tmp_path_factory.mktemp("logged-state")
    shutil.copyfile(template_database, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AGENTNN_STATE_DIR", str(state))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        try:
            found = _log_everything(folder)
        finally:
            end_senders(state)
    yield found


@pytest.fixture
def rows(database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Rows]:
    """Opens the empty store in the working directory, to put rows into it."""
    monkeypatch.chdir(database.parent)
    with Rows(database) as opened:
        opened.execute("DELETE FROM experiments")
        opened.experiment(0, "Default")
    return lambda: Rows(database)


@pytest.fixture
def reporter(database: Path) -> ExperimentReporter:
    """Reports on the store of ``rows``."""
    return ExperimentReporter(f"sqlite:///{database}")


def _log_everything(folder: Path) -> Logged:
    from datetime import date, timedelta

    import torch

    from agentnn import EnhancedMLflowLogger, ExperimentOrganizer
    from agentnn.tracking.backtests.backtest_results import log_backtest_results

    noise = np.random.default_rng(5)
    inputs = noise.normal(size=(300, len(FEATURES)))
    actual = inputs[:, 0] * 2 + noise.normal(size=300) * 0.1
    predicted = actual + noise.normal(size=300) * 0.3
    days = [date(2023, 1, 2) + timedelta(days=day) for day in range(700)]
    days = [day for day in days if day.weekday() < 5]
    equity = (100 * np.cumprod(1 + noise.normal(0.0006, 0.01, len(days)))).tolist()
    trades = [
        {"EntryTime": days[5 * one], "ExitTime": days[5 * one + 3], "Size": 10, "PnL": float(noise.normal(1, 10))}
        for one in range(60)
    ]
    config = {
        "experiment": {"name": "reports", "tags": {"project": "TradingBot"}},
        "training": {"learning_rate": 0.003, "epochs": EPOCHS},
        "broker": {"api_key": SECRET},
    }
    logger = EnhancedMLflowLogger()
    with ExperimentOrganizer(config).start_run("lstm-small") as run:
        logger.log_config(config)
        logger.log_environment_details(diff=False)
        run.set_tag("agentnn.config.overrides", '["--training.learning_rate", "0.003"]')
        logger.log_model_summary(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1)))
        logger.log_data_characteristics(inputs, actual, name="data/train", feature_names=FEATURES)
        logger.log_data_characteristics(inputs + 1, name="data/test", feature_names=FEATURES, reference=inputs)
        for step in range(1, EPOCHS + 1):
            late = 0.01 * max(0, step - 30)
            losses = {"train_loss": math.exp(-step / 10), "val_loss": math.exp(-step / 12) + 0.05 + late}
            logger.log_metrics(losses, step)
        logger.log_predictions(actual, predicted, prefix="test_")
        logger.log_feature_importance(lambda one: one[:, 0] * 2, inputs, actual, feature_names=FEATURES)
        values = [{"date": day, "value": value} for day, value in zip(days, equity, strict=True)]
        log_backtest_results(run, {"portfolio_values": values, "trades": trades, "metrics": {"edge": 0.25}})
        run_id = run.run_id
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return Logged(uri, folder, run_id, actual, predicted, equity, [day.isoformat() for day in days])
