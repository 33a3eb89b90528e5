"""A configured run that two processes train, one of which is killed; and what a trainer records by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from mlflow import MlflowClient
from nn_models.worker_nursery import told_by
from shared_store import copy_of, shared_state

from agentnn import ConfigurationManager, ModelManager
from agentnn.errors import ConfigError
from agentnn.nn_models.distributed.failures import Failure
from agentnn.nn_models.distributed.job import Job, error_of
from agentnn.nn_models.distributed.procedure import DistributedTraining
from agentnn.tracking.active_run import NullRun
from agentnn.training.data.datasets import load_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentnn.training.fitting import Fitted

pytestmark = pytest.mark.usefixtures("undrawn")

TEMPLATE = Path(__file__).parents[2] / "config_templates" / "distributed_training.yaml"
CLOSE = 2e-6
"""How far apart losses of two processes and of one may be in float32, as a share."""

QUICK = {
    "training.epochs": 15,
    "training.patience": 15,
    "training.num_threads": 1,
    "training.checkpoint_every_s": 0,
    "tracking.log_environment": False,
    "distributed.max_restarts": 1,
}


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- from the configuration to the run


class Killer(threading.Thread):
    """Kills the second of two workers once there is a checkpoint."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.killed: list[int] = []
        self.is_over = False

    def run(self) -> None:
        while not self.killed and not self.is_over:
            if list(self.folder.glob("epoch-*.pt")):
                self.killed += [pid for pid in self.second_workers() if not os.kill(pid, signal.SIGKILL)]
            time.sleep(0.01)

    def second_workers(self) -> list[int]:
        """The worker that was started with RANK=1 and by this process."""
        return [int(one.name) for one in Path("/proc").glob("[0-9]*") if self._is_one(one)]

    @staticmethod
    def _is_one(process: Path) -> bool:
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        launcher = [
            one for one in variables if one.startswith(b"AGENTNN_LAUNCHER=") and str(os.getpid()).encode() in one
        ]
        return b"agentnn.nn_models.distributed.worker" in words and b"RANK=1" in variables and bool(launcher)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the worker in /proc")
def test_a_run_whose_worker_is_killed_ends_where_that_of_one_process_does(uri: str, tmp_path: Path) -> None:
    """F27: it goes on from the last checkpoint by itself."""
    manager = ModelManager(uri)
    alone = manager.train(TEMPLATE, {**QUICK, "distributed.processes": 1})
    killer = Killer(tmp_path)
    killer.start()
    with pytest.warns(match="all were started again"):
        result = manager.train(TEMPLATE, {**QUICK, "training.checkpoint_dir": str(tmp_path)})
    killer.is_over = True
    assert len(killer.killed) == 1
    assert killer.second_workers() == []
    assert result.history["val_loss"] == pytest.approx(alone.history["val_loss"], rel=CLOSE)
    assert result.history["train_loss"] == pytest.approx(alone.history["train_loss"], rel=CLOSE)
    assert result.best_epoch == alone.best_epoch
    run = MlflowClient(uri).get_run(result.run_id or "")
    assert run.info.status == "FINISHED"
    assert {
        "trainer": "distributed",
        "distributed.processes": "2",
        "distributed.restarts": "1",
    }.items() <= run.data.tags.items()
    logged = MlflowClient(uri).get_metric_history(result.run_id or "", "val_loss")
    assert [(one.step, one.value) for one in logged] == list(enumerate(result.history["val_loss"], 1))
    assert run.data.metrics["sharpe_ratio"] == pytest.approx(alone.metrics["sharpe_ratio"], rel=1e-3)


def fitted(checkpoint_dir: Path | None, **given: Any) -> Fitted:
    """By one process, which is this one."""
    how = {name: given.pop(name) for name in ("on_epoch", "resume", "logger") if name in given}
    few = {**QUICK, "training.epochs": 4, "distributed.processes": 1, **given}
    config = ConfigurationManager(TEMPLATE, few).get_config()
    dataset = load_dataset(config.data, config.model.output_dim, config.training.loss)
    procedure = DistributedTraining()
    procedure.check(config, procedure.prepare(config, dataset))
    return procedure.fit(config, dataset, NullRun(), how.pop("logger", None), checkpoint_dir=checkpoint_dir, **how)


