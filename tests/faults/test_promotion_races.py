"""Promotions by real processes at the same time: one wins, the others exit 6 and say who; killed ones leave the truth.

All promoters are forks of one process that has loaded MLflow and opened nothing, since loading takes seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cli.support import environment
from mlflow import MlflowClient

from agentnn import ModelManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 2
KILLS_ANYWHERE = 10
NAME = "net"

FORKER = """
import json, os, signal, sys, time, traceback

import mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store
from mlflow import MlflowClient
from agentnn import ModelManager
from agentnn.errors import AgentNNError
from agentnn.stores.mlflow.client import _known_revisions
from agentnn.stores.mlflow.registry_changes import MlflowRegistryChanges
from agentnn.stores.rest.registry_changes import RestRegistryChanges

_known_revisions()  # loads what each fork would load again

WRITES = ("set_tag", "set_alias", "delete_tag")

def promote(order):
    changes = RestRegistryChanges if order["uri"].startswith("http:") else MlflowRegistryChanges
    with ModelManager(order["uri"]) as manager:
        if order.get("together"):
            wait_before_the_claim(changes, order["together"], order["promoters"])
        die_at = order.get("die_at")
        if die_at is not None:
            kill_at(changes, *die_at)
        try:
            done = manager.promote_model("net", order["version"], "champion", verify=False)
            return {"code": 0, "version": done.version, "moved": done.moved}
        except AgentNNError as error:
            return {"code": error.exit_code, "message": error.message}

def wait_before_the_claim(changes, folder, promoters):
    # Nobody claims before everybody has read where the alias is: what is decided later is no race.
    def wrapped(self, *arguments, _call=changes.set_tag):
        open(os.path.join(folder, str(os.getpid())), "w").close()
        deadline = time.monotonic() + 120
        while len(os.listdir(folder)) < promoters and time.monotonic() < deadline:
            time.sleep(0.005)
        _call(self, *arguments)
    changes.set_tag = wrapped

def kill_at(changes, number, before):
    count = [0]
    for name in WRITES:
        def wrapped(self, *arguments, _call=getattr(changes, name)):
            count[0] += 1
            if before and count[0] == number: os.kill(os.getpid(), signal.SIGKILL)
            _call(self, *arguments)
            if not before and count[0] == number: os.kill(os.getpid(), signal.SIGKILL)
        setattr(changes, name, wrapped)

