"""F23: logging from threads, forked and spawned processes. It lands in the right run, and no other one comes to be."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, kept_steps, wait_until
from mlflow import MlflowClient
from shared_store import copy_of, ended_run, runs_called, shared_state

from agentnn import current_run, start_run
from agentnn.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = "import os, subprocess, sys, threading\nfrom agentnn import current_run, start_run\n"
METHODS = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture
def new_runs(uri: str) -> Callable[[], list[str | None]]:
    """The names of the runs that are new in the store, sorted."""
    before = {run.info.run_id for run in MlflowClient(uri).search_runs(["0"], max_results=1000)}

    def find() -> list[str | None]:
        found = MlflowClient(uri).search_runs(["0"], max_results=1000)
        return sorted(run.info.run_name for run in found if run.info.run_id not in before)

    return find


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own for a run."""
    return re.sub(r"\W+", "-", request.node.name)


def train(script: str, uri: str, cwd: Path) -> list[str]:
    """What a training script prints, which must end well and with nothing said."""
    with Trainer(START + script, uri=uri, cwd=cwd) as trainer:
        assert (trainer.wait(), trainer.stderr) == (0, "")
        return trainer.lines


def in_threads(*targets: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(targets)) as pool:
        return [one.result(timeout=60) for one in [pool.submit(target) for target in targets]]


# -- threads -----------------------------------------------------------------------------------------------


def test_eight_threads_that_share_a_run_lose_nothing(uri: str, name: str, new_runs):
    barrier = threading.Barrier(8)

    def log(number: int) -> None:
        barrier.wait()
        for step in range(250):
            run.log_metric("shared", number, step * 8 + number)
            run.log_metrics({f"own-{number}": step, "everybody": number}, step)
        run.log_param(f"param-{number}", number)
        run.set_tag(f"tag-{number}", number)
        run.log_text(str(number), f"{number}.txt")

    run = start_run(name, tracking_uri=uri)
    in_threads(*(lambda number=number: log(number) for number in range(8)))
    run.end()
    kept = ended_run(uri, name)
    assert kept_steps(uri, run.run_id, "shared") == list(range(2000))
    for number in range(8):
        assert kept_steps(uri, run.run_id, f"own-{number}") == list(range(250))
    everybody = MlflowClient(uri).get_metric_history(run.run_id, "everybody")
    assert sorted((one.step, one.value) for one in everybody) == [(s, float(n)) for s in range(250) for n in range(8)]
    assert kept.data.params == {f"param-{number}": str(number) for number in range(8)}
    assert {key: value for key, value in kept.data.tags.items() if key.startswith("tag-")} == {
        f"tag-{number}": str(number) for number in range(8)
    }
    assert len(MlflowClient(uri).list_artifacts(run.run_id)) == 8
    assert new_runs() == [name]


def test_a_thread_logs_to_the_main_threads_run_or_to_its_own(uri: str, name: str, new_runs):
    def with_its_own(number: int) -> str:
        with start_run(f"{name}-{number}", tracking_uri=uri) as own:
            barrier.wait()
            current_run().log_metric("number", number)
            barrier.wait()
            assert current_run() is own
            return own.uuid

    def without() -> str:
        barrier.wait()
        current_run().log_metric("without", 1)
        barrier.wait()
        return current_run().uuid

    barrier = threading.Barrier(4)
    with start_run(name, tracking_uri=uri) as main:
        threes = [lambda number=number: with_its_own(number) for number in range(3)]
        *own, of_main = in_threads(*threes, without)
        assert current_run() is main
    assert of_main == main.uuid
    assert len({*own, of_main}) == 4
    assert ended_run(uri, name).data.metrics == {"without": 1.0}
    for number in range(3):
        run = ended_run(uri, f"{name}-{number}")
        assert run.data.metrics == {"number": number}
        assert "mlflow.parentRunId" not in run.data.tags
    assert new_runs() == sorted([name, *(f"{name}-{number}" for number in range(3))])


def test_a_threads_run_may_be_a_child_of_the_main_threads(uri: str, name: str):
    with start_run(name, tracking_uri=uri) as main:
        barrier = threading.Barrier(2)

        def child(number: int) -> None:
            with start_run(f"{name}-{number}", nested=True) as run, start_run(f"{name}-{number}-in", nested=True):
                barrier.wait()
                assert current_run() is not run
                barrier.wait()
            assert current_run() is main

        in_threads(*(lambda number=number: child(number) for number in range(2)))
    for number in range(2):
        of_main, inner = ended_run(uri, f"{name}-{number}"), ended_run(uri, f"{name}-{number}-in")
        assert of_main.data.tags["mlflow.parentRunId"] == main.run_id
        assert inner.data.tags["mlflow.parentRunId"] == of_main.info.run_id