def test_a_run_that_broke_off_goes_on_bit_for_bit(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(epoch: int, values: Mapping[str, float]) -> None:
        if epoch == 3:
            raise Stop

    whole = fitted(None)
    with pytest.raises(Stop):
        fitted(tmp_path, on_epoch=stop)
    resumed = fitted(tmp_path, resume=True)
    assert resumed.history.resumed_from == 2
    assert resumed.history["val_loss"] == whole.history["val_loss"]
    assert all(
        torch.equal(one, other) for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("training.precision", "float16"), ("training.optimizer", "LBFGS"), ("training.device", "mps")],
)
def test_what_several_processes_cant_do_is_said_before_anything_is_started(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key):
        ConfigurationManager(TEMPLATE, {"distributed.strategy": "fsdp", key: value}).get_config()


def test_an_error_of_a_worker_comes_back_as_what_it_was() -> None:
    ours = Failure.of(ConfigError("no such loss", hint="another one"), 1)
    other = Failure.of(OSError("no room"), 1)
    assert (ours.is_lasting, other.is_lasting) == (True, False)
    assert type(error_of(ours)) is ConfigError
    assert str(error_of(other)) == "worker 1 failed: OSError: no room"


def test_what_a_worker_tells_is_heard_once_and_whole(tmp_path: Path) -> None:
    job = Job(tmp_path)
    (tmp_path / "told.jsonl").touch()
    job.tell(epoch=1, values={"val_loss": float("nan")})
    with (tmp_path / "told.jsonl").open("a") as file:
        file.write('{"epoch": 2, ')
        file.flush()
        [first] = job.told()
        file.write('"values": {}}\n')
    assert first["epoch"] == 1
    assert [one["epoch"] for one in job.told()] == [2]


# --- what a trainer records by itself


@pytest.fixture(scope="module")
def recorded(uri: str, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    script = """
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)); Y = X[:, :1]

def bad(outputs, targets):
    if os.environ["RANK"] == "1":
        raise ValueError("no such number")
    return 0.0

def train(name, **given):
    trainer = DistributedTrainer(
        nn.Linear(3, 1), lambda weights: torch.optim.SGD(weights, lr=0.1), nn.MSELoss(),
        TrainingOptions(batch_size=10, seed=1), DistributedOptions(timeout_s=30.0),
        run_name=name, tags={"mine": 1}, tracking_uri=sys.argv[2],
    )
    result = trainer.fit(X, Y, X, Y, 3, **given)
    return [result.uuid, result.history["val_loss"]]

told, failed = together(2, lambda rank: train("told")), together(2, lambda rank: train("failed", metrics={"m": bad}))
print(json.dumps([told, failed]))
"""
    found: list[Any] = told_by(script, str(tmp_path_factory.mktemp("recorded")), uri)
    return found


def ended_run(uri: str, name: str) -> Any:
    client, deadline = MlflowClient(uri), time.monotonic() + 60
    while time.monotonic() < deadline:
        experiment = client.get_experiment_by_name("distributed_training")
        runs = client.search_runs([experiment.experiment_id], f"run_name = '{name}'") if experiment else []
        if runs and runs[0].info.status != "RUNNING":
            [run] = runs
            return run
        time.sleep(0.1)
    raise AssertionError(f"the run {name} has not ended")


def test_the_first_process_alone_records(recorded: list[Any], uri: str) -> None:
    [[_, [uuid, losses]], [_, [uuid_of_other, losses_of_other]]], _ = recorded
    assert (bool(uuid), uuid_of_other, losses) == (True, "", losses_of_other)
    run = ended_run(uri, "told")
    assert run.info.status == "FINISHED"
    assert {"mine": "1", "distributed.processes": "2", "distributed.restarts": "0"}.items() <= run.data.tags.items()
    params = {"batch_size": "10", "strategy": "ddp", "optimizer": "SGD", "learning_rate": "0.1", "n_parameters": "4"}
    assert params.items() <= run.data.params.items()
    logged = MlflowClient(uri).get_metric_history(run.info.run_id, "val_loss")
    assert [(one.step, one.value) for one in logged] == list(enumerate(losses, 1))


def test_the_failure_of_another_process_is_the_runs_reason(recorded: list[Any], uri: str) -> None:
    run = ended_run(uri, "failed")
    assert run.info.status == "FAILED"
    assert run.data.tags["agentnn.end_reason"] == "WorkerFailed: worker 1 failed: ValueError: no such number"
