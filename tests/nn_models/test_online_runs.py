"""What an online learner records by itself, and how its run ends."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from faults.trainers import Trainer, allowed_s, store_folder, wait_until
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from shared_store import copy_of, shared_state
from torch import nn

from agentnn import current_run, start_run
from agentnn.errors import TrainingError
from agentnn.nn_models.online_learning import OnlineLearner, OnlineOptions
from agentnn.settings import Settings
from agentnn.tracking.journal.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from mlflow.entities import Run

DEADLINE_S = 5.0


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(scope="module", params=["refuse", "hang"])
def down(request: pytest.FixtureRequest, state_dir: Path) -> Iterator[str]:
    """The URI of a server that is down: it refuses connections, or takes them and says nothing."""
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = request.param
        yield proxy.url


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ended_run(uri: str, name: str) -> Run:
    """The one run with this name in any experiment, as soon as it has ended in the store."""
    client = MlflowClient(uri)

    def found() -> list[Run]:
        experiments = [one.experiment_id for one in client.search_experiments()]
        runs = client.search_runs(experiments, f"run_name = '{name}'")
        return [one for one in runs if one.info.status != "RUNNING"]

    wait_until(found, f"the end of {name}")
    [run] = found()
    return run


def learner(uri: str, name: str, **given: Any) -> OnlineLearner:
    torch.manual_seed(1)
    passed = {key: given.pop(key) for key in ("criterion", "measures", "experiment") if key in given}
    criterion = passed.pop("criterion", nn.MSELoss())
    options = OnlineOptions(**{"batch_size": 8, "log_every": 200, "learning_rate": 0.01, **given})
    return OnlineLearner(nn.Linear(3, 1), criterion, None, options, name=name, settings=Settings.load(uri), **passed)


def feed(one: OnlineLearner, count: int, shift_at: int) -> None:
    chance = np.random.default_rng(1)
    for number in range(count):
        x = chance.normal(size=3)
        one.put(x, x.sum() if number < shift_at else 5 - x.sum())
    one.drain()


def test_a_run_tells_how_the_stream_went(uri: str):
    with learner(uri, "told", put_timeout_s=60.0) as one:
        assert current_run() is one.run
        feed(one, 1000, shift_at=600)
    run = ended_run(uri, "told")
    client = MlflowClient(uri)
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "online_learning"
    wanted = {
        "batch_size": "8",
        "detector": "adwin",
        "model": "Linear",
        "parameters": "4",
        "optimizer": "Adam",
        "loss": "MSELoss",
    }
    assert wanted.items() <= run.data.params.items()
    history = client.get_metric_history(run.info.run_id, "prequential_loss")
    assert [point.step for point in history] == [200, 400, 600, 800, 1000, 1000]
    assert history[-1].value == one.metrics["prequential_loss"]
    counts = {
        "observed": 1000,
        "judged": 1000,
        "learned": 1000,
        "steps": 125,
        "dropped": 0,
        "queue_depth": 0,
        "drifts": 1,
    }
    assert {name: run.data.metrics[name] for name in counts} == counts
    [drift] = one.drifts
    [point] = client.get_metric_history(run.info.run_id, "drift")
    assert (point.step, point.value) == (drift.sample, 1.0)
    assert run.data.metrics["drift_error_after"] == drift.after > drift.before
    assert run.data.tags["last_drift"] == str(drift)
    assert "raise_learning_rate" in str(drift)


def test_a_learner_in_an_open_run_is_its_child(uri: str):
    with (
        start_run("parent", experiment="elsewhere", tracking_uri=uri) as parent,
        learner(uri, "child", background=False, experiment="mine") as one,
    ):
        feed(one, 20, shift_at=20)
    run = ended_run(uri, "child")
    assert run.data.tags["mlflow.parentRunId"] == parent.run_id
    assert MlflowClient(uri).get_experiment(run.info.experiment_id).name == "mine"


def test_without_tracking_nothing_is_recorded(state_dir: Path):
    before = sorted(state_dir.rglob("*"))
    one = OnlineLearner(nn.Linear(3, 1), nn.MSELoss(), track=False)
    with one:
        feed(one, 50, shift_at=50)
        assert current_run() is None
    assert sorted(state_dir.rglob("*")) == before


def test_an_error_of_the_callers_and_one_of_the_thread_are_in_the_run(uri: str):
    with pytest.raises(KeyError), learner(uri, "callers-error") as one:
        feed(one, 10, shift_at=10)
        raise KeyError("no price")
    run = ended_run(uri, "callers-error")
    assert (run.info.status, run.data.tags["agentnn.end_reason"]) == ("FAILED", "KeyError: 'no price'")
    assert run.data.metrics["observed"] == 10

    failing = learner(
        uri, "threads-error", criterion=lambda o, t: 1 / 0, measures={"loss": lambda o, t: (o - t).sum(dim=1)}
    )
    failing.start()
    with pytest.raises(TrainingError, match="division by zero"):
        feed(failing, 1000, shift_at=1000)
    with pytest.raises(TrainingError, match="division by zero"):
        failing.stop()
    run = ended_run(uri, "threads-error")
    assert (run.info.status, run.data.tags["agentnn.end_reason"]) == ("FAILED", "ZeroDivisionError: division by zero")
    assert run.data.metrics["judged"] == 8


def test_a_snapshot_is_named_in_the_run(uri: str, tmp_path: Path):
    with learner(uri, "snapshot") as one:
        feed(one, 20, shift_at=20)
        digest = one.snapshot(tmp_path / "state.pt")
    assert ended_run(uri, "snapshot").data.tags["snapshot_sha256"] == digest


def test_a_store_that_is_down_does_not_stop_it(down: str, caplog: pytest.LogCaptureFixture):
    with learner(down, "down") as one:
        feed(one, 300, shift_at=300)
    assert one.counts.learned == 296
    bodies = [record.body for record in read_journal(store_folder(down).run(one.run.uuid).journal) if record.body]
    [end] = [body for body in bodies if body["kind"] == "end"]
    assert end["status"] == "FINISHED"
    assert "agentnn run sync" in caplog.text


PUSHING = """
import signal, sys, threading, time
import torch
from torch import nn
torch.set_num_threads(1)
from agentnn.errors import ConflictError
from agentnn.nn_models.online_learning import OnlineLearner, OnlineOptions

