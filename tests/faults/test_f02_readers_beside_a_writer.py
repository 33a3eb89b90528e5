"""F02, F03: eight readers beside a writer of one SQLite store. Nobody sees an error, and what is read is whole."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from cli.support import environment

from agentnn import ModelManager

if TYPE_CHECKING:
    from pathlib import Path

READERS, WRITTEN = 8, 20

WRITE = f"""
import sys
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

client = MlflowClient(sys.argv[1])
print("ready", flush=True)
input()
for number in range({WRITTEN}):
    run = client.create_run("0", run_name=f"run-{{number}}")
    pair = [Metric("a", float(number), 0, 0), Metric("b", float(-number), 0, 0)]
    client.log_batch(run.info.run_id, metrics=pair, params=[Param("lr", "0.1")])
    client.set_terminated(run.info.run_id)
"""

READ = """
import sys, threading, time
from agentnn import ModelManager
from agentnn.errors import NotFoundError

asked, last = 0, 0
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("ready", flush=True)
while not ended.is_set():
    manager = ModelManager(sys.argv[1])
    finished = manager.count_runs().get("FINISHED", 0)
    assert finished >= last, (finished, last)
    last = finished
    runs = list(manager.iter_runs(filter="status = 'FINISHED'"))
    assert len(runs) >= last and len({run.run_id for run in runs}) == len(runs)
    assert all(run.metrics["a"] == -run.metrics["b"] and run.params == {"lr": "0.1"} for run in runs)
    if runs:
        best = manager.get_best_run("a", tally=True)
        assert best.metrics["a"] == best.best.value >= runs[-1].metrics["a"]
        manager.list_runs(order_by="metrics.b", limit=5)
        manager.get_metric_history(runs[0].run_id, "a")
    asked += 1
    time.sleep(0.05)
print(asked)
"""


@pytest.mark.slow
def test_eight_readers_beside_a_writer(uri: str, tmp_path: Path):
    with ExitStack() as stack:

        def begun(script: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, uri], cwd=tmp_path, env=environment(), text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
            stack.callback(process.kill)
            return process

        writer, *readers = [begun(script) for script in (WRITE, *[READ] * READERS)]
        for process in (writer, *readers):
            assert process.stdout.readline() == "ready\n"
        _, complaint = writer.communicate("\n", timeout=120)
        assert writer.returncode == 0, complaint
        answers = [reader.communicate(timeout=120) for reader in readers]
    assert [complaint for _, complaint in answers] == [""] * READERS
    assert all(int(asked) > 1 for asked, _ in answers)
    assert ModelManager(uri).count_runs() == {"FINISHED": WRITTEN}
