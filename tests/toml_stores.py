"""The stores of :mod:`generated_stores` as folders of TOML runs, written by hand: the tests are of the format."""

from __future__ import annotations

import json
import math
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import tomli_w

from agentnn.records import PARENT_TAG

if TYPE_CHECKING:
    from pathlib import Path

    from generated_stores import ExperimentSpec, Point, RunSpec, StoreSpec


def write_toml_store(folder: Path, store: StoreSpec) -> None:
    """Replace everything in a folder of TOML runs; an experiment's id is its folder, a run's likewise."""
    if folder.exists():
        shutil.rmtree(folder)
    for experiment in store.experiments:
        _write_project(folder / str(experiment.experiment_id), experiment)
    for run in store.runs:
        write_toml_run(folder / str(run.experiment_id) / run.run_id, run)


def write_toml_run(folder: Path, run: RunSpec) -> None:
    """Write the files of one run."""
    folder.mkdir(parents=True)
    tags = run.all_tags
    meta = {
        "run_id": run.run_id,
        "name": run.name,
        "status": run.status,
        "lifecycle_stage": "deleted" if run.lifecycle_stage == "deleted" else None,
        "created_at": _moment(run.start_time),
        "ended_at": _moment(run.end_time),
        "user": run.user,
        "parent_run_id": tags.pop(PARENT_TAG, None),
        "tags": tags,
        "datasets": [_present(one._asdict()) for one in run.datasets],
    }
    (folder / "config.toml").write_text(tomli_w.dumps({**run.params, "_meta": _present(meta)}), newline="")
    latest = {key: max(points, key=lambda one: one.place).value for key, points in run.metrics.items()}
    if latest:
        (folder / "metrics.toml").write_text(tomli_w.dumps(latest), newline="")
        lines = [_line(key, point) for key, points in run.metrics.items() for point in points]
        (folder / "history.jsonl").write_text("".join(lines))


def _write_project(folder: Path, experiment: ExperimentSpec) -> None:
    folder.mkdir(parents=True)
    said = {
        "name": experiment.name,
        "lifecycle_stage": "deleted" if experiment.lifecycle_stage == "deleted" else None,
        "created_at": _moment(experiment.creation_time),
        "updated_at": _moment(experiment.creation_time),
        "tags": dict(experiment.tags),
    }
    (folder / "project.toml").write_text(tomli_w.dumps(_present(said)), newline="")


def _line(key: str, point: Point) -> str:
    words = {math.inf: "Infinity", -math.inf: "-Infinity"}
    value = "NaN" if math.isnan(point.value) else words.get(point.value, point.value)
    return json.dumps({"step": point.step, "time": point.timestamp, "metrics": {key: value}}) + "\n"


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def _present(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}
