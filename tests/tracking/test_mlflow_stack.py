"""MLflow's fluent calls and its autologging inside ``with start_run()`` land in the same run."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING

import mlflow
import pytest
from faults.trainers import Trainer
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils as tracking_service
from shared_store import copy_of, ended_run, shared_state

from agentnn import start_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLE = "MLFLOW_TRACKING_URI"


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(autouse=True)
def _mlflow_was_told_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tracking_service, "_tracking_uri", None)
    monkeypatch.delenv(VARIABLE, raising=False)
    yield
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own for a run."""
    return re.sub(r"\W+", "-", request.node.name)


def told() -> tuple[str | None, str | None]:
    """What MLflow and the environment take for the store."""
    return tracking_service._tracking_uri, os.environ.get(VARIABLE)


def number_of_runs(uri: str) -> int:
    return len(MlflowClient(uri).search_runs(["0"], max_results=1000))


def test_fluent_calls_land_in_our_run(uri: str, name: str, tmp_path: Path):
    before = number_of_runs(uri)
    (tmp_path / "file.txt").write_text("x", encoding="utf-8")
    with start_run(name, tracking_uri=uri) as run:
        run.log_metric("ours", 0.5)
        active = mlflow.active_run()
        assert active is not None
        assert (active.info.run_id, active.info.experiment_id) == (run.run_id, "0")
        mlflow.log_metric("theirs", 0.25, step=3)
        mlflow.log_param("their param", 1)
        mlflow.set_tag("their tag", "x")
        mlflow.log_artifact(str(tmp_path / "file.txt"))
    assert mlflow.active_run() is None
    kept = ended_run(uri, name)
    assert (kept.info.run_id, kept.info.status) == (run.run_id, "FINISHED")
    assert (kept.data.metrics, kept.data.params) == ({"ours": 0.5, "theirs": 0.25}, {"their param": "1"})
    assert kept.data.tags["their tag"] == "x"
    assert [one.path for one in MlflowClient(uri).list_artifacts(run.run_id)] == ["file.txt"]
    assert number_of_runs(uri) == before + 1


def test_autologging_lands_in_our_run(uri: str, name: str, tmp_path: Path):
    before = number_of_runs(uri)
    script = (
        "import mlflow\n"
        "from sklearn.linear_model import LinearRegression\n"
        "from agentnn import start_run\n"
        "mlflow.sklearn.autolog(log_models=False, log_datasets=False)\n"
        f"with start_run({name!r}) as run:\n"
        "    run.log_metric('ours', 0.5)\n"
        "    LinearRegression(fit_intercept=False).fit([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0])\n"
        "print(mlflow.active_run())\n"
    )
    with Trainer(script, uri=uri, cwd=tmp_path) as trainer:
        assert (trainer.wait(), trainer.lines) == (0, ["None"]), trainer.stderr
    kept = ended_run(uri, name)
    assert kept.data.params["fit_intercept"] == "False"
    assert kept.data.metrics["ours"] == 0.5
    assert kept.data.metrics["training_r2_score"] == pytest.approx(1)
    assert (kept.info.status, number_of_runs(uri)) == ("FINISHED", before + 1)


