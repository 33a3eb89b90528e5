"""F07: the server refuses, answers with errors or with pages of HTML, or dies. Training goes on and nothing is lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from faults.trainers import (
    LONGEST_CALL_S,
    TIMED,
    Trainer,
    kept_run,
    kept_runs,
    kept_steps,
    store_folder,
    synced,
    wait_until,
    watch_until,
)
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from real_stores import end_senders

from agentnn import start_run
from agentnn.errors import StoreUnavailable
from agentnn.records import Metric
from agentnn.settings import Settings
from agentnn.stores.mlflow.writer import MlflowWriter
from agentnn.stores.run_writer import open_writer
from agentnn.tracking.sending.sender_control import sender_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from real_stores import MlflowServer, PostgresCluster

    from agentnn.stores.run_writer import RunWriter

pytestmark = pytest.mark.slow

NOT_MLFLOWS_ANSWER = ("html", "status:400", "status:401", "status:403", "status:404", "status:500", "status:503")
NO_ANSWER = ("refuse", "reset")

TRAIN_UNTIL_TOLD = f"""
{TIMED}
with start_run("down") as run:
    run.log_params({{"lr": 0.1, "layers": 2}})
    print(run.uuid)
    step = 0
    while not os.path.exists("stop"):
        timed(run.log_metrics, {{"loss": 1 / (step + 1), "accuracy": step / 2}}, step)
        timed(run.set_tag, "step", step)
        step += 1
        time.sleep(0.005)
print(step, longest)
"""


@pytest.fixture
def proxy(mlflow_server: MlflowServer, state_dir: Path) -> Iterator[FaultyProxy]:
    with FaultyProxy(mlflow_server.url) as proxy:
        yield proxy
        end_senders(state_dir)


def state(uri: str) -> str:
    """What the sender is at."""
    return sender_status(store_folder(uri)).state


def problem(uri: str) -> str:
    """Why it can't do that."""
    found = sender_status(store_folder(uri)).problem
    return found.message if found else ""


def stop(trainer: Trainer, folder: Path) -> tuple[str, int]:
    """Let a trainer finish, whose calls must all have been short; the run's uuid and the number of its steps."""
    (folder / "stop").touch()
    assert trainer.wait() == 0, trainer.stderr
    steps, longest = trainer.lines[-1].split()
    print(f"{steps} steps, longest call {float(longest) * 1000:.1f} ms")
    assert float(longest) < LONGEST_CALL_S
    return trainer.lines[0], int(steps)


def assert_all_is_there(uri: str, uuid: str, steps: int) -> None:
    """Everything that TRAIN_UNTIL_TOLD logged is in the store, once."""
    run = kept_run(uri, uuid)
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1", "layers": "2"})
    assert run.data.tags["step"] == str(steps - 1)
    assert run.data.metrics["accuracy"] == (steps - 1) / 2
    for key in ("loss", "accuracy"):
        assert kept_steps(uri, run.info.run_id, key) == list(range(steps))


def test_training_goes_on_whatever_the_server_answers(proxy: FaultyProxy, mlflow_server: MlflowServer, tmp_path: Path):
    with Trainer(TRAIN_UNTIL_TOLD, uri=proxy.url, cwd=tmp_path) as trainer:
        for mode in (*NO_ANSWER, *NOT_MLFLOWS_ANSWER):
            proxy.mode = "pass"
            watch_until(proxy.url, lambda: state(proxy.url) == "delivering", "a delivery")
            proxy.mode = mode
            watch_until(proxy.url, lambda: state(proxy.url) == "unavailable", f"a failure in the mode {mode}")
        wait_until(lambda: "training goes on, what it logs waits on this machine" in trainer.stderr, "the warning")
        proxy.mode = "pass"
        watch_until(proxy.url, lambda: state(proxy.url) == "delivering", "a delivery")
        uuid, steps = stop(trainer, tmp_path)
    assert_all_is_there(mlflow_server.url, uuid, steps)
    assert not store_folder(proxy.url).run(uuid).dead_letters.exists()


