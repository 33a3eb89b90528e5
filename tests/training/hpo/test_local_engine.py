"""Worker processes, without a store: what they run, how they die, and that none is left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentnn.errors import StoreUnavailable, UsageError
from agentnn.training.hpo.engines.engine import TrialEnd, TrialOutcome, TrialTask
from agentnn.training.hpo.engines.inline_engine import InlineEngine
from agentnn.training.hpo.engines.local_engine import LocalEngine, threads_of_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentnn.training.hpo.engines.engine import Engine, Report, Work

DEADLINE_S = 120.0


def make(work: Work, on_report: Callable[..., bool] = lambda *_: False, workers: int = 1) -> LocalEngine:
    return LocalEngine(work, on_report, workers)


def ends_of(engine: Engine, number: int) -> dict[int, TrialEnd]:
    """So many ends of trials."""
    deadline, found = time.monotonic() + DEADLINE_S, {}
    while len(found) < number:
        assert time.monotonic() < deadline
        found |= {end.number: end for end in engine.wait(0.5)}
    return found


def pid_of_worker(task: TrialTask, report: Report) -> TrialOutcome:
    return TrialOutcome("complete", (float(os.getpid()), *map(float, task.params.values())))


def is_alive(pid: int) -> bool:
    """Whether a process has a thread that has not ended: until then its files are open."""
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it has ended meanwhile
            if (thread / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                return True
    return False


def wait_for(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(params=["inline", "local"])
def engine_of(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    made = []

    def build(work: Work, on_report: Callable[..., bool] = lambda *_: False) -> Any:
        made.append(InlineEngine(work, on_report) if request.param == "inline" else make(work, on_report))
        return made[-1]

    yield build
    for one in made:
        one.close()
        one.close()  # twice does no harm


def test_every_engine_runs_trials_and_answers_their_reports(engine_of: Any):
    heard = []

    def on_report(number: int, step: int, value: float) -> bool:
        heard.append((number, step, value))
        return step == 2

    def work(task: TrialTask, report: Report) -> TrialOutcome:
        for step in range(5):
            if report(step, task.params["x"] * step):
                return TrialOutcome("pruned", reason=f"at {step}")
        return TrialOutcome("complete")

    engine = engine_of(work, on_report)
    assert engine.capacity == 1
    engine.submit(TrialTask(7, {"x": 0.5}))
    assert ends_of(engine, 1) == {7: TrialEnd(7, TrialOutcome("pruned", reason="at 2"))}
    assert heard == [(7, 0, 0.0), (7, 1, 0.5), (7, 2, 1.0)]


def test_workers_are_processes_that_live_as_long_as_the_engine():
    with closing(make(pid_of_worker, workers=2)) as engine:
        assert engine.capacity == 2
        for first in (0, 2, 4):
            engine.submit(TrialTask(first, {"x": 1}))
            engine.submit(TrialTask(first + 1, {"x": 2}))
            found = ends_of(engine, 2)
            pids = {int(end.outcome.values[0]) for end in found.values() if end.outcome}
            assert len(pids) == 2
            assert os.getpid() not in pids
            assert first == 0 or pids == before  # noqa: F821 - of the round before
            before = pids  # noqa: F841
    wait_for(lambda: not any(map(is_alive, pids)))


def test_what_a_trial_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]):
    def work(task: TrialTask, report: Report) -> TrialOutcome:
        print("hello from a trial")
        os.system("echo from a child of it")
        return TrialOutcome("complete")

    with closing(make(work)) as engine:
        engine.submit(TrialTask(0, {}))
        ends_of(engine, 1)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert {"hello from a trial", "from a child of it"} <= set(printed.err.splitlines())


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL, perhaps for want of memory"),
        ("os.abort()", "was killed by SIGABRT"),
        ("os._exit(3)", "left with exit code 3"),
    ],
)
def test_a_worker_that_dies_is_noticed_at_once_and_replaced(ending: str, reason: str):
    def work(task: TrialTask, report: Report) -> TrialOutcome:
        if task.params["dies"]:
            # A child that holds on to the socket does not hide the death.
            subprocess.Popen(["sleep", "600"], close_fds=False)
            exec(ending, {"os": os, "signal": signal})
        return TrialOutcome("complete", (float(os.getpid()),))

    with closing(make(work)) as engine:
        engine.submit(TrialTask(0, {"dies": False}))
        [first] = ends_of(engine, 1).values()
        engine.submit(TrialTask(1, {"dies": True}))
        started = time.monotonic()
        [dead] = ends_of(engine, 1).values()
        assert time.monotonic() - started < DEADLINE_S
        assert dead.outcome is None
        assert reason in dead.reason
        engine.submit(TrialTask(2, {"dies": False}))
        [third] = ends_of(engine, 1).values()
        assert first.outcome is not None
        assert third.outcome is not None
        assert third.outcome.values != first.outcome.values


def test_a_worker_that_died_with_nothing_to_do_is_replaced():
    with closing(make(pid_of_worker)) as engine:
        engine.submit(TrialTask(0, {}))
        [end] = ends_of(engine, 1).values()
        assert end.outcome is not None
        os.kill(int(end.outcome.values[0]), signal.SIGKILL)
        wait_for(lambda: not is_alive(int(end.outcome.values[0])))
        engine.submit(TrialTask(1, {}))
        assert ends_of(engine, 1)[1].outcome is not None


def test_an_interruption_ends_what_runs_and_what_that_has_started(tmp_path: Path):
    def work(task: TrialTask, report: Report) -> TrialOutcome:
        child = subprocess.Popen(["sleep", "600"])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it does not want to
        (tmp_path / "pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
        return TrialOutcome("complete")

    engine = make(work)
    engine.submit(TrialTask(0, {}))
    wait_for(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 2)
    started = time.monotonic()
    engine.close(interrupted=True)
    assert time.monotonic() - started < DEADLINE_S
    wait_for(lambda: not any(is_alive(int(pid)) for pid in (tmp_path / "pids").read_text().split()))


def test_workers_leave_when_their_driver_is_killed(tmp_path: Path):
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from agentnn.training.hpo.engines.engine import TrialOutcome, TrialTask\n"
        "from agentnn.training.hpo.engines.local_engine import LocalEngine\n"
        "def work(task, report):\n"
        "    Path(f'pid-{task.number}').write_text(str(os.getpid()))\n"
        "    time.sleep(600 if task.number else 0)\n"
        "    return TrialOutcome('complete')\n"
        "engine = LocalEngine(work, lambda *_: False, 2)\n"
        "for number in range(2): engine.submit(TrialTask(number, {}))\n"
        "while True: engine.wait(1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path) as driver:
        wait_for(lambda: all((tmp_path / f"pid-{number}").exists() for number in range(2)))
        wait_for(lambda: all((tmp_path / f"pid-{number}").read_text() for number in range(2)))
        driver.kill()
    pids = [int((tmp_path / f"pid-{number}").read_text()) for number in range(2)]
    wait_for(lambda: not any(map(is_alive, pids)))


def test_modules_beside_the_script_are_found(tmp_path: Path):
    (tmp_path / "mine.py").write_text("def value(): return 4.5\n")
    (tmp_path / "queue.py").write_text("raise RuntimeError('not the standard library')\n")
    script = (
        "import sys\n"
        "from agentnn.training.hpo.engines.engine import TrialOutcome, TrialTask\n"
        "from agentnn.training.hpo.engines.local_engine import LocalEngine\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "def work(task, report):\n"
        "    import mine\n"
        "    return TrialOutcome('complete', (mine.value(),))\n"
        "engine = LocalEngine(work, lambda *_: False, 1)\n"
        "engine.submit(TrialTask(0, {}))\n"
        "while not (ends := engine.wait(1)): pass\n"
        "print(ends[0].outcome.values)\n"
        "engine.close()\n"
        "print('done')\n"
    )
    command = [sys.executable, "-P", "-c", script, str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ended.stdout.splitlines() == ["(4.5,)", "done"], ended.stderr


def test_work_that_cant_be_sent_is_refused():
    lock = threading.Lock()
    with pytest.raises(UsageError, match="can't be sent to a worker process: TypeError"):
        make(lambda task, report: TrialOutcome("complete", (float(lock.locked()),)))


def test_no_room_for_the_work_is_4():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = bytes(100_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StoreUnavailable, match="no room for what the workers need") as raised:
            make(lambda task, report: TrialOutcome("complete", (float(len(large)),)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "TMPDIR" in raised.value.hint


def test_work_that_cant_be_loaded_is_said():
    class Unloadable:
        def __reduce__(self) -> Any:
            return (exec, ("import a_module_that_is_not_there",))

        def __call__(self, task: TrialTask, report: Report) -> TrialOutcome:
            raise AssertionError

    with closing(make(Unloadable())) as engine:
        engine.submit(TrialTask(0, {}))
        with pytest.raises(UsageError, match="can't be loaded in a worker process: ModuleNotFoundError"):
            ends_of(engine, 1)


def test_the_processors_are_shared(monkeypatch: pytest.MonkeyPatch):
    def threads(task: TrialTask, report: Report) -> TrialOutcome:
        return TrialOutcome("complete", (float(os.environ["OMP_NUM_THREADS"]),))

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [threads_of_worker(workers) for workers in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    with closing(make(threads, workers=2)) as engine:
        engine.submit(TrialTask(0, {}))
        assert ends_of(engine, 1)[0].outcome == TrialOutcome("complete", (4.0,))
