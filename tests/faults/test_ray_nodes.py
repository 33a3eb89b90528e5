"""A study on a Ray cluster of two nodes: one is killed in the middle, then the head; no trial is lost.

One cluster for all tests, since a node takes seconds to start; each test leaves it with one node less.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from ray_nodes import RayCluster

from agentnn.config.loader import load_config
from agentnn.errors import StoreUnavailable, UsageError
from agentnn.sdk.experiment_organizer import ExperimentOrganizer
from agentnn.training.hpo.engines import ray_engine
from agentnn.training.run_hpo import run_hpo_study

pytest.importorskip("ray")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ray_nodes import RayNode
    from real_stores import MlflowServer

    from agentnn.training.hpo.results import StudyResult

pytestmark = pytest.mark.slow

PATIENCE_S = 300.0
SECRET = "hunter2-of-the-store"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head with room for one trial."""
    nodes = RayCluster(cpus=1)
    try:
        yield nodes
    finally:
        nodes.end()


@pytest.fixture(scope="module")
def second(cluster: RayCluster) -> RayNode:
    """Another node, with room for two."""
    return cluster.add_node(cpus=2, environment={"NODE": "second"})


@pytest.fixture(autouse=True)
def _token(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster lets in nobody else."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def search(cluster: RayCluster, mlflow_server: MlflowServer) -> Callable[..., StudyResult]:
    """Run a study on the cluster; its runs go to the server."""

    def run(name: str, objective: Any, trials: int, *, resume: bool = False, **more: Any) -> StudyResult:
        space = {"dropout": {"low": 0.0, "high": 0.5}}
        hpo = {"param_space": space, "num_trials": trials, "metric": "loss", "sampler": "random", "study_name": name}
        hpo |= {"engine": "ray", "address": cluster.address, **more}
        config = load_config({"experiment": {"name": name}, "tracking": {"uri": mlflow_server.url}, "hpo": hpo})
        organizer = ExperimentOrganizer(config)
        return run_hpo_study(config, None, None, None, None, organizer, objective=objective, resume=resume)

    return run


def until(is_so: Callable[[], bool]) -> None:
    """Wait."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_node_that_is_killed_loses_no_trial(
    cluster: RayCluster,
    second: RayNode,
    search: Callable[..., StudyResult],
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    """It is killed while its third and fourth trial run; what has ended there before is in the store."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "keeper")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    begun, killed = tmp_path / "begun", tmp_path / "killed"
    begun.mkdir()

    def objective(trial: Any) -> float:
        import os
        import time
        from pathlib import Path

        from agentnn.training.hpo.trial import TrialPruned

        where = os.environ.get("NODE", "head")
        trial.run.set_tag("node", where)
        trial.run.set_tag("credentials", trial.run.settings.credentials["MLFLOW_TRACKING_USERNAME"])
        if where == "second":
            count = len(list(Path(begun).iterdir()))
            Path(begun, str(trial.number)).touch()
            time.sleep(0 if count < 2 else 600)
        deadline = time.monotonic() + 300
        while where == "head" and not Path(killed).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        trial.report(9.0 if trial.number == 7 else trial.params["dropout"], 1)
        if trial.should_prune():
            raise TrialPruned("hopeless")
        return float(trial.params["dropout"])

    def kill() -> None:
        until(lambda: len(list(begun.iterdir())) >= 4)
        second.kill()
        killed.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    threshold = {"pruner": "threshold", "pruner_params": {"upper": 1.0}}
    found = search("node-killed", objective, 10, **threshold)
    killer.join()

    lost = [one for one in found.trials if one.lost]
    assert len(lost) == 2
    assert all(one.reason.startswith("its node (") for one in lost), lost
    again = {one.retry_of: one for one in found.trials if one.retry_of is not None}
    assert {number: dict(one.params) for number, one in again.items()} == {one.number: dict(one.params) for one in lost}
    ended = [one for one in found.trials if not one.lost]
    assert [one.state for one in ended].count("pruned") == 1
    assert [one.state for one in ended].count("complete") == 9
    assert sum("is tried again: its node" in one.getMessage() for one in caplog.records) == 2

    client = MlflowClient(mlflow_server.url)
    experiment = client.get_run(found.run_id).info.experiment_id
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{found.run_id}'")
    assert not [run for run in runs if run.info.status == "RUNNING"]
    named = [run for run in runs if "agentnn.trial.number" in run.data.tags]  # a dead one may have come to its id only
    by_number = {int(run.data.tags["agentnn.trial.number"]): run for run in named}
    assert len(by_number) == len(named)
    for one in ended:
        run = by_number[one.number]
        assert (run.info.status, float(run.data.params["dropout"])) == ("FINISHED", one.params["dropout"])
    assert {by_number[one.number].data.tags["node"] for one in ended} == {"head", "second"}
    assert {by_number[one.number].data.tags["credentials"] for one in ended} == {"keeper"}
    assert capfd.readouterr().out == ""
    assert not bridges()
    logs = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert len(logs) > 10
    assert not [path for path in logs if SECRET.encode() in path.read_bytes()]


def test_an_objective_that_nodes_do_not_know_is_told(
    search: Callable[..., StudyResult], monkeypatch: pytest.MonkeyPatch
):
    module = types.ModuleType("only_here")
    monkeypatch.setitem(sys.modules, "only_here", module)
    exec("def judge(trial): return 1.0", vars(module))
    with pytest.raises(UsageError, match="can't be loaded on .*: ModuleNotFoundError: No module named 'only_here'"):
        search("not-known", module.judge, 2)
    assert not bridges()


def test_a_study_that_loses_the_head_is_kept_and_goes_on_elsewhere(
    cluster: RayCluster, search: Callable[..., StudyResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = ray_engine.RayEngine.__init__
    monkeypatch.setattr(
        ray_engine.RayEngine, "__init__", lambda self, *given, **more: original(self, *given, head_timeout_s=2, **more)
    )
    flag = tmp_path / "begun"

    def objective(trial: Any) -> float:
        import time
        from pathlib import Path

        if trial.number == 1:
            Path(flag).touch()
            time.sleep(600)
        return float(trial.params["dropout"])

    def kill() -> None:
        until(flag.exists)
        cluster.head.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StoreUnavailable) as caught:
        search("head-lost", objective, 3)
    killer.join()
    assert caught.value.message == f"the Ray cluster at {cluster.address} is lost"
    assert "--resume" in caught.value.hint
    assert not bridges()
    with pytest.raises(StoreUnavailable, match="no Ray cluster answers"):
        search("head-lost", objective, 3, resume=True)
    found = search("head-lost", lambda trial: trial.params["dropout"], 3, resume=True, engine="local")
    assert found.resumed
    assert [one.state for one in found.trials if not one.lost] == ["complete"] * 3
    assert {one.retry_of for one in found.trials if one.retry_of is not None} == {
        one.number for one in found.trials if one.lost
    }


def bridges() -> list[str]:
    """The processes between this one and Ray that are left."""
    said = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [line for line in said.stdout.splitlines() if "ray_bridge" in line]