def test_a_second_run_in_the_same_thread_has_to_be_asked_for(uri: str, name: str):
    def second() -> str:
        with start_run(name, tracking_uri=uri), pytest.raises(ConflictError) as refused:
            start_run(tracking_uri=uri)
        return str(refused.value)

    assert in_threads(second) == [f"the run {name!r} is open already"]


def test_a_thread_sees_the_only_run_there_is_but_never_guesses(
    uri: str, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AGENTNN_RUN", raising=False)
    turns = threading.Barrier(3)
    seen: dict[str, object] = {}

    def open_one(number: int) -> None:
        if number:
            turns.wait()  # the first has its run
            turns.wait()  # the third has looked
        with start_run(f"{name}-{number}", tracking_uri=uri) as run:
            if not number:
                seen["own"] = run
                turns.wait()
                turns.wait()
            turns.wait()  # both have their runs
            turns.wait()

    def look() -> None:
        turns.wait()
        seen["one"] = current_run()
        turns.wait()
        turns.wait()
        with caplog.at_level(logging.WARNING, "agentnn"):
            seen["two"] = current_run()
        turns.wait()

    in_threads(lambda: open_one(0), lambda: open_one(1), look)
    assert seen["one"] is seen["own"]
    assert seen["two"] is None
    assert "several threads have a run open" in caplog.text
    assert current_run() is None


# -- forked processes --------------------------------------------------------------------------------------


def test_a_forked_child_writes_into_its_parents_run_and_does_not_end_it(uri: str, name: str, tmp_path: Path, new_runs):
    script = (
        f"with start_run({name!r}) as run:\n"
        "    run.log_metric('both', 0, 0)\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        run.log_metric('both', 1, 1)\n"
        "        current_run().log_metric('of child', 1)\n"
        "    else:\n"
        "        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "        assert run.flush() and not run.ended\n"
        "        from agentnn import ModelManager\n"
        "        print(code, ModelManager().get_run(run.run_id).status)\n"
        "        run.log_metric('both', 2, 2)\n"
        "if child == 0:\n"
        "    assert current_run() is None and not run.is_owned\n"
        "    sys.exit(5)\n"
    )
    assert train(script, uri, tmp_path) == ["5 RUNNING"]
    run = ended_run(uri, name)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"both": 2.0, "of child": 1.0})
    assert kept_steps(uri, run.info.run_id, "both") == [0, 1, 2]
    assert new_runs() == [name]


@pytest.mark.parametrize("leave", ["raise ValueError", "sys.exit(3)", "os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_however_a_forked_child_leaves_its_parents_run_goes_on(leave: str, uri: str, name: str, tmp_path: Path):
    script = (
        "sys.stderr = open(os.devnull, 'w')\n"
        f"run = start_run({name!r})\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    with run:\n"
        "        run.log_metric('of child', 1)\n"
        f"        {leave}\n"
        "os.waitpid(child, 0)\n"
        "run.log_metric('of parent', 1)\n"
        "run.end()\n"
    )
    train(script, uri, tmp_path)
    run = ended_run(uri, name)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"of child": 1.0, "of parent": 1.0})
    assert "agentnn.end_reason" not in run.data.tags


def test_a_forked_child_may_have_a_run_of_its_own(uri: str, name: str, tmp_path: Path, new_runs):
    script = (
        f"run = start_run({name!r})\n"
        "for nested in (True, False):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        f"        with start_run(f'{name}-{{nested}}', nested=nested) as own:\n"
        "            assert current_run() is own\n"
        "            own.log_metric('own', 1)\n"
        "        current_run().log_metric(f'of parent {nested}', 1)\n"
        "        sys.exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "run.end()\n"
    )
    train(script, uri, tmp_path)
    parent, nested, alone = (ended_run(uri, one) for one in (name, f"{name}-True", f"{name}-False"))
    assert nested.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "mlflow.parentRunId" not in alone.data.tags
    assert (parent.data.metrics, nested.data.metrics) == ({"of parent True": 1.0, "of parent False": 1.0}, {"own": 1.0})
    assert new_runs() == sorted([name, f"{name}-True", f"{name}-False"])


