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
from real_stores import PROXIED, MlflowServer, copy_sqlite_store, end_senders

from agentnn.stores.mlflow_writer import UUID_TAG

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

DEADLINE_S = 35
"""By when a command gives up, and a script that has trained ends."""

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
    with Trainer(TRAIN, uri=proxy.url, cwd=tmp_path) as trainer:
        assert trainer.wait() == 0
        uuid, started, longest, ended = trainer.lines
        assert f"{STEPS + 3} records of the run 'hanging' wait on this machine" in trainer.stderr
    print(f"started in {started} s, longest call {longest} s, ended in {ended} s")
    assert float(started) < 1
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


@pytest.fixture(params=["sqlite", "mlruns"])
def server(
    request: pytest.FixtureRequest, start_server: Callable[[str], MlflowServer], tmp_path: Path, template_database: Path
) -> MlflowServer:
    """A server that keeps its runs in a database, which drops a point that it has, or in files, which don't."""
    if request.param == "sqlite":
        return start_server(copy_sqlite_store(template_database, tmp_path / "mlflow.db", PROXIED))
    return start_server(str(tmp_path / "mlruns"))


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


@pytest.mark.parametrize(
    ("late", "look"), [("runs/create", "runs/search"), ("runs/log-batch", "metrics/get-history")], ids=["run", "batch"]
)
def test_what_is_done_while_the_sender_looks_whether_it_was_done_is_done_once(
    late: str, look: str, server: MlflowServer, state_dir: Path, tmp_path: Path
):
    (tmp_path / "stop").touch()
    with HoldingProxy(server.url, late, look) as proxy, Trainer(TRAIN, uri=proxy.url, cwd=tmp_path) as trainer:
        wait_until(lambda: proxy.count(look), "the look")
        assert proxy.count(late) == 1
        proxy.let_go.set()
        assert trainer.wait() == 0, trainer.stderr
        assert agentnn("--tracking-uri", proxy.url, "run", "sync", cwd=tmp_path).returncode == 0
        end_senders(state_dir)
    [run] = kept_runs(server.url)
    assert (run.data.tags[UUID_TAG], run.info.status) == (trainer.lines[0], "FINISHED")
    assert kept_steps(server.url, run.info.run_id, "loss") == list(range(STEPS))


def test_a_run_that_is_made_after_the_sender_has_looked_and_asked_again_is_deleted_in_the_end(
    server: MlflowServer, state_dir: Path, tmp_path: Path
):
    with HoldingProxy(server.url, "runs/create") as proxy, Trainer(TRAIN, uri=proxy.url, cwd=tmp_path) as trainer:
        wait_until(lambda: proxy.count("runs/create") == 2, "the second request")
        proxy.let_go.set()
        wait_until(lambda: len(kept_runs(server.url)) == 2, "the second run")
        (tmp_path / "stop").touch()
        assert trainer.wait() == 0, trainer.stderr
        end_senders(state_dir)
    runs = sorted(kept_runs(server.url), key=lambda run: run.info.lifecycle_stage)
    assert [run.info.lifecycle_stage for run in runs] == ["active", "deleted"]
    assert [run.info.status for run in runs] == ["FINISHED", "RUNNING"]
    assert runs[1].data.metrics == {}
    assert {run.data.tags[UUID_TAG] for run in runs} == {trainer.lines[0]}