def push():
    try:
        while True:
            learner.put([1.0, 2.0, 3.0], 4.0)
    except ConflictError:
        print("refused", flush=True)

def pushing():
    producer = threading.Thread(target=push, daemon=True)
    producer.start()
    while learner.counts.steps < 3:
        time.sleep(0.01)
    print(learner.run.uuid)
    print("ready", flush=True)
    time.sleep(60)

options = OnlineOptions(batch_size=8, capacity=100, snapshot_path="state.pt")
learner = OnlineLearner(nn.Linear(3, 1), nn.MSELoss(), None, options, name={name!r})
"""
FORMS = {"within": "with learner:\n    pushing()\n", "outside": "learner.start()\npushing()\n"}


def check_snapshot(folder: Path) -> int:
    again = OnlineLearner(nn.Linear(3, 1), nn.MSELoss(), None, OnlineOptions(batch_size=8), track=False)
    again.restore(folder / "state.pt")
    return again.counts.judged


def killed(code: str, uri: str, folder: Path) -> tuple[list[str], str]:
    """What a script that gets a SIGTERM prints, and what it writes to standard error."""
    with Trainer(code, uri=uri, cwd=folder) as trainer:
        trainer.wait_for_line("ready")
        began = time.monotonic()
        trainer.process.send_signal(signal.SIGTERM)
        assert trainer.wait() == 143, trainer.stderr
        assert time.monotonic() - began < allowed_s(DEADLINE_S, trainer.start_up_s)
        return trainer.lines, trainer.stderr


@pytest.mark.parametrize("form", FORMS)
def test_sigterm_while_somebody_pushes(form: str, uri: str, tmp_path: Path):
    lines, shown = killed(PUSHING.format(name=form) + FORMS[form], uri, tmp_path)
    run = ended_run(uri, form)
    assert (run.info.status, run.data.tags["agentnn.end_reason"]) == ("KILLED", "ended by SIGTERM")
    assert "refused" in lines
    assert run.data.metrics["judged"] == run.data.metrics["observed"] == check_snapshot(tmp_path)
    assert "Traceback" not in shown


def test_sigterm_with_a_store_that_hangs(tmp_path: Path):
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = "hang"
        lines, _ = killed(PUSHING.format(name="down") + FORMS["within"], proxy.url, tmp_path)
        journal = store_folder(proxy.url).run(lines[0]).journal
    bodies = [record.body for record in read_journal(journal) if record.body]
    [end] = [body for body in bodies if body["kind"] == "end"]
    assert (end["status"], end["reason"]) == ("KILLED", "ended by SIGTERM")
    last = [body["values"] for body in bodies if body["kind"] == "metrics" and "judged" in body["values"]][-1]
    assert last["judged"] == last["observed"] == check_snapshot(tmp_path)
