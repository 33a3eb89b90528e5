"""``agentnn run best --aggregate`` on a server: whole processes, their questions, Ctrl-C, the line of progress."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from cli.support import EXECUTABLE, environment, in_process
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from mlflow.entities import Metric

from agentnn.cli import reading_progress
from agentnn.cli.reading_progress import showing_reading
from agentnn.stores.progress import tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from real_stores import MlflowServer

ENDED = 1_700_000_000_000
RUNS = 30


@pytest.fixture(scope="module")
def experiment(mlflow_server: MlflowServer, _server_database: Path) -> Iterator[str]:
    """Runs whose losses went up and down, on the session's server; the greatest of all is 29.5, of the run r29."""
    client = MlflowClient(f"sqlite:///{_server_database}")
    name = f"histories-{time.monotonic_ns()}"
    experiment_id = client.create_experiment(name)
    for number in range(RUNS):
        run_id = client.create_run(experiment_id, start_time=ENDED - 5000, run_name=f"r{number}").info.run_id
        values = (0.0, number + 0.5, 1.0)
        client.log_batch(run_id, [Metric("loss", value, ENDED, step) for step, value in enumerate(values)])
        client.set_terminated(run_id, end_time=ENDED)
    yield name
    client.delete_experiment(experiment_id)


@pytest.fixture
def proxy(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with FaultyProxy(mlflow_server.url) as standing_before:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", standing_before.url)
        yield standing_before


def histories_asked(proxy: FaultyProxy) -> int:
    asked = sum("get-history" in request.path for request in proxy.requests)
    proxy.requests.clear()
    return asked


def test_a_second_question_asks_for_no_history_unless_it_is_to(
    experiment: str, proxy: FaultyProxy, state_dir: Path
) -> None:
    question = ("run", "best", "-m", "loss", "-e", experiment, "--aggregate", "max", "-o", "tsv", "--columns", "name")
    first = in_process(*question, "--no-cache")
    assert (first.returncode, first.stdout) == (0, "name\nr29\n")
    assert histories_asked(proxy)
    assert not (state_dir / "cache").exists()
    assert in_process(*question).stdout == first.stdout
    assert histories_asked(proxy)
    again = in_process(*question)
    assert (again.stdout, again.stderr) == (first.stdout, first.stderr)
    assert not histories_asked(proxy)
    other = in_process("run", "best", "-m", "loss", "-e", experiment, "--aggregate", "mean", "-o", "json")
    assert '"value": 10.166666666666666' in other.stdout
    assert not histories_asked(proxy)
    in_process(*question, "--no-cache")
    assert histories_asked(proxy)


def test_ctrl_c_ends_it_at_once(experiment: str, proxy: FaultyProxy) -> None:
    command = ("run", "best", "-m", "loss", "-e", experiment, "--mode", "min", "--aggregate", "min")
    proxy.mode = "slow:1"
    process = subprocess.Popen(
        [str(EXECUTABLE), *command],
        env=environment({"MLFLOW_TRACKING_URI": proxy.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any("get-history" in request.path for request in proxy.requests):
        assert process.poll() is None
        time.sleep(0.02)
    proxy.mode = "hang"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_progress, "_PATIENCE_S", 0)
    monkeypatch.setattr(reading_progress, "_SPACING_S", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with showing_reading():
        tell("reading histories", 1200, 10_000)
        tell("reading histories", 10_000, 10_000)
    tell("reading histories", 1, 2)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    first, last = "reading histories of 10,000 runs: 12 %", "reading histories of 10,000 runs: 100 %"
    assert list(dict.fromkeys(part for part in shown.split("\r") if part.strip())) == [first, last]
    assert shown.endswith("\r" + " " * len(last) + "\r")


def test_nothing_is_shown_elsewhere_or_of_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with showing_reading():
            tell("reading histories", 1, 2)
        assert stream.getvalue() == ""
