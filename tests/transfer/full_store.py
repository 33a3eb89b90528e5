"""Runs with everything that a run can have, and how MLflow's own client sees them."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, ViewType

ODD_FILES = ["odd/q?x&y.txt", "odd/a+b c;d.txt", "odd/100%.txt", "-dash"]
BEGAN = 1_767_225_600_000
ODD_KEYS = ["a/b", "with space", "val.loss", "x-1", "time:12", "ünïcode", "日本"]
TEXTS = {
    "emoji": "🚀 up",
    "lines": "a\nb\n",
    "empty": "",
    "html": "<script>&",
    "controls": "\x1b[31m\x07",
    "e": "1e-05",
}


def fill(uri: str) -> dict[str, str]:
    """Runs with everything that a run can have, made by MLflow itself; their ids by name."""
    client = MlflowClient(uri)
    experiment = client.create_experiment("curves & co", tags={"team": "quant", "mlflow.note.content": "first\nsecond"})
    made: dict[str, str] = {}

    def run(name: str, at: int, status: str | None, *, parent: str | None = None, **tags: str) -> str:
        nested = {"mlflow.parentRunId": made[parent]} if parent else {}
        info = client.create_run(experiment, BEGAN + at, {"mlflow.user": "ada", **nested, **tags}, name).info
        made[name] = info.run_id
        return str(info.run_id)

    sweep = run("sweep", 0, "FINISHED")
    for number in range(3):
        child = run(f"trial {number}", 10 - number, None, parent="sweep")
        client.log_param(child, "lr", repr(10.0**-number))
        client.log_metric(child, "loss", 1 / (number + 1), BEGAN + 50, number)
        client.set_terminated(child, "FINISHED", BEGAN + 1000 + number)
    run("grandchild", 20, None, parent="trial 1")
    client.set_terminated(made["grandchild"], "KILLED", BEGAN + 21)

    full = run("full", 30, None, **{f"tag {key}": text for key, text in TEXTS.items()})
    points = [Metric("loss", random.Random(step).gauss(0, 1) / 3, BEGAN + step, step) for step in range(1500)]
    points += [Metric(key, 0.1 + 0.2, BEGAN, step) for key in ODD_KEYS for step in (-3, 0, 2**62)]
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623155e308, 123456789.123456789]
    points += [Metric("odd", value, BEGAN + 7, step) for step, value in enumerate(odd)]
    points += [Metric("again", value, BEGAN + at, 0) for value in (2.0, 1.0, math.nan) for at in (0, 1)]
    for start in range(0, len(points), 1000):
        client.log_batch(full, metrics=points[start : start + 1000])
    for key in ODD_KEYS:
        client.log_param(full, key, f"{key} = {TEXTS['emoji']}")
    for key, text in TEXTS.items():
        client.log_param(full, f"param {key}", text)
    client.log_param(full, "long", "ä" * 6000)
    client.log_text(full, "hello", "notes/hello.txt")
    client.log_text(full, "", "empty.txt")
    for name in ODD_FILES if not uri.startswith("http") else ():  # MLflow's client would put them elsewhere there
        file = Path(client.get_run(full).info.artifact_uri.removeprefix("file://")) / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    client.log_dict(full, {"a": 1}, "deep/er/ü ñ.json")
    data = Dataset("prices", "ab12", "local", '{"uri": "/data"}', schema='{"x": 1}', profile='{"rows": 3}')
    client.log_inputs(full, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    client.set_terminated(full, "FAILED", BEGAN + 12_345)

    gone = run("gone", 40, None)
    client.log_metric(gone, "loss", 1.0, BEGAN, 0)
    client.set_terminated(gone, "FINISHED", BEGAN + 41)
    client.delete_run(gone)
    run("still running", 50, None)
    client.create_run("0", BEGAN + 60, {}, "default")
    client.set_terminated(sweep, "FINISHED", BEGAN + 99)
    return made


def seen_by_mlflow(uri: str) -> dict[str, Any]:
    """All runs as MLflow's own client gives them, by name, without what belongs to the store."""
    client = MlflowClient(uri)
    experiments = {one.experiment_id: one for one in client.search_experiments(view_type=ViewType.ALL)}
    runs = client.search_runs(list(experiments), run_view_type=ViewType.ALL)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(runs) == len({*names.values()})
    return {run.info.run_name: _plainly(client, run, names, experiments[run.info.experiment_id]) for run in runs}


def _plainly(client: MlflowClient, run: Any, names: dict[str, str], experiment: Any) -> dict[str, Any]:
    info, tags = run.info, {key: value for key, value in run.data.tags.items() if not key.startswith("agentnn.import")}
    parent = tags.pop("mlflow.parentRunId", None)
    histories = {}
    for key in run.data.metrics:
        points = client.get_metric_history(info.run_id, key)
        # Infinities are the largest number in SQL, and zero has no sign there.
        values = [max(min(point.value, 1.7976931348623157e308), -1.7976931348623157e308) + 0.0 for point in points]
        histories[key] = sorted((p.step, p.timestamp, repr(value)) for p, value in zip(points, values, strict=True))
    inputs = [
        (one.dataset.name, one.dataset.digest, one.dataset.source_type, one.dataset.source, one.dataset.schema,
         one.dataset.profile, [(tag.key, tag.value) for tag in one.tags])
        for one in (run.inputs.dataset_inputs if run.inputs else [])
    ]  # fmt: skip
    return {
        "info": (info.status, info.lifecycle_stage, info.start_time, info.end_time, info.user_id),
        "experiment": (experiment.name, experiment.tags),
        "parent": names.get(parent) if parent else None,
        "params": run.data.params,
        "tags": tags,
        "metrics": histories,
        "inputs": inputs,
        "files": sorted(files_of(client, info.run_id, "")),
    }


def files_of(client: MlflowClient, run_id: str, path: str = "") -> list[tuple[str, int]]:
    """The files of a run, and their sizes."""
    found = []
    for one in client.list_artifacts(run_id, path or None):
        found += files_of(client, run_id, one.path) if one.is_dir else [(one.path, one.file_size or 0)]
    return found
