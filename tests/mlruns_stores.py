"""The stores of :mod:`generated_stores` as folders of runs, written by hand as MLflow 3.17 writes them."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from generated_stores import ExperimentSpec, RunSpec, StoreSpec

STATUSES = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}


def write_mlruns_store(folder: Path, store: StoreSpec) -> None:
    """Replace everything in a folder of runs; deleted experiments go to the trash."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / ".trash").mkdir(parents=True)
    places = {}
    for one in store.experiments:
        places[one.experiment_id] = _write_experiment(folder, one)
    for run in store.runs:
        write_mlruns_run(places[run.experiment_id] / run.run_id, run)


def write_mlruns_run(folder: Path, run: RunSpec) -> None:
    """Write the files of one run."""
    meta = {
        "artifact_uri": run.artifact_uri,
        "end_time": run.end_time,
        "entry_point_name": "",
        "experiment_id": str(run.experiment_id),
        "lifecycle_stage": run.lifecycle_stage,
        "run_id": run.run_id,
        "run_name": run.name,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": run.start_time,
        "status": STATUSES[run.status],
        "tags": [],
        "user_id": run.user,
    }
    for kind in ("metrics", "params", "artifacts"):
        (folder / kind).mkdir(parents=True)
    _write_yaml(folder, meta)
    _write_texts(folder / "params", run.params)
    _write_texts(folder / "tags", run.all_tags)
    lines = {
        key: "".join(f"{one.timestamp} {float(one.value)} {one.step}\n" for one in points)
        for key, points in run.metrics.items()
    }
    _write_texts(folder / "metrics", lines)
    for dataset in run.datasets:
        dataset_id = hashlib.md5(f"{dataset.name}{dataset.digest}".encode()).hexdigest()
        about = {"name": dataset.name, "digest": dataset.digest, "source_type": "local", "source": "{}"}
        _write_yaml(folder.parent / "datasets" / dataset_id, {**about, "schema": None, "profile": None})
        tags = {} if dataset.context is None else {"mlflow.data.context": dataset.context}
        edge = {"source_type": "DATASET", "source_id": dataset_id, "destination_type": "RUN", "tags": tags}
        input_id = hashlib.md5(f"{dataset_id}{run.run_id}".encode()).hexdigest()
        _write_yaml(folder / "inputs" / input_id, {**edge, "destination_id": dataset_id})


def _write_experiment(folder: Path, one: ExperimentSpec) -> Path:
    place = (folder if one.lifecycle_stage == "active" else folder / ".trash") / str(one.experiment_id)
    meta = {
        "artifact_location": f"/nowhere/{one.experiment_id}",
        "creation_time": one.creation_time,
        "effective_trace_archival_retention": None,
        "experiment_id": str(one.experiment_id),
        "last_update_time": one.creation_time,
        "lifecycle_stage": one.lifecycle_stage,
        "name": one.name,
        "trace_location": None,
        "workspace": "default",
    }
    _write_yaml(place, meta)
    _write_texts(place / "tags", one.tags)
    return place


def _write_yaml(folder: Path, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(content, default_flow_style=False, allow_unicode=True, Dumper=yaml.CSafeDumper)
    (folder / "meta.yaml").write_text(text, encoding="utf-8", newline="")


def _write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    for key, text in texts.items():
        file = folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
