"""F02: eight trainers on one SQLite store. One sender serves them, and no row is lost."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_run, kept_runs, sender_pid
from mlflow import MlflowClient

if TYPE_CHECKING:
    from pathlib import Path

TRAINERS, STEPS = 8, 500

TRAIN = f"""
import sys
from agentnn import start_run

number = int(sys.argv[1])
with start_run(f"trainer-{{number}}", strict=True) as run:
    print(run.uuid)
    for step in range({STEPS}):
        run.log_metrics({{"loss": number + 1 / (step + 1), "same": 1.0}}, step)
"""


@pytest.mark.slow
def test_one_sender_delivers_every_point_of_eight_trainers(uri: str, tmp_path: Path):
    pids = set()
    with ExitStack() as stack:
        trainers = [stack.enter_context(Trainer(TRAIN, str(n), uri=uri, cwd=tmp_path)) for n in range(TRAINERS)]
        while any(trainer.process.poll() is None for trainer in trainers):
            pids.add(sender_pid(uri))
        assert [(trainer.wait(), trainer.stderr) for trainer in trainers] == [(0, "")] * TRAINERS
    assert len(pids - {0}) == 1
    assert len(kept_runs(uri)) == TRAINERS
    client = MlflowClient(uri)
    for number, trainer in enumerate(trainers):
        run = kept_run(uri, *trainer.lines)
        assert (run.info.run_name, run.info.status) == (f"trainer-{number}", "FINISHED")
        points = client.get_metric_history(run.info.run_id, "loss")
        assert sorted((point.step, point.value) for point in points) == [
            (step, number + 1 / (step + 1)) for step in range(STEPS)
        ]
        assert len(client.get_metric_history(run.info.run_id, "same")) == STEPS
