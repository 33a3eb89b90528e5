"""F29: a study whose workers or drivers die. Every trial is done, none twice but those that were lost, one study's run.

A trial here says that it has begun, and waits for a file, so that each death comes at a known moment.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults.trainers import Trainer, wait_until
from mlflow import MlflowClient
from shared_store import copy_of, shared_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run
    from real_stores import PostgresCluster

DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
from agentnn import EnhancedMLflowLogger, ExperimentOrganizer
from agentnn.errors import AgentNNError
from agentnn.training.run_hpo import run_hpo_study

NEEDS_GO, DEADLY = sys.argv[2] == "wait", "deadly" in sys.argv

def objective(trial):
    Path(f"began-{trial.number}").write_text(str(os.getpid()))
    if DEADLY and trial.params["batch_size"] == 16:
        os.kill(os.getpid(), signal.SIGKILL)
    while NEEDS_GO and not Path("go").exists():
        time.sleep(0.02)
    return trial.params["learning_rate"]

config = json.loads(sys.argv[1])
print("ready")
try:
    result = run_hpo_study(config, None, None, None, None, ExperimentOrganizer(config), EnhancedMLflowLogger(),
                           objective=objective, resume="resume" in sys.argv)
except AgentNNError as error:
    print(f"{type(error).__name__}: {error}; {error.hint}")
    sys.exit(error.exit_code)
print(json.dumps(result.to_dict()))
"""


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def study(name: str, trials: int, workers: int = 1, **more: Any) -> str:
    """A configuration as JSON; its experiment bears the study's name."""
    space = {"learning_rate": {"low": 0.1, "high": 0.9}}
    hpo = {"param_space": space, "num_trials": trials, "workers": workers, "sampler": "random", "seed": 7, **more}
    return json.dumps({"experiment": {"name": name}, "hpo": hpo})


def began(folder: Path) -> dict[int, int]:
    """The trials that have begun, and the processes that run them."""
    found = {}
    for path in folder.glob("began-*"):
        with suppress(ValueError):  # it is being written
            found[int(path.name.partition("-")[2])] = int(path.read_text())
    return found


