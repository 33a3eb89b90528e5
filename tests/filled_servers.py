"""MLflow servers of any version, filled over their own REST API, and what they must answer then, in plain records."""

from __future__ import annotations

import http.client
import json
import math
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from generated_stores import NOON, StoreSpec, seeded_store

from agentnn.records import PARENT_TAG, DatasetInput, Experiment, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generated_stores import Point, RunSpec

RUNS = 60
KNOWN_IN_ALL = ("loss", "val/loss", "Sharpe ratio", "été.日本")
"""Metrics whose names MLflow 2.9 takes too; a colon it refuses."""

TEXTS = ("0.001", "1e-2", "10", "a/b \\ c", "naïve", "🚀 up", "100%", "1_00", "True")
MODEL, QUOTED_MODEL = "price net", "it's a net"
FILES = {"notes.txt": b"first line\n", "plots/loss curve.svg": b"<svg/>"}


class Filled(NamedTuple):
    """What a server holds.

    Attributes:
        url: Its address.
        experiments: All of them, by id.
        runs: All of them, in no order.
        histories: The values of each metric of each run, by step, time and value.
        with_files: The run that holds ``FILES``.
    """

    url: str
    experiments: Mapping[str, Experiment]
    runs: list[Run]
    histories: Mapping[tuple[str, str], tuple[Point, ...]]
    with_files: Run

    def visible(self, view: str = "active") -> list[Run]:
        """The runs of a view; what is in a deleted experiment is in none but that of all."""
        active = {key for key, one in self.experiments.items() if one.lifecycle_stage == "active"}
        return [
            run
            for run in self.runs
            if view == "all" or (run.lifecycle_stage == view and (view == "deleted" or run.experiment_id in active))
        ]


def request(url: str, method: str, path: str, body: bytes | None = None) -> bytes:
    """The body of a server's answer, which must be a success."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    assert answer.status == 200, (path, answer.status, said[:500])
    return said


def call(url: str, endpoint: str, method: str = "POST", /, **question: Any) -> dict[str, Any]:
    """What an endpoint of the tracking API answers."""
    said = request(url, method, f"/api/2.0/mlflow/{endpoint}", json.dumps(question).encode())
    answer: dict[str, Any] = json.loads(said)
    return answer


def fill(url: str) -> Filled:
    """Fill an empty server."""
    store = _what_every_version_takes()
    experiments = {one.experiment_id: _make_experiment(url, one.name, one.tags) for one in store.experiments}
    made: dict[str, Run] = {}
    histories: dict[tuple[str, str], tuple[Point, ...]] = {}
    for one in store.runs:
        tags = {key: made[text].run_id if key == PARENT_TAG else text for key, text in one.tags.items()}
        run = _make_run(url, replace(one, tags=tags), experiments[one.experiment_id])
        made[one.run_id] = run
        histories |= {(run.run_id, key): values for key, values in one.metrics.items()}
    deleted = {
        experiments[one.experiment_id].experiment_id for one in store.experiments if one.lifecycle_stage == "deleted"
    }
    for experiment_id in deleted:
        call(url, "experiments/delete", experiment_id=experiment_id)
    # With an experiment MLflow deletes its runs.
    runs = [replace(run, lifecycle_stage="deleted") if run.experiment_id in deleted else run for run in made.values()]
    with_files = next(run for run in runs if run.lifecycle_stage == "active")
    for path, content in FILES.items():
        request(url, "PUT", _address(with_files, path), content)
    _register(url, runs)
    every = call(url, "experiments/search", view_type="ALL", max_results=100)["experiments"]
    return Filled(url, {one["experiment_id"]: _experiment(one) for one in every}, runs, histories, with_files)


def _what_every_version_takes() -> StoreSpec:
    store = seeded_store(11, RUNS, TEXTS)
    runs = [
        replace(
            run,
            metrics={key: values for key, values in run.metrics.items() if key in KNOWN_IN_ALL},
            end_time=None if run.status in ("RUNNING", "SCHEDULED") else NOON + 500 + number,
        )
        for number, run in enumerate(store.runs)
    ]
    return StoreSpec(store.experiments, tuple(runs))


def _make_experiment(url: str, name: str, tags: Mapping[str, str]) -> Experiment:
    made = call(url, "experiments/create", name=name, tags=_texts(tags))["experiment_id"]
    return _experiment(call(url, "experiments/get", "GET", experiment_id=made)["experiment"])


def _experiment(one: Mapping[str, Any]) -> Experiment:
    return Experiment(
        one["experiment_id"], one["name"], one["lifecycle_stage"], one["artifact_location"], one["creation_time"],
        one["last_update_time"], {tag["key"]: tag["value"] for tag in one.get("tags", ())},
    )  # fmt: skip


def _make_run(url: str, one: RunSpec, experiment: Experiment) -> Run:
    made = call(
        url, "runs/create", experiment_id=experiment.experiment_id, run_name=one.name, user_id=one.user,
        start_time=one.start_time, tags=_texts(one.tags),
    )["run"]["info"]  # fmt: skip
    points = [
        {"key": key, "value": _number(point.value), "step": point.step, "timestamp": point.timestamp}
        for key, values in one.metrics.items()
        for point in values
    ]
    call(url, "runs/log-batch", run_id=made["run_id"], metrics=points, params=_texts(one.params))
    if one.datasets:
        call(url, "runs/log-inputs", run_id=made["run_id"], datasets=[_dataset(item) for item in one.datasets])
    if one.status != "RUNNING":
        end = {} if one.end_time is None else {"end_time": one.end_time}
        call(url, "runs/update", run_id=made["run_id"], status=one.status, **end)
    if one.lifecycle_stage == "deleted":
        call(url, "runs/delete", run_id=made["run_id"])
    return replace(
        one.expected(experiment.name),
        run_id=made["run_id"],
        experiment_id=experiment.experiment_id,
        artifact_uri=made["artifact_uri"],
    )


def _dataset(item: DatasetInput) -> dict[str, Any]:
    tags = [] if item.context is None else _texts({"mlflow.data.context": item.context})
    said = {"name": item.name, "digest": item.digest, "source_type": "local", "source": "{}"}
    return {"tags": tags, "dataset": said}


def _texts(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in texts.items()]


def _number(value: float) -> float | str:
    """A number as protobuf writes it in JSON; at another word MLflow 2.9 breaks off, and keeps what came before it."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else f"{'-' if value < 0 else ''}Infinity"


def _address(run: Run, path: str) -> str:
    root = str(run.artifact_uri).removeprefix("mlflow-artifacts:")
    return quote(f"/api/2.0/mlflow-artifacts/artifacts{root}/{path}")


def _register(url: str, runs: list[Run]) -> None:
    for name, count in ((MODEL, 3), (QUOTED_MODEL, 1)):
        call(url, "registered-models/create", name=name, tags=_texts({"team": "a"}), description="of prices")
        for run in runs[:count]:
            call(url, "model-versions/create", name=name, source=f"{run.artifact_uri}/model", run_id=run.run_id)
    for alias, version in (("champion", "2"), ("older", "1"), ("oldest", "1")):
        call(url, "registered-models/alias", name=MODEL, alias=alias, version=version)