def test_the_innermost_run_gets_them_and_then_the_one_around_it(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as outer:
        with start_run(f"{name}-inner", nested=True) as inner:
            mlflow.log_metric("where", 1)
            assert told() == (uri, uri)
            assert [run.info.run_id for run in (mlflow.active_run(),) if run] == [inner.run_id]
        mlflow.log_metric("where", 2)
        assert told() == (uri, uri)
    assert outer.run_id != inner.run_id
    assert ended_run(uri, f"{name}-inner").data.metrics == {"where": 1.0}
    assert ended_run(uri, name).data.metrics == {"where": 2.0}
    assert told() == (None, None)


def test_runs_that_end_in_another_order_leave_nothing_behind(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as outer:
        inner = start_run(f"{name}-inner", nested=True)
        with inner:
            outer.end()
            active = mlflow.active_run()
            assert active is not None
            assert active.info.run_id == inner.run_id
    assert mlflow.active_run() is None


def test_a_run_of_mlflow_itself_is_a_child_of_ours(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as run, mlflow.start_run(run_name=f"{name}-mlflow", nested=True):
        mlflow.log_metric("theirs", 1)
    child = ended_run(uri, f"{name}-mlflow")
    assert (child.data.tags["mlflow.parentRunId"], child.data.metrics) == (run.run_id, {"theirs": 1.0})
    assert ended_run(uri, name).data.metrics == {}


def test_a_run_that_mlflow_ends_is_ended_by_us_all_the_same(uri: str, name: str):
    with pytest.raises(ValueError, match="boom"), start_run(name, tracking_uri=uri) as run:
        mlflow.end_run()
        run.log_metric("later", 1)
        raise ValueError("boom")
    kept = ended_run(uri, name)
    assert (kept.info.status, kept.data.metrics) == ("FAILED", {"later": 1.0})


def test_after_an_error_mlflow_has_no_active_run(uri: str, name: str):
    with pytest.raises(ValueError, match="boom"), start_run(name, tracking_uri=uri):
        raise ValueError("boom")
    assert mlflow.active_run() is None
    assert ended_run(uri, name).info.status == "FAILED"


def test_a_run_of_a_thread_is_active_in_that_thread_only(uri: str, name: str):
    seen = []

    def train() -> None:
        with start_run(name, tracking_uri=uri) as run:
            active = mlflow.active_run()
            seen.append(active is not None and active.info.run_id == run.run_id)
            entered.set()
            leave.wait(60)
        seen.append(mlflow.active_run() is None)

    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=train)
    thread.start()
    assert entered.wait(60)
    assert mlflow.active_run() is None
    leave.set()
    thread.join()
    assert seen == [True, True]


# -- where MLflow writes to --------------------------------------------------------------------------------


def test_mlflow_is_told_nothing_for_longer_than_the_run(uri: str, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking_service, "reset", lambda: None)
    for before in ((None, None), (None, "sqlite:///env.db"), ("sqlite:///told.db", "sqlite:///told.db"), (None, uri)):
        tracking_service._tracking_uri = before[0]
        if before[1] is None:
            monkeypatch.delenv(VARIABLE, raising=False)
        else:
            monkeypatch.setenv(VARIABLE, before[1])
        with start_run(name, tracking_uri=uri):
            assert mlflow.get_tracking_uri() == uri
        assert told() == before


def test_what_the_user_tells_mlflow_meanwhile_stays(uri: str, name: str):
    try:
        with start_run(name, tracking_uri=uri):
            mlflow.set_tracking_uri("sqlite:///of-user.db")
        assert told() == ("sqlite:///of-user.db", "sqlite:///of-user.db")
    finally:
        mlflow.set_tracking_uri(None)


def test_a_plain_start_leaves_mlflow_alone(uri: str, name: str):
    run = start_run(name, tracking_uri=uri)
    assert (mlflow.active_run(), told()) == (None, (None, None))
    run.end()


# -- a store that is down ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "longest_s"), [("refuse", 60.0), ("hang", 90.0)])
def test_a_store_that_is_down_does_not_hold_up_training(
    mode: str, longest_s: float, name: str, caplog: pytest.LogCaptureFixture
):
    with FaultyProxy("http://127.0.0.1:9") as proxy, caplog.at_level(logging.WARNING, "agentnn"):
        proxy.mode = mode
        started = time.monotonic()
        with start_run(name, tracking_uri=proxy.url) as run:
            took = time.monotonic() - started
            assert mlflow.active_run() is None
            assert told() == (None, None)
            run.log_metric("loss", 0.5)
            with start_run("child", nested=True) as child:
                child.log_metric("loss", 0.5)
        all_of_it = time.monotonic() - started
    assert took < longest_s
    assert all_of_it - took < 60
    assert f"what MLflow itself logs will not be in the run {name!r}" in caplog.text