def wait_for_trials(folder: Path, number: int) -> dict[int, int]:
    wait_until(lambda: len(began(folder)) >= number, f"the beginning of {number} trials")
    return began(folder)


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def family(uri: str, name: str) -> tuple[Run, dict[int, Run]]:
    """The study's run, and those of its trials by number, as MLflow's own client says."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(name)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    [parent] = [run for run in runs if run.data.tags["agentnn.role"] == "study"]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    numbers = [int(run.data.tags["agentnn.trial.number"]) for run in children]
    assert len(set(numbers)) == len(numbers)
    return parent, dict(zip(numbers, children, strict=True))


def wait_for_ends(uri: str, name: str, number: int) -> tuple[Run, dict[int, Run]]:
    """The same, once all of so many trials are in the store and have ended there."""

    def ended() -> bool:
        with suppress(AssertionError, ValueError):  # the experiment, or the study's run, is not there yet
            parent, trials = family(uri, name)
            return len(trials) == number and all(run.info.status != "RUNNING" for run in (parent, *trials.values()))
        return False

    wait_until(ended, f"the end of the runs of {name}")
    return family(uri, name)


def states(trials: dict[int, Run]) -> Counter[tuple[str, str]]:
    return Counter((run.info.status, run.data.tags["agentnn.trial.state"]) for run in trials.values())


def said(trainer: Trainer) -> dict[str, Any]:
    assert trainer.wait() == 0, trainer.lines[-1:] + [trainer.stderr]
    result: dict[str, Any] = json.loads(trainer.lines[-1])
    return result


@pytest.mark.slow
def test_eight_fresh_workers_on_a_fresh_store_and_one_is_killed(tmp_path: Path):
    uri = f"sqlite:///{tmp_path / 'fresh.db'}"
    with Trainer(DRIVER, study("eight", 8, 8), "wait", uri=uri, cwd=tmp_path) as driver:
        workers = wait_for_trials(tmp_path, 8)
        assert len(set(workers.values())) == 8
        os.kill(workers[3], signal.SIGKILL)
        wait_for_trials(tmp_path, 9)
        (tmp_path / "go").touch()
        result = said(driver)
    assert result["counts"] == {"complete": 8, "pruned": 0, "failed": 1}
    parent, trials = family(uri, "eight")
    assert parent.info.status == "FINISHED"
    assert states(trials) == {("FINISHED", "complete"): 8, ("FAILED", "failed"): 1}
    lost, again = trials[3], trials[8]
    assert "killed by SIGKILL" in lost.data.tags["agentnn.end_reason"]
    assert (lost.data.tags["agentnn.trial.retried_as"], again.data.tags["agentnn.trial.retry_of"]) == ("8", "3")
    assert lost.data.params == again.data.params
    assert (
        result["best"]["run_id"]
        == min(
            (run for run in trials.values() if run is not lost), key=lambda run: run.data.metrics["val_loss"]
        ).info.run_id
    )
    assert not any(map(is_alive, workers.values()))


def test_a_trial_that_kills_every_worker_is_tried_twice_and_the_study_goes_on(uri: str, tmp_path: Path):
    space = {"learning_rate": {"low": 0.1, "high": 0.9}, "batch_size": [16, 32]}
    config = study("deadly", 4, 2, param_space=space)
    with Trainer(DRIVER, config, "go", "deadly", uri=uri, cwd=tmp_path) as driver:
        result = said(driver)
    counted = [one for one in result["trials"] if not one["lost"]]
    lost = [one for one in result["trials"] if one["lost"]]
    deadly = [one for one in counted if one["params"]["batch_size"] == 16]
    assert len(counted) == 4
    assert 0 < len(deadly) < 4
    assert {one["state"] for one in deadly} == {"failed"}
    assert {one["retry_of"] for one in deadly} == {one["number"] for one in lost}
    assert all("killed by SIGKILL" in one["reason"] for one in (*deadly, *lost))
    parent, trials = family(uri, "deadly")
    assert parent.info.status == "FINISHED"
    assert len(trials) == len(result["trials"])
    assert Counter(run.info.status for run in trials.values())["FAILED"] == 2 * len(deadly)


def test_a_driver_that_is_killed_leaves_nothing_behind_and_the_study_goes_on(uri: str, tmp_path: Path):
    with Trainer(DRIVER, study("killed", 4, 2), "wait", uri=uri, cwd=tmp_path) as driver:
        workers = wait_for_trials(tmp_path, 2)
        driver.kill()
    wait_until(lambda: not any(map(is_alive, workers.values())), "the end of the workers")
    before, trials = wait_for_ends(uri, "killed", 2)
    assert before.info.status == "FAILED"
    assert {run.info.status for run in trials.values()} == {"KILLED"}
    with Trainer(DRIVER, study("killed", 4, 2), "go", uri=uri, cwd=tmp_path) as driver:
        assert driver.wait() == 6
        assert "is not finished: 0 trials are done; to go on with it: --resume" in driver.lines[-1]
    with Trainer(DRIVER, study("killed", 4, 2), "go", "resume", uri=uri, cwd=tmp_path) as driver:
        result = said(driver)
    assert result["counts"] == {"complete": 4, "pruned": 0, "failed": 2}
    parent, trials = family(uri, "killed")
    assert (parent.info.run_id, parent.info.status) == (before.info.run_id, "FINISHED")
    assert states(trials) == {("FINISHED", "complete"): 4, ("KILLED", "failed"): 2}
    for number in (0, 1):
        again = trials[int(trials[number].data.tags["agentnn.trial.retried_as"])]
        assert again.data.params == trials[number].data.params
    assert parent.data.tags["agentnn.study.best_run_id"] == result["best"]["run_id"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_everything_at_once_and_the_study_goes_on(
    number: signal.Signals, workers: int, uri: str, tmp_path: Path
):
    name = f"{number.name}-{workers}"
    with Trainer(DRIVER, study(name, 3, workers), "wait", uri=uri, cwd=tmp_path) as driver:
        pids = wait_for_trials(tmp_path, workers)
        driver.process.send_signal(number)
        code = driver.wait()
        assert (code if code >= 0 else 128 - code) == 128 + number
        assert "Traceback" not in driver.stderr.replace("Traceback", "", 1)  # Python's own of KeyboardInterrupt
    assert not any(map(is_alive, pids.values()))
    before, trials = wait_for_ends(uri, name, workers)
    assert (before.info.status, {run.info.status for run in trials.values()}) == ("KILLED", {"KILLED"})
    with Trainer(DRIVER, study(name, 3, workers), "go", "resume", uri=uri, cwd=tmp_path) as driver:
        result = said(driver)
    assert result["counts"] == {"complete": 3, "pruned": 0, "failed": workers}
    parent, trials = family(uri, name)
    assert (parent.info.run_id, parent.info.status) == (before.info.run_id, "FINISHED")
    assert states(trials) == {("FINISHED", "complete"): 3, ("KILLED", "failed"): workers}


def two_drivers(uri: str, name: str, storage: str | None, folder: Path, trials: int) -> list[dict[str, Any]]:
    """Both work at one study at the same time, from its first trial on."""
    config = study(name, trials, **({"storage": storage} if storage else {}))
    with (
        Trainer(DRIVER, config, "wait", "resume", uri=uri, cwd=folder) as one,
        Trainer(DRIVER, config, "wait", "resume", uri=uri, cwd=folder) as other,
    ):
        pids = wait_for_trials(folder, 2)
        assert set(pids.values()) == {one.process.pid, other.process.pid}
        (folder / "go").touch()
        return [said(one), said(other)]


@pytest.mark.parametrize("where", ["journal", "postgresql"])
def test_two_drivers_work_at_one_study(where: str, uri: str, tmp_path: Path, request: pytest.FixtureRequest):
    storage = None
    if where == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        cluster.execute("CREATE DATABASE studies")
        storage = cluster.with_password(f"postgresql://agentnn@127.0.0.1:{cluster.port}/studies")
    results = two_drivers(uri, f"two-{where}", storage, tmp_path, 12)
    parent, trials = wait_for_ends(uri, f"two-{where}", 12)
    assert parent.info.status == "FINISHED"
    assert sorted(trials) == list(range(12))
    assert states(trials) == {("FINISHED", "complete"): 12}
    for result in results:
        assert result["run_id"] == parent.info.run_id
        assert [one["number"] for one in result["trials"]] == list(range(12))
        assert {one["run_id"] for one in result["trials"]} == {run.info.run_id for run in trials.values()}
        assert "horse" not in json.dumps(result)
    assert len({run.data.params["learning_rate"] for run in trials.values()}) == 12


def test_who_is_left_goes_on_when_the_first_driver_is_killed(uri: str, tmp_path: Path):
    config = study("left", 5)
    with Trainer(DRIVER, config, "wait", uri=uri, cwd=tmp_path) as first:
        wait_for_trials(tmp_path, 1)
        with Trainer(DRIVER, config, "wait", "resume", uri=uri, cwd=tmp_path) as second:
            wait_for_trials(tmp_path, 2)
            first.kill()
            (tmp_path / "go").touch()
            result = said(second)
    assert result["counts"] == {"complete": 5, "pruned": 0, "failed": 1}
    parent, trials = wait_for_ends(uri, "left", 6)
    assert parent.info.status == "FINISHED"
    assert states(trials) == {("FINISHED", "complete"): 5, ("FAILED", "failed"): 1}