@pytest.mark.parametrize("mode", ["refuse", "status:503"])
def test_a_run_that_is_never_delivered_ends_well_and_says_how_to_deliver_it(
    mode: str, proxy: FaultyProxy, mlflow_server: MlflowServer, tmp_path: Path
):
    proxy.mode = mode
    with Trainer(TRAIN_UNTIL_TOLD, uri=proxy.url, cwd=tmp_path) as trainer:
        wait_until(lambda: state(proxy.url) == "unavailable", "the sender's first try")
        uuid, steps = stop(trainer, tmp_path)
        told = re.findall(r"(\d+) records of the run 'down' wait on this machine .*agentnn run sync", trainer.stderr)
    assert [int(count) for count in told] == [2 * steps + 3]
    assert kept_runs(mlflow_server.url) == [] or uuid not in str(kept_runs(mlflow_server.url))

    proxy.mode = "pass"
    [run] = synced(proxy.url)
    assert (run.uuid, run.status, run.waiting, run.refused, run.problem) == (uuid, "FINISHED", 0, 0, None)
    assert_all_is_there(mlflow_server.url, uuid, steps)


@pytest.mark.parametrize("mode", ["refuse", "status:500"])
def test_a_strict_run_ends_with_an_error_when_it_could_not_be_delivered(mode: str, proxy: FaultyProxy):
    proxy.mode = mode
    with pytest.raises(StoreUnavailable, match="2 records of the run 'strict' wait on this machine") as raised:  # noqa: SIM117
        with start_run("strict", tracking_uri=proxy.url, strict=True):
            pass
    assert raised.value.exit_code == 4


def test_a_server_that_dies_and_comes_back_has_everything(start_server: Callable[..., MlflowServer], tmp_path: Path):
    server = start_server()
    with Trainer(TRAIN_UNTIL_TOLD, uri=server.url, cwd=tmp_path) as trainer:
        watch_until(server.url, lambda: state(server.url) == "delivering", "the first delivery")
        server.kill()
        watch_until(server.url, lambda: state(server.url) == "unavailable", "the failure")
        server.start()
        watch_until(server.url, lambda: state(server.url) == "delivering", "the recovery")
        uuid, steps = stop(trainer, tmp_path)
    assert_all_is_there(server.url, uuid, steps)


def test_a_database_that_takes_no_writes_for_a_while_refuses_nothing(postgres: PostgresCluster, tmp_path: Path):
    """As a replica does until it has taken over; MLflow calls that a bad request."""
    uri = postgres.create_store(str(tmp_path / "artifacts"))
    name = uri.rpartition("/")[2]
    renew = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    with Trainer(TRAIN_UNTIL_TOLD, uri=uri, cwd=tmp_path) as trainer:
        watch_until(uri, lambda: state(uri) == "delivering", "the first delivery")
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres.execute(renew)
        watch_until(uri, lambda: "read-only transaction" in problem(uri), "the failure")
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        postgres.execute(renew)
        watch_until(uri, lambda: state(uri) == "delivering", "the recovery")
        uuid, steps = stop(trainer, tmp_path)
    assert_all_is_there(uri, uuid, steps)
    assert not store_folder(uri).run(uuid).dead_letters.exists()
    end_senders(store_folder(uri).path.parent)
    postgres.drop_store(uri)


@pytest.mark.parametrize("open_one", [open_writer, MlflowWriter])
def test_what_is_not_in_mlflows_words_is_no_refusal(
    open_one: Callable[[Settings], RunWriter],
    proxy: FaultyProxy,
    mlflow_server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # as the sender does
    file = tmp_path / "note.txt"
    file.write_text("noted", encoding="utf-8")
    run_id = MlflowClient(mlflow_server.url).create_run("0").info.run_id
    writer = open_one(Settings.load(proxy.url))
    calls: tuple[Callable[[], object], ...] = (
        lambda: writer.ensure_experiment("0"),
        lambda: writer.create_run("0", "new", 0, {}),
        lambda: writer.find_runs_by_uuid("0", "0"),
        lambda: writer.experiment_of(run_id),
        lambda: writer.params(run_id),
        lambda: writer.log_batch(run_id, [Metric("loss", 0.5, 1, 1)], {"lr": "0.1"}, {"a": "b"}),
        lambda: writer.history(run_id, "loss"),
        lambda: writer.put_file(run_id, file, "note.txt"),
        lambda: writer.reopen(run_id),
        lambda: writer.terminate(run_id, "FINISHED", 1),
    )
    for mode in (*NO_ANSWER, *NOT_MLFLOWS_ANSWER):
        proxy.mode = mode
        for call in calls:
            with pytest.raises(StoreUnavailable):
                call()
