"""Made-up runs for the pictures of the documentation: always the same, and nothing of them is in any store."""

from __future__ import annotations

import datetime
import math
import random
from typing import TYPE_CHECKING

from agentnn import __version__
from agentnn.conventions import MetricConvention, MetricConventions
from agentnn.records import PARENT_TAG, Metric, Run
from agentnn.reporting.comparison import comparison_report
from agentnn.reporting.curves import curve_of
from agentnn.reporting.directions import Directions
from agentnn.reporting.equity import equity_of_table
from agentnn.reporting.files import Files
from agentnn.reporting.gather import ComparisonFacts, Origin, StudyFacts, TrainingFacts
from agentnn.reporting.json_form import sealed
from agentnn.reporting.study import study_report
from agentnn.reporting.training import training_report
from agentnn.reporting.trials import objective_of, trials_of
from agentnn.tracking.backtests.backtest_results import COMPUTED_TAG
from agentnn.tracking.study_tags import OBJECTIVE_TAG, TRIAL_NUMBER_TAG, TRIAL_STATE_TAG
from agentnn.values.tabular import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentnn.reporting.curves import Curve
    from agentnn.reporting.document import Report

STORE = "sqlite:///mlflow.db"
FEATURES = ("return_1d", "return_5d", "volatility_20d", "volume_z", "rsi_14", "spread", "weekday", "gap")
CONVENTIONS = MetricConventions(
    {
        "sharpe_ratio": MetricConvention("max", digits=2, convention="252 periods a year, no risk-free rate"),
        "total_return": MetricConvention("max", "fraction", 1),
        "max_drawdown": MetricConvention("max", "fraction", 1),
        "val_loss": MetricConvention("min"),
        "directional_accuracy": MetricConvention("max", "fraction", 1),
    }
)
START = int(datetime.datetime(2026, 3, 2, 8, 15, tzinfo=datetime.UTC).timestamp()) * 1000


def reports() -> dict[str, Report]:
    """A report of each kind."""
    return {"training": training(), "study": study(), "comparison": comparison()}


def training() -> Report:
    """One LSTM, with everything that a run can log."""
    noise = random.Random(4)
    epochs = 80
    curves = {
        "train_loss": [0.92 * math.exp(-step / 14) + 0.118 + noise.gauss(0, 0.008) for step in range(epochs)],
        "val_loss": [
            0.95 * math.exp(-step / 15) + 0.158 + max(0, step - 52) * 0.0009 + noise.gauss(0, 0.016)
            for step in range(epochs)
        ],
        "directional_accuracy": [
            0.5 + 0.071 * (1 - math.exp(-step / 20)) + noise.gauss(0, 0.006) for step in range(epochs)
        ],
        "learning_rate": [0.003 * 0.5 * (1 + math.cos(math.pi * step / epochs)) + 1e-5 for step in range(epochs)],
    }
    days, values = _portfolio(noise, 756, 0.00085, 0.0092)
    params = {
        "data.symbols": "['GOOG']",
        "data.window": "32",
        "model.cell": "lstm",
        "model.hidden_layers": "[64, 32]",
        "model.dropout": "0.15",
        "training.batch_size": "64",
        "training.epochs": str(epochs),
        "training.learning_rate": "0.003",
        "training.optimizer": "adamw",
        "training.seed": "7",
        "training.weight_decay": "0.0001",
        "training.early_stopping.patience": "20",
    }
    metrics = {key: points[-1] for key, points in curves.items()} | {
        "sharpe_ratio": 1.4127,
        "total_return": values[-1] / values[0] - 1,
        "max_drawdown": _deepest(values),
        "win_rate": 0.541,
        "profit_factor": 1.38,
        "model_parameters": 31937.0,
        "model_trainable_parameters": 31937.0,
    }
    run = _run(
        1,
        "lstm-64-32",
        metrics,
        params,
        minutes=12.4,
        tags={
            "project": "TradingBot",
            "agentnn.config.overrides": '["--training.learning_rate", "0.003"]',
            "mlflow.source.git.commit": "6f1c2a9e4b7d8035aa41c9d2e8f30b57c4a61d90",
            COMPUTED_TAG: "total_return, max_drawdown, win_rate",
        },
    )
    return _sealed(training_report(TrainingFacts(_origin([run]), run, _curves(curves), _files(noise, days, values))))


