"""Trainings that take no time, and what became of them as MLflow's own client says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import ViewType

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

TINY = """\
experiment: {name: tiny, run_name: "tiny-{time:%H%M%S%f}", tags: {project: X}}
model: {hidden_layers: [4], dropout: 0.1}
data: {features: [return_1, return_5, rsi_14], window: 1}
training: {epochs: 3, batch_size: 64, learning_rate: 0.01, seed: 7, num_threads: 1, progress: false}
"""
QUIET = ("--tracking.log_environment", "false")
"""Leaves out what asks git and the machine."""

LONG = ("--training.epochs", "120", "--training.batch_size", "16", "--training.checkpoint_every_s", "0.1")
"""Long enough to be broken off, with a state after every few epochs."""


def write_config(folder: Path, text: str = TINY, name: str = "tiny.yaml") -> str:
    """Put a configuration into a folder."""
    (folder / name).write_text(text, encoding="utf-8")
    return name


def kept_runs(uri: str, experiment: str = "tiny") -> list[Run]:
    """All runs of an experiment, the newest first."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    return list(client.search_runs([found.experiment_id], run_view_type=ViewType.ALL, max_results=1000))


def history_of(uri: str, run_id: str, key: str) -> list[tuple[int, float]]:
    """Every point of a metric: step and value, by step."""
    return sorted((point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, key))


def files_of(uri: str, run_id: str, folder: str = "") -> set[str]:
    """The paths of all files of a run."""
    client, found = MlflowClient(uri), set[str]()
    for one in client.list_artifacts(run_id, folder or None):
        found |= files_of(uri, run_id, one.path) if one.is_dir else {one.path}
    return found


def weights_of(manager: Any, run_id: str) -> dict[str, Any]:
    """The weights of the network that a run has logged, loaded without running code."""
    loaded = manager.load_model(f"runs:/{run_id}/model", trust=False)
    weights: dict[str, Any] = loaded._model_impl.network.state_dict()
    return weights
