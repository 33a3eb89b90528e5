"""The real parts of the tests of writing do what they say; MLflow's own client is the witness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from faulty_proxy import FaultyProxy, Request
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from real_stores import PASSWORD, STORE_KINDS, PostgresCluster, end_senders, fail_or_skip
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from real_stores import MlflowServer

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"


@pytest.fixture
def proxy(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy before the session's server, and an MLflow client that tries once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with FaultyProxy(mlflow_server.url) as proxy:
        yield proxy


def get(proxy: FaultyProxy, timeout: float = 60) -> requests.Response:
    return requests.get(proxy.url + SEARCH, timeout=timeout)


def write_run(uri: str, file: Path) -> str:
    client = MlflowClient(uri)
    run_id = client.create_run("0", run_name="ada").info.run_id
    client.log_batch(run_id, [Metric("loss", 0.25, 1_767_225_600_000, 3)], [Param("lr", "0.001")])
    client.log_artifact(run_id, str(file))
    client.set_terminated(run_id)
    return run_id


def names(uri: str) -> list[str]:
    return [run.info.run_name for run in MlflowClient(uri).search_runs(["0"])]


@pytest.mark.parametrize("kind", STORE_KINDS)
def test_a_store_of_each_kind_is_empty_and_can_be_written(
    kind: str, make_store: Callable[[str], str], mlflow_server: MlflowServer, tmp_path: Path
):
    if kind == "server":
        MlflowClient(mlflow_server.url).create_run("0", run_name="left by another test")
    uri = make_store(kind)
    assert names(uri) == []
    file = tmp_path / "note.txt"
    file.write_text("noted", encoding="utf-8")
    run_id = write_run(uri, file)
    run = MlflowClient(uri).get_run(run_id)
    assert (run.info.run_name, run.info.status, run.data.params) == ("ada", "FINISHED", {"lr": "0.001"})
    [point] = MlflowClient(uri).get_metric_history(run_id, "loss")
    assert (point.value, point.step) == (0.25, 3)
    kept = [path for path in (tmp_path, mlflow_server.artifacts) if list(path.rglob(f"{run_id}/artifacts/note.txt"))]
    assert kept == [mlflow_server.artifacts if kind == "server" else tmp_path]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mlruns"])
def test_two_stores_of_a_kind_are_apart(kind: str, make_store: Callable[[str], str]):
    ours, theirs = make_store(kind), make_store(kind)
    MlflowClient(ours).create_run("0", run_name="ours")
    assert (names(ours), names(theirs)) == (["ours"], [])


def test_a_second_server_is_not_made_by_emptying_the_first(make_store: Callable[[str], str]):
    make_store("server")
    with pytest.raises(AssertionError, match="start_server"):
        make_store("server")


def test_postgresql_asks_one_role_for_its_password(postgres: PostgresCluster, make_store: Callable[[str], str]):
    uri = make_store("postgresql")
    secret = postgres.with_password(uri)
    assert PASSWORD not in secret
    MlflowClient(secret).create_run("0", run_name="ada")
    assert names(uri) == ["ada"]
    with pytest.raises(OperationalError, match="password authentication failed"):
        create_engine(secret.replace("horse", "pony")).connect()


def test_postgresql_runs_as_no_root_and_listens_to_this_machine_only(postgres: PostgresCluster):
    [[folder, addresses]] = postgres.execute(
        "SELECT current_setting('data_directory'), current_setting('listen_addresses')"
    )
    assert Path(folder).stat().st_uid != 0
    assert addresses == "127.0.0.1"


def test_postgresql_keeps_its_data_over_a_stop(postgres: PostgresCluster, make_store: Callable[[str], str]):
    uri = make_store("postgresql")
    MlflowClient(uri).create_run("0", run_name="ada")
    postgres.stop()
    try:
        with pytest.raises((MlflowException, OperationalError)):
            names(uri)
    finally:
        postgres.start()
    assert names(uri) == ["ada"]


@pytest.mark.parametrize("variable", ["CI", "AGENTNN_REQUIRE_POSTGRES"])
def test_what_a_machine_lacks_is_skipped_by_hand_and_fails_in_ci(variable: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("AGENTNN_REQUIRE_POSTGRES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no elephant"):
        fail_or_skip("no elephant")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(pytest.fail.Exception, match="no elephant"):
        fail_or_skip("no elephant")


def test_a_suspended_server_hangs_until_it_is_resumed(mlflow_server: MlflowServer):
    mlflow_server.suspend()
    try:
        with pytest.raises(requests.ReadTimeout):
            requests.get(mlflow_server.url + SEARCH, timeout=1)
    finally:
        mlflow_server.resume()
    assert requests.get(mlflow_server.url + SEARCH, timeout=60).ok


def test_the_proxy_hands_on_what_it_is_given(proxy: FaultyProxy, make_store: Callable[[str], str], tmp_path: Path):
    uri = make_store("server")
    large, empty = tmp_path / "large.bin", tmp_path / "empty.bin"
    large.write_bytes(os.urandom(3_000_000))
    empty.touch()
    run_id = write_run(proxy.url, large)
    client = MlflowClient(proxy.url)
    client.log_artifact(run_id, str(empty))
    (tmp_path / "back").mkdir()
    assert Path(client.download_artifacts(run_id, "large.bin", str(tmp_path / "back"))).read_bytes() == (
        large.read_bytes()
    )
    assert names(uri) == names(proxy.url) == ["ada"]
    assert Request("POST", "/api/2.0/mlflow/runs/log-batch") in proxy.requests


@pytest.mark.parametrize(("mode", "message"), [("refuse", "refused"), ("reset", "reset by peer")])
def test_the_proxy_refuses_and_resets_connections(mode: str, message: str, proxy: FaultyProxy):
    proxy.mode = mode
    for _ in range(2):
        with pytest.raises(requests.ConnectionError, match=message):
            get(proxy)
    assert proxy.requests == ([] if mode == "refuse" else [Request("GET", SEARCH)] * 2)
    proxy.mode = "pass"
    assert get(proxy).json()["experiments"][0]["name"] == "Default"


def test_the_proxy_hangs_until_its_mode_changes(proxy: FaultyProxy):
    proxy.mode = "hang"
    with pytest.raises(requests.ReadTimeout):
        get(proxy, timeout=1)
    proxy.mode = "pass"
    assert get(proxy).ok


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_the_proxy_answers_with_a_status(status: int, proxy: FaultyProxy):
    proxy.mode = f"status:{status}"
    # Larger than what the buffers of a connection hold: the reply must survive what is still being sent.
    reply = requests.post(proxy.url + "/api/2.0/mlflow/runs/log-batch", data=bytes(20_000_000), timeout=60)
    assert reply.status_code == status
    assert proxy.requests == [Request("POST", "/api/2.0/mlflow/runs/log-batch")]


def test_the_proxy_answers_with_a_page(proxy: FaultyProxy):
    proxy.mode = "html"
    reply = get(proxy)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<html>" in reply.text


def test_the_proxy_is_slow(proxy: FaultyProxy):
    proxy.mode = "slow:0.8"
    with pytest.raises(requests.ReadTimeout):
        get(proxy, timeout=0.3)
    assert get(proxy).ok


def test_a_dropped_reply_is_lost_after_the_server_has_done_the_work(
    proxy: FaultyProxy, make_store: Callable[[str], str]
):
    uri = make_store("server")
    dropped = proxy.drop_reply_once("runs/create")
    with pytest.raises(MlflowException, match="without response"):
        MlflowClient(proxy.url).create_run("0", run_name="lost")
    assert dropped.is_set()
    assert names(uri) == ["lost"]
    MlflowClient(proxy.url).create_run("0", run_name="second")
    assert names(uri) == ["second", "lost"]


def test_the_proxy_knows_its_modes(proxy: FaultyProxy):
    for typo in ("passs", "status", "status:999", "slow", "drop"):
        with pytest.raises(ValueError, match=typo):
            proxy.mode = typo


def test_a_proxy_before_a_dead_server_says_so(mlflow_server: MlflowServer):
    with FaultyProxy(mlflow_server.url) as dead, FaultyProxy(dead.url) as proxy:
        dead.mode = "refuse"
        assert get(proxy).status_code == 502


OBEYS = "import time; print(flush=True); time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEYS}"


@pytest.mark.parametrize(
    ("code", "name", "ended"),
    [
        (OBEYS, "agentnn.tracking.sending.sender", -signal.SIGTERM),
        (IGNORES_SIGTERM, "agentnn.tracking.sending.sender", -signal.SIGKILL),
        (OBEYS, "somebody else", None),
    ],
)
def test_only_senders_end_with_a_test(code: str, name: str, ended: int | None, state_dir: Path):
    process = subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        (state_dir / "4be1f0c2").mkdir(parents=True)
        (state_dir / "4be1f0c2" / "sender.json").write_text(json.dumps({"pid": process.pid}), encoding="utf-8")
        end_senders(state_dir, patience_s=0.5)
        if ended is None:
            assert process.poll() is None
        else:
            assert process.wait(timeout=60) == ended
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "1"}', '{"pid": -1}', '{"pid": 4194305}'])
def test_a_damaged_status_of_a_sender_is_passed_over(text: str, state_dir: Path):
    (state_dir / "4be1f0c2").mkdir(parents=True)
    status = state_dir / "4be1f0c2" / "sender.json"
    status.write_text(text, encoding="utf-8")
    end_senders(state_dir)
    assert status.read_text(encoding="utf-8") == text
