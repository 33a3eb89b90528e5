"""Bring points into a run of an MLflow server in one of five ways, and print how long that took, as JSON.

    python benchmarks/peer_deliver_server.py writer 20000 http://127.0.0.1:5000

Ten values a step. ``sender``: agentnn, whose sender is there already; ``writer``: what the sender sends with, in this
process, 1000 points a call; ``log_batch``: ``MlflowClient.log_batch``, likewise; ``start``: how long ``start_run`` of
agentnn takes, and until the server has the run, with the start of the sender; ``mlflow-start``: ``mlflow.start_run``
after an import of MLflow. ``mib`` is the most memory that the process that sends had.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer_deliver import BATCH, VALUES, steps_of
from trackers import PROJECT, delivered

if TYPE_CHECKING:
    from collections.abc import Callable

Steps = list[dict[str, float]]


def by_sender(steps: Steps, url: str) -> dict[str, float]:
    """Log all steps, then wait for the cursor to have moved past them."""
    import agentnn

    with agentnn.start_run("run", experiment=PROJECT, tracking_uri=url) as run:
        run.log_metrics({"warm_up": 0.0}, 0)
        delivered(run)
        began = time.perf_counter()
        for step, values in enumerate(steps):
            run.log_metrics(values, step)
        delivered(run)
        return {"took": time.perf_counter() - began, "mib": most_memory(sender_pid())}


def by_writer(steps: Steps, url: str) -> dict[str, float]:
    """Send batches as large as a request may be over REST, from the process that has the values."""
    from agentnn.records import Metric
    from agentnn.settings import Settings
    from agentnn.stores.run_writer import open_writer

    writer = open_writer(Settings(url))
    run_id = writer.create_run(writer.ensure_experiment(PROJECT), "run", 1, {})
    return sent(steps, Metric, lambda points: writer.log_batch(run_id, points))


def by_client(steps: Steps, url: str) -> dict[str, float]:
    """Send the same with MLflow's client."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(url)
    experiment = client.get_experiment_by_name(PROJECT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(PROJECT)
    run_id = client.create_run(experiment_id).info.run_id

    def metric(key: str, value: float, step: int, timestamp: int) -> Metric:
        return Metric(key, value, timestamp, step)

    return sent(steps, metric, lambda points: client.log_batch(run_id, metrics=points))


def sent(
    steps: Steps, metric: Callable[[str, float, int, int], Any], send: Callable[[list[Any]], object]
) -> dict[str, float]:
    """Send all points in batches, after one that opens the connection."""
    now = time.time_ns() // 1_000_000
    send([metric("warm_up", 0.0, 0, now)])
    began = time.perf_counter()
    points = [metric(key, value, step, now) for step, values in enumerate(steps) for key, value in values.items()]
    for first in range(0, len(points), BATCH):
        send(points[first : first + BATCH])
    return {"took": time.perf_counter() - began, "mib": most_memory("self")}


def start(_: Steps, url: str) -> dict[str, float]:
    """Start a run, and wait until the server has it."""
    import agentnn

    began = time.perf_counter()
    with agentnn.start_run("run", experiment=PROJECT, tracking_uri=url) as run:
        started = time.perf_counter() - began
        assert run.run_id
        return {"took": started, "there": time.perf_counter() - began, "mib": most_memory(sender_pid())}


def mlflow_start(_: Steps, url: str) -> dict[str, float]:
    """Start a run with MLflow."""
    import mlflow

    began = time.perf_counter()
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment(PROJECT)
    with mlflow.start_run():
        took = time.perf_counter() - began
        return {"took": took, "there": took, "mib": most_memory("self")}


def sender_pid() -> int:
    """The process that sends what this one logs."""
    (status,) = Path.cwd().glob("state/*/sender.json")
    return int(json.loads(status.read_text(encoding="utf-8"))["pid"])


def most_memory(pid: int | str) -> float:
    """The most memory that a process had, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


WAYS: dict[str, Callable[[Steps, str], dict[str, float]]] = {
    "sender": by_sender,
    "writer": by_writer,
    "log_batch": by_client,
    "start": start,
    "mlflow-start": mlflow_start,
}


def main() -> None:
    """Measure one way."""
    way, points, url = sys.argv[1:]
    steps = steps_of(int(points))
    with redirect_stdout(sys.stderr):
        found = WAYS[way](steps, url)
    print(json.dumps({**found, "logged": 0 if way.endswith("start") else len(steps) * VALUES}))


if __name__ == "__main__":
    main()