def fork(order):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            os.write(writing, json.dumps(promote(order)).encode())
        except BaseException:
            os.write(writing, json.dumps({"code": 70, "message": traceback.format_exc()}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading

print("ready", flush=True)
for line in sys.stdin:
    orders = json.loads(line)
    children = [fork(order) for order in orders]
    answers = []
    for order, (pid, reading) in zip(orders, children):
        if order.get("kill_after") is not None:
            time.sleep(order["kill_after"])
            os.kill(pid, signal.SIGKILL)
        text = b""
        while chunk := os.read(reading, 65536):
            text += chunk
        os.close(reading)
        os.waitpid(pid, 0)
        answers.append(json.loads(text) if text else {"code": -9})
    print(json.dumps(answers), flush=True)
"""


class Forker:
    """The process whose forks promote."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *orders: dict[str, Any]) -> list[dict[str, Any]]:
        """What each promoter said; all of them run at once."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        found: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def _forker() -> Iterator[Forker]:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment({"MLFLOW_ALLOW_FILE_STORE": "true"}),
    )
    try:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield Forker(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with _forker() as found:
        yield found


def registered(uri: str, versions: int, champion: int | None = 1) -> MlflowClient:
    """A model with some versions; what they hold does not matter here."""
    client = MlflowClient(uri)
    client.create_registered_model(NAME)
    run_id = client.create_run("0").info.run_id
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    for _ in range(versions):
        client.create_model_version(NAME, source, run_id)
    if champion is not None:
        client.set_registered_model_alias(NAME, "champion", str(champion))
    return client


def claims(client: MlflowClient) -> list[str]:
    return [key for key in client.get_registered_model(NAME).tags if key.startswith("agentnn.claim.")]


@pytest.mark.parametrize(("kind", "promoters"), [("sqlite", 8), ("server", 8), ("postgresql", 3), ("mlruns", 4)])
def test_of_those_that_promote_at_once_exactly_one_wins_and_the_others_are_told_who(
    kind: str, promoters: int, make_store: Callable[[str], str], forker: Forker, tmp_path: Path
):
    uri = make_store(kind)
    client = registered(uri, promoters + 1)
    champion = 1
    for number in range(ROUNDS):
        versions = [one for one in range(1, promoters + 2) if one != champion]
        together = tmp_path / f"round{number}"
        together.mkdir()
        common = {"uri": uri, "together": str(together), "promoters": promoters}
        answers = forker.run(*({**common, "version": one} for one in versions))
        winners = [answer["version"] for answer in answers if answer["code"] == 0]
        assert [answer for answer in answers if answer["code"] not in (0, 6)] == []
        assert len(winners) == 1, answers
        champion = winners[0]
        assert int(client.get_registered_model(NAME).aliases["champion"]) == champion
        messages = [answer["message"] for answer in answers if answer["code"] == 6]
        assert len(messages) == promoters - 1
        assert all(f"moved @champion of net to version {champion} at" in message for message in messages), messages
        assert claims(client) == []
    history = ModelManager(uri).model_history(NAME)
    assert [one.entry.action for one in history] == ["promote"] * ROUNDS + ["outside"]
    assert {one.outcome for one in history} == {"done"}


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_twenty_kills_leave_the_alias_old_or_new_and_an_honest_ledger(
    kind: str, make_store: Callable[[str], str], forker: Forker
):
    uri = make_store(kind)
    client = registered(uri, 2)
    forker.run({"uri": uri, "version": 2})  # what follows has nothing of others to write down
    points = [{"die_at": (number, before)} for number in range(1, 6) for before in (True, False)]
    anywhere = [{"kill_after": 0.02 + 0.03 * number} for number in range(KILLS_ANYWHERE)]
    seen = set()
    for kill in [*points, *anywhere]:
        old = int(client.get_registered_model(NAME).aliases["champion"])
        new = 3 - old
        before = len([one for one in ModelManager(uri).model_history(NAME) if one.outcome == "done"])
        (answer,) = forker.run({"uri": uri, "version": new, **kill})
        now = int(client.get_registered_model(NAME).aliases["champion"])
        history = ModelManager(uri).model_history(NAME)
        done = [one.entry for one in history if one.outcome == "done"]
        assert now in (old, new)
        assert [one.action for one in done if one.action == "outside"] in ([], ["outside"])  # that of the beginning
        assert done[0].to_version == now, (kill, history)
        assert len(done) == before + (now == new), (kill, history)
        assert {one.outcome for one in history} <= {"done", "interrupted"}
        if answer["code"] == 0:
            assert now == new
        seen.add((answer["code"], now == new))
    assert (-9, True) in seen
    assert (-9, False) in seen

    (after,) = forker.run({"uri": uri, "version": 3 - int(client.get_registered_model(NAME).aliases["champion"])})
    assert (after["code"], claims(client)) == (0, [])
    states = {json.loads(value)["state"] for key, value in client.get_registered_model(NAME).tags.items()}
    assert states == {"done", "abandoned"}


def test_a_killed_promoter_s_claim_stands_in_nobody_s_way(make_store: Callable[[str], str], forker: Forker):
    uri = make_store("sqlite")
    client = registered(uri, 4)
    forker.run({"uri": uri, "version": 2, "die_at": (1, False)})
    assert len(claims(client)) == 1
    answers = forker.run({"uri": uri, "version": 3})
    assert (answers[0]["code"], claims(client)) == (0, [])
