"""F08: the server hangs, breaks connections off, or something else answers. Nobody waits for it longer than said."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from cli.support import agentnn, error_and_hint
from faults.trainers import (
    LONGEST_CALL_S,
    TIMED,
    Trainer,
    kept_run,
    kept_runs,
    kept_steps,
    wait_until,
)
from faulty_proxy import FaultyProxy
from real_stores import end_senders

from agentnn.stores.run_writer import UUID_TAG

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlflow.entities import Run
    from real_stores import MlflowServer

pytestmark = pytest.mark.slow

DEADLINE_S = 35
"""By when a command gives up, and a script that has trained ends."""

START_S = 5
"""By when a run has started, for which nobody is asked; the first answer would be waited for longer."""

IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
"""For senders of trainers, which give up sooner with it; a sender that ``run sync`` starts has our own limit."""

STEPS = 500

TRAIN = f"""
{TIMED}
started = time.perf_counter()
with start_run("hanging") as run:
    print(run.uuid)
    print(time.perf_counter() - started)
    timed(run.log_params, {{"lr": 0.1}})
    step = 0
    while step < {STEPS} or not os.path.exists("stop"):
        timed(run.log_metrics, {{"loss": 1 / (step + 1)}}, step)
        step += 1
        time.sleep(0.002)
    ending = time.perf_counter()
print(longest)
print(time.perf_counter() - ending)
"""


@pytest.fixture
def proxy(mlflow_server: MlflowServer, state_dir: Path) -> Iterator[FaultyProxy]:
    with FaultyProxy(mlflow_server.url) as proxy:
        yield proxy
        end_senders(state_dir)


@pytest.mark.parametrize("mode", ["hang", "reset", "html"])
def test_neither_training_nor_a_command_waits_longer_than_said(
    mode: str, proxy: FaultyProxy, mlflow_server: MlflowServer, tmp_path: Path
):
    proxy.mode = mode
    (tmp_path / "stop").touch()
    with Trainer(TRAIN, uri=proxy.url, cwd=tmp_path, env=IMPATIENT) as trainer:
        assert trainer.wait() == 0
        uuid, started, longest, ended = trainer.lines
        assert f"{STEPS + 3} records of the run 'hanging' wait on this machine" in trainer.stderr
    print(f"started in {started} s, longest call {longest} s, ended in {ended} s")
    assert float(started) < START_S
    assert float(longest) < LONGEST_CALL_S
    assert float(ended) < DEADLINE_S

    began = time.monotonic()
    ran = agentnn("--tracking-uri", proxy.url, "run", "sync", cwd=tmp_path)
    assert time.monotonic() - began < DEADLINE_S
    error, hint = error_and_hint(ran.stderr)
    assert ran.returncode == 4
    assert f"{STEPS + 3} records of the run 'hanging' wait on this machine" in error
    assert "nothing is lost" in hint or "tracking URI" in hint

    proxy.mode = "pass"
    assert agentnn("--tracking-uri", proxy.url, "run", "sync", cwd=tmp_path).returncode == 0
    run = kept_run(mlflow_server.url, uuid)
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
    assert kept_steps(mlflow_server.url, run.info.run_id, "loss") == list(range(STEPS))


class HoldingProxy(FaultyProxy):
    """Keeps the first request to each of some paths back until they are all let go; clients give up on them before."""

    def __init__(self, target: str, *paths: str) -> None:
        super().__init__(target)
        self._paths = set(paths)
        self.let_go = threading.Event()

    def count(self, part: str) -> int:
        """How many requests to a path were seen."""
        return sum(part in request.path for request in self.requests)

    def _answer(self, client: socket.socket, mode: str, changed: threading.Event, request: bytes, path: str) -> None:
        for held in [part for part in self._paths if part in path]:
            self._paths.discard(held)
            self.let_go.wait()
        super()._answer(client, mode, changed, request, path)


def made(server: MlflowServer, trainer: Trainer) -> list[Run]:
    """The runs that were made for a trainer, the deleted ones last."""
    runs = [run for run in kept_runs(server.url) if run.data.tags.get(UUID_TAG) == trainer.lines[0]]
    return sorted(runs, key=lambda run: run.info.lifecycle_stage)


def test_a_run_that_is_made_while_the_sender_looks_whether_it_is_there_is_one_run(
    mlflow_server: MlflowServer, state_dir: Path, tmp_path: Path
):
    finish_after_a_look(mlflow_server, "runs/create", "runs/search", state_dir, tmp_path)


def test_a_batch_that_is_written_while_the_sender_looks_whether_it_is_there_is_there_once(
    start_server: Callable[[str], MlflowServer], state_dir: Path, tmp_path: Path
):
    """In a database it would be there once anyhow; this server keeps its runs in files."""
    server = start_server(str(tmp_path / "mlruns"))
    finish_after_a_look(server, "runs/log-batch", "metrics/get-history", state_dir, tmp_path)


def finish_after_a_look(server: MlflowServer, late: str, look: str, state_dir: Path, folder: Path) -> None:
    """Have one request done late, at the moment of the look that follows it; all must be there once."""
    (folder / "stop").touch()
    with (
        HoldingProxy(server.url, late, look) as proxy,
        Trainer(TRAIN, uri=proxy.url, cwd=folder, env=IMPATIENT) as trainer,
    ):
        wait_until(lambda: proxy.count(look), "the look")
        assert proxy.count(late) == 1
        proxy.let_go.set()
        assert trainer.wait() == 0, trainer.stderr
        assert agentnn("--tracking-uri", proxy.url, "run", "sync", cwd=folder).returncode == 0
        end_senders(state_dir)
    [run] = made(server, trainer)
    assert run.info.status == "FINISHED"
    assert kept_steps(server.url, run.info.run_id, "loss") == list(range(STEPS))


def test_a_run_that_is_made_after_the_sender_has_looked_and_asked_again_is_deleted_in_the_end(
    mlflow_server: MlflowServer, state_dir: Path, tmp_path: Path
):
    with (
        HoldingProxy(mlflow_server.url, "runs/create") as proxy,
        Trainer(TRAIN, uri=proxy.url, cwd=tmp_path, env=IMPATIENT) as trainer,
    ):
        wait_until(lambda: proxy.count("runs/create") == 2, "the second request")
        proxy.let_go.set()
        wait_until(lambda: len(made(mlflow_server, trainer)) == 2, "the second run")
        (tmp_path / "stop").touch()
        assert trainer.wait() == 0, trainer.stderr
        end_senders(state_dir)
    ours, twin = made(mlflow_server, trainer)
    assert (ours.info.lifecycle_stage, ours.info.status) == ("active", "FINISHED")
    assert (twin.info.lifecycle_stage, twin.data.metrics) == ("deleted", {})
