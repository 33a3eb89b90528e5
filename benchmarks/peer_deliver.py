"""Bring points into an MLflow SQLite store in one of four ways and print how long that took, as JSON.

    python benchmarks/peer_deliver.py sender 20000

Ten values a step. ``sender``: agentnn, whose sender is there already; ``sender-start``: the same with the start of the
run and of the sender; ``log_batch``: ``MlflowClient.log_batch`` with 1000 points a call; ``log_metrics``:
``mlflow.log_metrics`` at every step. The clock runs from the first call until the last point is in the store.
"""

from __future__ import annotations

import json
import random
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from trackers import PROJECT, STORE, TRACKERS, keys

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES, BATCH = 10, 1000
KEYS = keys(VALUES)


def steps_of(points: int) -> list[dict[str, float]]:
    """Make the values of all steps beforehand, the same for every way."""
    seeded = random.Random(0)
    return [{key: seeded.random() for key in KEYS} for _ in range(points // VALUES)]


def by_sender(steps: list[dict[str, float]]) -> float:
    """Log all steps, then wait for the cursor to have moved past them."""
    with TRACKERS["agentnn"].start(Path.cwd()) as session:
        session.log({"warm_up": 0.0}, 0)
        session.flush()
        began = time.perf_counter()
        for step, values in enumerate(steps):
            session.log(values, step)
        session.flush()
        return time.perf_counter() - began


def by_sender_from_its_start(steps: list[dict[str, float]]) -> float:
    """The same, with everything that has to happen before."""
    began = time.perf_counter()
    with TRACKERS["agentnn"].start(Path.cwd()) as session:
        for step, values in enumerate(steps):
            session.log(values, step)
        session.flush()
        return time.perf_counter() - began


def by_batches(steps: list[dict[str, float]]) -> float:
    """Send batches as large as a call may be, from the process that has the values."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(f"sqlite:///{Path.cwd() / STORE}")
    run_id = client.create_run(client.create_experiment(PROJECT)).info.run_id
    client.log_batch(run_id, metrics=[Metric("warm_up", 0.0, 0, 0)])
    began = time.perf_counter()
    now = time.time_ns() // 1_000_000
    points = [Metric(key, value, now, step) for step, values in enumerate(steps) for key, value in values.items()]
    for first in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[first : first + BATCH])
    return time.perf_counter() - began


def by_calls(steps: list[dict[str, float]]) -> float:
    """Make one call a step."""
    with TRACKERS["mlflow"].start(Path.cwd()) as session:
        session.log({"warm_up": 0.0}, 0)
        began = time.perf_counter()
        for step, values in enumerate(steps):
            session.log(values, step)
        return time.perf_counter() - began


WAYS: dict[str, Callable[[list[dict[str, float]]], float]] = {
    "sender": by_sender,
    "sender-start": by_sender_from_its_start,
    "log_batch": by_batches,
    "log_metrics": by_calls,
}


def main() -> None:
    """Measure one way."""
    steps = steps_of(int(sys.argv[2]))
    with redirect_stdout(sys.stderr):
        took = WAYS[sys.argv[1]](steps)
    print(json.dumps({"took": took, "logged": len(steps) * VALUES}))


if __name__ == "__main__":
    main()