def study() -> Report:
    """A search of 64 trials, some of them pruned, one failed."""
    noise = random.Random(12)
    parent = _run(100, "lstm-search", {}, {}, tags={OBJECTIVE_TAG: "min val_loss"}, minutes=96)
    runs, curves, free = [], {}, [0.0, 0.0, 0.0]
    for number in range(64):
        focus = min(number / 40, 1) * 0.75
        rate = 10 ** (noise.uniform(-5, -1.3) * (1 - focus) + noise.gauss(-2.75, 0.3) * focus)
        dropout = min(max(noise.uniform(0, 0.5) * (1 - focus) + noise.gauss(0.16, 0.06) * focus, 0), 0.5)
        layers, cell = noise.choice((1, 2, 3)), noise.choice(("lstm", "gru", "gru", "mlp"))
        hidden = noise.choice((16, 32, 64, 128))
        value = 0.149 + 0.035 * (math.log10(rate) + 2.75) ** 2 + 0.45 * (dropout - 0.16) ** 2 + noise.gauss(0, 0.006)
        value += {"lstm": 0.004, "gru": 0.0, "mlp": 0.03}[cell] + 0.004 * abs(layers - 2) + 0.00012 * abs(hidden - 64)
        state = "failed" if number == 17 else "pruned" if value > 0.27 and number > 8 else "complete"
        steps = noise.randint(4, 14) if state != "complete" else 40
        lasts = steps / 40 * noise.uniform(3.2, 4.6)
        worker = free.index(min(free))
        started, free[worker] = free[worker], free[worker] + lasts
        run = _run(
            101 + number,
            f"trial-{number}",
            {} if state == "failed" else {"val_loss": value},
            {
                "learning_rate": f"{rate:.6g}",
                "dropout": f"{dropout:.4g}",
                "hidden": str(hidden),
                "layers": str(layers),
                "cell": cell,
            },
            tags={PARENT_TAG: parent.run_id, TRIAL_NUMBER_TAG: str(number), TRIAL_STATE_TAG: state},
            after=started,
            minutes=lasts,
            status="FAILED" if state == "failed" else "FINISHED",
        )
        runs.append(run)
        points = [value + 0.6 * math.exp(-step / 6) + noise.gauss(0, 0.004) for step in range(steps)]
        curves[run.run_id] = _curves({"val_loss": points})["val_loss"]
    origin = _origin(runs)
    objective = objective_of(parent, runs, origin.directions)
    trials, attempts = trials_of(runs, objective, parent)
    importance = {"learning_rate": 0.61, "cell": 0.19, "dropout": 0.11, "layers": 0.05, "hidden": 0.04}
    files = Files(importance={"": importance})
    return _sealed(study_report(StudyFacts(origin, parent, objective, None, tuple(trials), 0, attempts, curves, files)))


def comparison() -> Report:
    """Four models with three seeds each, beside a linear baseline."""
    noise = random.Random(9)
    models = {"linear": (0.231, 0.72), "mlp": (0.188, 1.02), "gru": (0.163, 1.36), "lstm": (0.168, 1.29)}
    runs, curves, equity = [], {}, {}
    for number, (model, seed) in enumerate((model, seed) for model in models for seed in (1, 2, 3)):
        loss, sharpe = (
            base + noise.gauss(0, spread) for base, spread in zip(models[model], (0.005, 0.09), strict=True)
        )
        drift = sharpe * 0.0096 / math.sqrt(252)
        days, values = _portfolio(noise, 504, drift, 0.0096)
        run = _run(
            200 + number,
            f"{model}-{seed}",
            {
                "val_loss": loss,
                "sharpe_ratio": sharpe,
                "total_return": values[-1] / values[0] - 1,
                "max_drawdown": _deepest(values),
                "directional_accuracy": 0.5 + sharpe * 0.031 + noise.gauss(0, 0.004),
            },
            {
                "model": model,
                "seed": str(seed),
                "learning_rate": {"linear": "0.01", "mlp": "0.003"}.get(model, "0.001"),
                "batch_size": "64",
            },
            after=number * 9,
            minutes={"linear": 0.8, "mlp": 3.1, "gru": 7.4, "lstm": 8.2}[model],
        )
        runs.append(run)
        pace = {"linear": 5, "mlp": 9, "gru": 13, "lstm": 15}[model]
        points = [loss + 0.7 * math.exp(-step / pace) + noise.gauss(0, 0.006) for step in range(60)]
        curves[run.run_id] = _curves({"val_loss": [*points[:-1], loss]})
        equity[run.run_id] = equity_of_table(_table(days, values))
    facts = ComparisonFacts(
        _origin(runs), tuple(runs), runs[0].run_id, "sharpe_ratio", tuple(run.run_id for run in runs), curves, equity
    )
    return _sealed(comparison_report(facts))


