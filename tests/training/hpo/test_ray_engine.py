"""The Ray engine but for what needs several nodes, which ``tests/faults/test_ray_nodes.py`` has."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentnn.errors import MissingDependencyError, StoreUnavailable, UsageError
from agentnn.training.hpo.engines.engine import TrialOutcome, TrialTask
from agentnn.training.hpo.engines.ray_cluster import ClusterOptions, ClusterWatch, connect, end_without_result
from agentnn.training.hpo.engines.ray_engine import RayEngine, machines_without
from agentnn.training.hpo.engines.ray_tasks import Luggage, Mailbox, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentnn.training.hpo.engines.engine import TrialEnd

ray = pytest.importorskip("ray")


def never(*_: Any) -> bool:
    """Prune nothing."""
    return False


def test_a_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError) as caught:
        RayEngine(lambda *_: TrialOutcome("complete"), never)
    assert (caught.value.exit_code, caught.value.hint) == (9, "pip install 'agentnn[ray]'")


def test_work_that_can_not_be_sent_is_told():
    lock = threading.Lock()
    before = set(Path("/tmp").glob("agentnn-ray-*"))
    with pytest.raises(UsageError, match="the objective can't be sent to other machines: TypeError") as caught:
        RayEngine(lambda *_: TrialOutcome("complete", reason=str(lock)), never)
    assert caught.value.hint
    assert set(Path("/tmp").glob("agentnn-ray-*")) == before


def test_an_address_where_nobody_is_is_told_at_once():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(StoreUnavailable, match=f"no Ray cluster answers at {address}: ConnectionRefused") as caught:
            connect(ClusterOptions(address, None, 1, 0, "", 30))
    assert "ray start --head" in caught.value.hint


def test_an_address_that_is_none_is_told():
    with pytest.raises(UsageError, match="is no address of a Ray cluster's head") as caught:
        connect(ClusterOptions("ray://head:10001", None, 1, 0, "", 30))
    assert "HOST:PORT" in caught.value.hint


def test_only_what_nodes_need_of_the_environment_travels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    monkeypatch.setenv("AGENTNN_RUN", "/somewhere")
    packed = pack(lambda *_: TrialOutcome("complete"))
    luggage: Luggage = pickle.loads(packed)
    assert luggage.environment == {"MLFLOW_TRACKING_INSECURE_TLS": "true"}
    assert luggage.home == (socket.gethostname(), os.environ["AGENTNN_STATE_DIR"])
    assert b"hunter2" not in packed


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////data/mlflow.db", True),
        ("file:///data/mlruns", True),
        ("./mlruns", True),
        ("http://localhost:5000", True),
        ("http://user:password@127.0.0.1:5000/x", True),
        ("http://[::1]:5000", True),
        ("http://mlflow.example.com", False),
        ("https://10.0.0.7:5000", False),
        ("postgresql+psycopg://me@db:5432/mlflow", False),
        ("databricks://profile", False),
        ("", False),
    ],
)
def test_which_stores_other_machines_can_not_reach(uri: str, expected: bool):
    here = socket.gethostname()
    assert machines_without(uri, (here, "another")) == (["another"] if expected else [])
    assert machines_without(uri, (here,)) == []


def test_a_report_waits_in_the_box_until_it_is_answered():
    async def story() -> list[bool]:
        box = Mailbox()
        reports = [asyncio.ensure_future(box.report(number, 1, 0.5)) for number in range(3)]
        seen: list[tuple[int, int, int, float]] = []
        while len(seen) < 3:
            seen += await box.take()
        assert [one[1:] for one in seen] == [(0, 1, 0.5), (1, 1, 0.5), (2, 1, 0.5)]
        waiting = asyncio.ensure_future(box.take())
        assert not any(one.done() for one in reports)
        for ticket, number, *_ in reversed(seen):
            await box.answer(ticket, number == 1)
            await box.answer(ticket, True)  # once more means nothing
        answers = await asyncio.gather(*reports)
        waiting.cancel()
        return answers

    assert asyncio.run(story()) == [False, True, False]


def node(host: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    """As ``ray.nodes()`` has it."""
    return {"Alive": alive, "NodeManagerHostname": host, "Resources": resources}


@pytest.mark.parametrize(
    ("workers", "needs", "nodes", "expected"),
    [
        (None, (1, 0), [node("a", CPU=2.0), node("b", CPU=3.0)], (5, ("a", "b"))),
        (None, (1, 0), [node("a", CPU=2.0), node("b", alive=False, CPU=3.0)], (2, ("a",))),
        (4, (1, 0), [node("a", CPU=16.0)], (4, ("a",))),
        (None, (2, 0), [node("a", CPU=3.0), node("a", CPU=3.0)], (2, ("a",))),
        (None, (1, 1), [node("a", CPU=8.0, GPU=2.0), node("b", CPU=8.0)], (2, ("a", "b"))),
        (None, (0.5, 0), [node("a", CPU=2.0)], (4, ("a",))),
        (None, (1, 0), [node("a")], (1, ("a",))),  # one that waits may call for a node
    ],
)
def test_how_many_trials_there_is_room_for(
    workers: int | None,
    needs: tuple[float, float],
    nodes: list[dict[str, Any]],
    expected: tuple[int, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    told: list[tuple[int, tuple[str, ...]]] = []
    watch = ClusterWatch("a:1", ClusterOptions("a:1", workers, *needs, "", 30), lambda *now: told.append(now), never)
    watch.look()
    watch.look()  # nothing has changed
    assert told == [expected]


def test_a_head_that_is_away_too_long_is_lost():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        lost: list[bool] = []
        head = f"127.0.0.1:{closed.getsockname()[1]}"
        options = ClusterOptions(head, None, 1, 0, "", 0.1)
        ClusterWatch(head, options, never, lambda: lost.append(True)).run()
    assert lost == [True]


def test_how_a_trial_without_a_result_ended_is_told_in_words():
    known = ray.exceptions
    said = {
        "its node (10.0.0.7) died": known.NodeDiedError("Task failed. Node IP: 10.0.0.7, node ID: 3f."),
        "its worker process died": known.WorkerCrashedError(),
        "its worker process was ended by Ray for want of memory": known.OutOfMemoryError("x"),
        "Ray gave it up: RaySystemError: System error: broken": known.RaySystemError("broken"),
    }
    for reason, error in said.items():
        end = end_without_result(3, error)
        assert (end.number, end.outcome, end.reason) == (3, None, reason)


def run(engine: RayEngine, tasks: Iterable[TrialTask]) -> dict[int, TrialEnd]:
    """As a study would."""
    waiting, running, ended = list(tasks), 0, {}
    while waiting or running:
        while waiting and running < engine.capacity:
            engine.submit(waiting.pop(0))
            running += 1
        for end in engine.wait(5):
            running -= 1
            ended[end.number] = end
    return ended


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """It is started, runs trials, survives a worker, and leaves nothing behind when it is broken off."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    environment = dict(os.environ)
    note = tmp_path / "interrupted"
    marks = {"mark": "run-with-ray"}

    def work(task: TrialTask, report: Callable[[int, float], bool]) -> TrialOutcome:
        import os
        import signal
        import time
        from pathlib import Path

        print(marks["mark"])
        if task.params["do"] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task.params["do"] == "raise":
            raise ZeroDivisionError("a bug")
        if task.params["do"] == "sleep":
            try:
                Path(f"{note}-not").touch()
                for _ in range(60_000):  # Ray interrupts no system call
                    time.sleep(0.01)
            except KeyboardInterrupt:
                Path(note).touch()
                raise
        answers = [report(step, float(task.number)) for step in (1, 2)]
        return TrialOutcome("pruned" if all(answers) else "complete", (float(task.number),))

    reports: list[tuple[int, int, float]] = []

    def on_report(number: int, step: int, value: float) -> bool:
        reports.append((number, step, value))
        return number == 3

    engine = RayEngine(work, on_report, workers=2)
    try:
        assert engine.capacity == 2
        actions = ["go", "go", "die", "go", "raise", "go"]
        ended = run(engine, (TrialTask(number, {"do": do}) for number, do in enumerate(actions)))
        assert {number: end.outcome and end.outcome.state for number, end in ended.items()} == {
            0: "complete", 1: "complete", 2: None, 3: "pruned", 4: "failed", 5: "complete",
        }  # fmt: skip
        assert ended[2].reason == "its worker process died"
        assert ended[4].outcome is not None
        assert ended[4].outcome.reason == "ZeroDivisionError: a bug"
        assert sorted(reports) == [(number, step, float(number)) for number in (0, 1, 3, 5) for step in (1, 2)]
        engine.submit(TrialTask(6, {"do": "sleep"}))
        while not Path(f"{note}-not").exists():
            assert engine.wait(0.05) == []
    finally:
        engine.close(interrupted=True)
    engine.close()
    assert note.exists()
    assert engine.wait(0) == []
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert dict(os.environ) == environment
    assert not ray.is_initialized()
    assert not (tmp_path / ".ray").exists()
    assert (
        "agentnn-ray-" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    )
    assert capfd.readouterr() == ("", "")
