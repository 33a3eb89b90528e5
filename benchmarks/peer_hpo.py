"""Run hyperparameter studies and print the seconds of each, as JSON.

    python benchmarks/peer_hpo.py agentnn 0.0 20 120
    python benchmarks/peer_hpo.py by-hand 0.0 20 120
    python benchmarks/peer_hpo.py workers 0.3 2 40

The first two: the seconds that an objective computes for, then the trials of each study; the studies follow each other
in one process, after a small one that imports what there is to import. Each trial has three params, is a nested run
with these params, its value and its state, and the study is kept in a journal file; its time ends when all of that is
in the store. The third: how many workers, and the trials of one study after a small one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STORE = "mlflow.db"
SEED = 7
SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "batch_size": [16, 32, 64],
}
WARM_UP = 20
"""Enough trials for whatever a study does at its end: nothing of that is imported later."""

_STEPS = 20_000


def value_of(params: Mapping[str, Any], work_s: float) -> float:
    """Compute for so many seconds of one core, and give a value."""
    began = time.process_time()
    value = (params["learning_rate"] - 0.01) ** 2 + params["dropout"] / params["batch_size"]
    while time.process_time() - began < work_s:
        for _ in range(_STEPS):
            value += 1e-12
    return value


def by_hand(name: str, trials: int, work_s: float) -> None:
    """Bare Optuna, with the nested runs of MLflow that its documentation shows."""
    import mlflow
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / STORE}")
    mlflow.set_experiment("by-hand")

    def objective(trial: optuna.Trial) -> float:
        with mlflow.start_run(run_name=f"trial-{trial.number:04d}", nested=True):
            params = {
                "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
                "dropout": trial.suggest_float("dropout", 0.0, 0.5),
                "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
            }
            mlflow.log_params(params)
            mlflow.set_tag("trial.number", trial.number)
            value = value_of(params, work_s)
            mlflow.log_metric("val_loss", value)
            mlflow.set_tag("trial.state", "complete")
        return value

    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(f"{name}.journal")),
        sampler=optuna.samplers.TPESampler(seed=SEED),
    )
    with mlflow.start_run(run_name=name):
        study.optimize(objective, n_trials=trials)
        mlflow.log_metric("best_val_loss", study.best_value)
        mlflow.set_tag("best_trial", study.best_trial.number)


def with_agentnn(name: str, trials: int, work_s: float, workers: int = 1) -> None:
    """The same as one call."""
    from agentnn import ExperimentOrganizer
    from agentnn.training.run_hpo import run_hpo_study

    hpo = {"param_space": SPACE, "num_trials": trials, "seed": SEED, "study_name": name, "workers": workers}
    config = {"experiment": {"name": "agentnn"}, "hpo": hpo}
    organizer = ExperimentOrganizer(config, tracking_uri=f"sqlite:///{Path.cwd() / STORE}")
    result = run_hpo_study(
        config, None, None, None, None, organizer, objective=lambda trial: value_of(trial.params, work_s)
    )
    if any(one.run_id is None or one.state != "complete" for one in result.trials):
        raise SystemExit("error: a trial is not in the store")


def seconds(run: Callable[..., None], *arguments: Any) -> float:
    """Time one call."""
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def main() -> None:
    """Measure one way."""
    way, work_s, *numbers = sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:])
    if way == "workers":
        workers, trials = numbers
        with_agentnn("warm-up", WARM_UP, 0.0, workers)
        print(json.dumps({"seconds": [seconds(with_agentnn, "measured", trials, work_s, workers)]}))
        return
    run = with_agentnn if way == "agentnn" else by_hand
    run("warm-up", WARM_UP, 0.0)
    print(json.dumps({"seconds": [seconds(run, f"study-{place}", size, work_s) for place, size in enumerate(numbers)]}))


if __name__ == "__main__":
    main()