def _run(
    number: int,
    name: str,
    metrics: dict[str, float],
    params: dict[str, str],
    *,
    tags: dict[str, str] | None = None,
    after: float = 0,
    minutes: float = 1,
    status: str = "FINISHED",
) -> Run:
    start = START + round(after * 60_000)
    return Run(
        random.Random(number).randbytes(16).hex(),
        name,
        "1",
        "goog-daily",
        status,
        "active",
        start,
        start + round(minutes * 60_000),
        "ada",
        None,
        metrics,
        params,
        tags or {},
    )


def _origin(runs: Sequence[Run]) -> Origin:
    return Origin(STORE, Directions(CONVENTIONS, runs))


def _sealed(report: Report) -> Report:
    return sealed(report, __version__)


def _curves(values: dict[str, list[float]]) -> dict[str, Curve]:
    return {
        key: curve_of([Metric(key, value, step, START + step * 9000) for step, value in enumerate(points)], 1000)
        for key, points in values.items()
    }


def _portfolio(noise: random.Random, count: int, drift: float, spread: float) -> tuple[list[str], list[float]]:
    """Weekdays, and what a portfolio was worth on them."""
    values, value = [], 100_000.0
    for _ in range(count):
        values.append(value)
        value *= 1 + noise.gauss(drift, spread)
    return [day.isoformat() for day, _ in zip(_weekdays(), range(count), strict=False)], values


def _weekdays() -> Iterator[datetime.date]:
    day = datetime.date(2023, 1, 2)
    while True:
        if day.weekday() < 5:
            yield day
        day += datetime.timedelta(days=1)


def _deepest(values: Sequence[float]) -> float:
    peak, deepest = values[0], 0.0
    for value in values:
        peak = max(peak, value)
        deepest = min(deepest, value / peak - 1)
    return deepest


def _table(days: Sequence[str], values: Sequence[float]) -> Table:
    return Table(("date", "value"), tuple((day, repr(value)) for day, value in zip(days, values, strict=True)))


def _files(noise: random.Random, days: Sequence[str], values: Sequence[float]) -> Files:
    """The files that agentnn's own loggers would have written."""
    weights = sorted((noise.expovariate(14) for _ in FEATURES), reverse=True)
    importance = [
        {"feature": name, "importance": round(weight, 4), "std": round(weight * 0.12 + 0.002, 4)}
        for name, weight in zip(FEATURES, weights, strict=True)
    ]
    described = [
        {
            "name": name,
            "count": 1047,
            "missing": 0,
            "infinite": 0,
            "unique": 1031,
            "mean": noise.gauss(0, 0.02),
            "std": noise.uniform(0.8, 1.2),
            "min": -noise.uniform(3, 5),
            "p50": noise.gauss(0, 0.03),
            "max": noise.uniform(3, 6),
        }
        for name in FEATURES
    ]
    actual = [noise.gauss(0, 1) for _ in range(300)]
    predicted = [value * 0.55 + noise.gauss(0, 0.45) for value in actual]
    trades = tuple(
        (
            days[place * 9],
            days[place * 9 + noise.randint(1, 8)],
            str(noise.choice((-10, 10, 20))),
            f"{noise.gauss(120, 700):.2f}",
        )
        for place in range(80)
    )
    summary = (
        "Layer (type)            Output shape      Params\n"
        "================================================\n"
        "lstm  LSTM(8, 64)       [64, 32, 64]      18,944\n"
        "lstm2 LSTM(64, 32)      [64, 32, 32]      12,544\n"
        "drop  Dropout(0.15)     [64, 32]               0\n"
        "head  Linear(32, 1)     [64, 1]               33\n"
        "================================================"
    )
    return Files(
        data={"data": {"inputs": {"rows": 1047, "features": 8, "looked_at": 1047, "distributions": described}}},
        importance={"importance": {"method": "permutation", "score": "r2", "features": importance}},
        environment={"environment": {"python": "3.11.2", "platform": "Linux-6.1-x86_64", "cpus": 16}},
        predictions={
            "predictions": Table(
                ("actual", "predicted"),
                tuple((repr(one), repr(other)) for one, other in zip(actual, predicted, strict=True)),
            )
        },
        trades={"backtest": Table(("EntryTime", "ExitTime", "Size", "PnL"), trades)},
        portfolio={"backtest": _table(days, values)},
        summaries={"model_summary.txt": summary},
        packages={"environment": "agentnn==0.1.0\nmlflow==3.17.2\nnumpy==2.4.1\ntorch==2.11.0"},
    )
