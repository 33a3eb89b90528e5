"""F11: the store did what it was asked to, and its reply is lost. Nothing is there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults.trainers import kept_run, kept_runs, kept_steps, wait_until
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from real_stores import MlflowServer, end_senders

from agentnn import start_run
from agentnn.errors import StoreUnavailable
from agentnn.records import Metric
from agentnn.settings import Settings
from agentnn.stores.mlflow.writer import MlflowWriter
from agentnn.stores.run_writer import UUID_TAG, open_writer
from agentnn.tracking.sending.delivered import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentnn.stores.run_writer import RunWriter

pytestmark = pytest.mark.slow

STEPS = 300


@pytest.fixture(scope="module", params=["sqlite", "mlruns"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server that keeps its runs in a database, which drops a point that it has, or in files, which don't."""
    if request.param == "sqlite":
        yield request.getfixturevalue("mlflow_server")
        return
    folder = tmp_path_factory.mktemp("server")
    with MlflowServer(str(folder / "mlruns"), folder) as server:
        yield server


@pytest.fixture
def proxy(server: MlflowServer, state_dir: Path) -> Iterator[FaultyProxy]:
    with FaultyProxy(server.url) as proxy:
        yield proxy
        end_senders(state_dir)


def test_a_request_whose_reply_is_lost_is_not_done_twice(proxy: FaultyProxy, server: MlflowServer):
    requests = ("experiments/create", "runs/create", "runs/log-batch", "runs/log-batch", "runs/update")
    lost = [proxy.drop_reply_once(request) for request in requests]
    with start_run("lost", experiment="new", tracking_uri=proxy.url) as run:
        run.log_params({"lr": 0.1})
        run.log_text("noted", "note.txt")
        for step in range(STEPS):
            run.log_metrics({"loss": step / 4, "same": 1.0}, step)
    wait_until(lambda: run.flush(5), "the delivery")
    assert [one.is_set() for one in lost] == [True] * len(lost)

    client = MlflowClient(server.url)
    experiments = [one for one in client.search_experiments() if one.name != "Default"]
    assert [one.name for one in experiments] == ["new"]
    [kept] = kept_runs(server.url, experiments[0].experiment_id)
    assert (kept.info.run_id, kept.info.status, kept.data.params) == (run.run_id, "FINISHED", {"lr": "0.1"})
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["note.txt"]
    for key in ("loss", "same"):
        assert kept_steps(server.url, run.run_id, key) == list(range(STEPS))
    assert not run.folder.dead_letters.exists()


@pytest.mark.parametrize("open_one", [open_writer, MlflowWriter])
def test_a_write_is_asked_for_once_whatever_mlflow_would_do(
    open_one: Callable[[Settings], RunWriter],
    proxy: FaultyProxy,
    server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    writer = open_one(Settings.load(proxy.url))
    run_id = writer.create_run("0", "once", 1_767_225_600_000, {UUID_TAG: "0"})
    lost = proxy.drop_reply_once("runs/log-batch")
    with pytest.raises(StoreUnavailable):
        writer.log_batch(run_id, [Metric("loss", 0.5, 1, 1_767_225_600_000)])
    assert lost.is_set()
    assert kept_steps(server.url, run_id, "loss") == [1]


def test_a_run_that_was_begun_to_be_made_is_the_one_that_goes_on(proxy: FaultyProxy, server: MlflowServer):
    """MLflow's file store makes a run first and then tag by tag; a kill in between leaves one without our uuid."""
    proxy.mode = "refuse"
    with start_run("begun", tracking_uri=proxy.url) as run:
        run.log_metric("loss", 0.5, 7)
    end_senders(run.folder.store.path.parent)
    client = MlflowClient(server.url)
    begun = client.create_run("0", start_time=start_time(run.folder.journal), run_name="begun").info.run_id
    Cursor(creating=True).write(run.folder)
    proxy.mode = "pass"
    wait_until(lambda: run.flush(5), "the delivery")
    assert (kept_run(server.url, run.uuid).info.run_id, run.run_id) == (begun, begun)
    assert [one.info.run_name for one in kept_runs(server.url)].count("begun") == 1
    assert kept_steps(server.url, begun, "loss") == [7]


def start_time(journal: Path) -> int:
    from agentnn.tracking.journal.journal import read_journal

    record = next(read_journal(journal)).body
    assert record is not None
    return int(record["time"])