def test_a_fork_while_other_threads_log_does_not_hang(uri: str, name: str, tmp_path: Path):
    script = (
        f"run = start_run({name!r})\n"
        "stop = threading.Event()\n"
        "counts = [0] * 4\n"
        "def log(number):\n"
        "    while not stop.is_set():\n"
        "        run.log_metric(f'thread {number}', 1, counts[number])\n"
        "        counts[number] += 1\n"
        "threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for number in range(20):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        run.log_metric('of children', 1, number)\n"
        "        run.log_param(f'child {number}', number)\n"
        "        os._exit(0)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "stop.set()\n"
        "for thread in threads: thread.join()\n"
        "run.end()\n"
        "print(*counts)\n"
    )
    counts = [int(count) for count in train(script, uri, tmp_path)[0].split()]
    run = ended_run(uri, name)
    assert kept_steps(uri, run.info.run_id, "of children") == list(range(20))
    assert len(run.data.params) == 20
    for number, count in enumerate(counts):
        assert kept_steps(uri, run.info.run_id, f"thread {number}") == list(range(count))


# -- workers of multiprocessing, and other processes -------------------------------------------------------

WORK = (
    "import os\n"
    "from agentnn import MLflowManager, current_run, start_run\n"
    "def given(run, number):\n"
    "    with run:\n"
    "        run.log_metric('given', number, number)\n"
    "    run.log_metric('given', number, number + 100)\n"
    "    return len(os.listdir('/proc/self/fd'))\n"
    "def asked(number):\n"
    "    current_run().log_metric('asked', number, number)\n"
    "    MLflowManager().log_metrics({'managed': number}, number)\n"
    "def nested(number):\n"
    "    with start_run(f'{current_run().name}-{number}', nested=True) as run:\n"
    "        run.log_metric('number', number)\n"
    "    asked(number)\n"
)


@METHODS
def test_workers_that_are_given_a_run_write_into_it(method: str, uri: str, name: str, tmp_path: Path, new_runs):
    (tmp_path / "work.py").write_text(WORK, encoding="utf-8")
    script = (
        "import multiprocessing, work\n"
        "if __name__ == '__main__':\n"
        f"    with start_run({name!r}) as run, multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        counts = pool.starmap(work.given, [(run, number) for number in range(20)], chunksize=1)\n"
        "        pool.close()\n"
        "        pool.join()\n"
        "    print(max(counts) - min(counts) < 5)\n"
    )
    assert train(script, uri, tmp_path) == ["True"]
    run = ended_run(uri, name)
    assert run.info.status == "FINISHED"
    assert kept_steps(uri, run.info.run_id, "given") == [*range(20), *range(100, 120)]
    assert new_runs() == [name]


@METHODS
@pytest.mark.parametrize("told", ["by the environment", "by an argument"])
def test_workers_that_are_not_given_the_run_find_it(
    method: str, told: str, uri: str, name: str, tmp_path: Path, new_runs
):
    (tmp_path / "work.py").write_text(WORK, encoding="utf-8")
    where = "" if told == "by the environment" else f", tracking_uri={uri!r}"
    script = (
        "import multiprocessing, work\n"
        "if __name__ == '__main__':\n"
        f"    with start_run({name!r}{where}) as run:\n"
        f"        context = multiprocessing.get_context({method!r})\n"
        "        workers = [context.Process(target=work.asked, args=(number,)) for number in range(3)]\n"
        "        for worker in workers: worker.start()\n"
        "        for worker in workers: worker.join()\n"
        "        print(*[worker.exitcode for worker in workers])\n"
    )
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    assert train(script, uri if told == "by the environment" else elsewhere, tmp_path) == ["0 0 0"]
    run = ended_run(uri, name)
    assert kept_steps(uri, run.info.run_id, "asked") == kept_steps(uri, run.info.run_id, "managed") == [0, 1, 2]
    assert new_runs() == [name]
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_task_of_a_worker_has_the_same_parent(method: str, uri: str, name: str, tmp_path: Path, new_runs):
    (tmp_path / "work.py").write_text(WORK, encoding="utf-8")
    script = (
        "import multiprocessing, work\n"
        "if __name__ == '__main__':\n"
        f"    with start_run({name!r}, tracking_uri={uri!r}) as run:\n"
        f"        with multiprocessing.get_context({method!r}).Pool(1) as pool: pool.map(work.nested, range(3))\n"
    )
    train(script, f"sqlite:///{tmp_path}/elsewhere.db", tmp_path)
    parent = ended_run(uri, name)
    for number in range(3):
        child = ended_run(uri, f"{name}-{number}")
        assert (child.info.status, child.data.metrics) == ("FINISHED", {"number": number})
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert kept_steps(uri, parent.info.run_id, "asked") == [0, 1, 2]
    assert new_runs() == [name, *(f"{name}-{number}" for number in range(3))]


def test_another_script_that_the_trainer_runs_finds_the_run(uri: str, name: str, tmp_path: Path, new_runs):
    (tmp_path / "evaluate.py").write_text(
        "from agentnn import MLflowManager, start_run\n"
        "MLflowManager().log_metrics({'from script': 1})\n"
        "with start_run('of script', nested=True): pass\n",
        encoding="utf-8",
    )
    script = (
        f"with start_run({name!r}) as run, start_run('{name}-inner', nested=True) as inner:\n"
        "    subprocess.run([sys.executable, 'evaluate.py'], check=True)\n"
        "    inner.end()\n"
        "    subprocess.run([sys.executable, 'evaluate.py'], check=True)\n"
    )
    train(script, uri, tmp_path)
    outer, inner = ended_run(uri, name), ended_run(uri, f"{name}-inner")
    assert (outer.data.metrics, inner.data.metrics) == ({"from script": 1.0}, {"from script": 1.0})
    parents = [run.data.tags["mlflow.parentRunId"] for run in runs_called(uri, "of script")]
    assert sorted(parents) == sorted([outer.info.run_id, inner.info.run_id])
    assert new_runs() == sorted([name, f"{name}-inner", "of script", "of script"])


LATE = (
    "import sys\n"
    "from agentnn import MLflowManager, current_run\n"
    "sys.stdin.readline()\n"
    "print(current_run())\n"
    "MLflowManager().log_metrics({'late': 1})\n"
)


@pytest.mark.parametrize("end", ["run.end()", "run.end()\nstart_run('{name}-next')", "os._exit(1)"])
def test_a_process_that_outlives_the_run_makes_no_other_one(end: str, uri: str, name: str, tmp_path: Path, new_runs):
    (tmp_path / "late.py").write_text(LATE, encoding="utf-8")
    script = (
        f"run = start_run({name!r})\n"
        "late = subprocess.Popen([sys.executable, 'late.py'], stdin=subprocess.PIPE, text=True)\n"
        f"{end.format(name=name)}\n"
        "late.communicate('\\n', timeout=60)\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait()
        wait_until(lambda: "None" in trainer.lines and "no run is open" in trainer.stderr, "what the process says")
    assert ended_run(uri, name).data.metrics == {}
    assert name in new_runs()
    assert set(new_runs()) <= {name, f"{name}-next"}


def test_a_worker_that_saw_the_run_sees_that_it_has_ended(uri: str, name: str, tmp_path: Path):
    (tmp_path / "late.py").write_text("from agentnn import current_run\nprint(current_run().name)\n" + LATE, "utf-8")
    script = (
        f"run = start_run({name!r})\n"
        "late = subprocess.Popen([sys.executable, '-u', 'late.py'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(late.stdout.readline().decode().strip())\n"
        "run.end()\n"
        "print(late.communicate(b'\\n', timeout=60)[0].decode().strip())\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        assert trainer.wait() == 0
        assert trainer.lines == [name, "None"]


def test_the_password_of_the_store_is_found_in_the_environment_of_a_worker(tmp_path: Path):
    script = (
        "run = start_run('with password')\n"
        "ask = 'from agentnn import current_run; print(current_run().settings.tracking_uri)'\n"
        "subprocess.run([sys.executable, '-c', ask], check=True)\n"
        "os._exit(0)\n"
    )
    uri = "http://ada:hunter2@127.0.0.1:9"
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait()
        assert trainer.lines == [uri]


@pytest.mark.parametrize("again", [lambda run: pickle.loads(pickle.dumps(run)), copy.copy, copy.deepcopy])
def test_within_its_own_process_a_copy_of_a_run_is_the_run(again, uri: str, name: str):
    with start_run(name, tracking_uri=uri) as run:
        assert again(run) is run
        assert again({"run": run})["run"] is run
