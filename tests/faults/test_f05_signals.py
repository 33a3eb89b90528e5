"""F05: Ctrl-C, SIGTERM or SIGHUP, with the store up and down. The run is KILLED, or queued as such, within 5 s."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from faults.trainers import Trainer, allowed_s, sender_pid, store_folder, wait_until
from faulty_proxy import FaultyProxy
from shared_store import copy_of, ended_run, shared_state

from agentnn.tracking.journal.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DEADLINE_S = 5.0
START = "import os, signal, sys, threading, time\nfrom agentnn import start_run\n"
LOOP = "print(run.uuid)\nprint('ready')\nwhile True:\n    run.log_metric('loss', 0.5)\n    time.sleep(0.01)\n"
REASONS = {
    signal.SIGINT: "interrupted (SIGINT)",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP",
}
SIGNALS = pytest.mark.parametrize("number", REASONS, ids=lambda number: number.name)


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


@pytest.fixture(scope="module", params=["refuse", "hang"])
def down(request: pytest.FixtureRequest, state_dir: Path) -> Iterator[str]:
    """The URI of a server that is down: it refuses connections, or takes them and says nothing."""
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = request.param
        yield proxy.url


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def within(name: str, body: str = LOOP) -> str:
    return f"with start_run({name!r}) as run:\n{indented(body)}"


def outside(name: str, body: str = LOOP) -> str:
    return f"run = start_run({name!r})\n{body}"


def three_deep(name: str, body: str = LOOP) -> str:
    """Three runs within each other."""
    inner = f"with start_run('{name}-inner', nested=True) as run:\n{indented(body)}"
    return f"with start_run({name!r}), start_run('{name}-middle', nested=True):\n{indented(inner)}"


def three_outside(name: str, body: str = LOOP) -> str:
    inner = f"start_run('{name}-middle', nested=True)\nrun = start_run('{name}-inner', nested=True)"
    return f"start_run({name!r})\n{inner}\n{body}"


FORMS = (within, outside, three_deep, three_outside)


class Shot(NamedTuple):
    """What became of a trainer that got a signal.

    Attributes:
        code: Its exit code, as a shell says it.
        took: Seconds from the (first) signal to its end.
        allowed: How many these may be.
        lines: What it printed; the uuid of its innermost run comes first.
        shown: What it wrote to standard error.
    """

    code: int
    took: float
    allowed: float
    lines: list[str]
    shown: str


def shot(scripts: Sequence[str], number: signal.Signals, uri: str, cwd: Path, *, times: int = 1) -> list[Shot]:
    """Start trainers side by side, and send each so many signals once all are ready."""
    with ExitStack() as all_of_them:
        trainers = [all_of_them.enter_context(Trainer(START + one, uri=uri, cwd=cwd)) for one in scripts]
        for trainer in trainers:
            trainer.wait_for_line("ready")
        started = time.monotonic()
        for _ in range(times):
            for trainer in trainers:
                trainer.process.send_signal(number)
            time.sleep(0.2 if times > 1 else 0)
        ends: dict[int, float] = {}
        wait_until(lambda: len(note_ends(trainers, ends, started)) == len(trainers), "the end of the trainers")
        codes = [trainer.wait() for trainer in trainers]
        allowed = allowed_s(DEADLINE_S, max(trainer.start_up_s for trainer in trainers))
        return [
            Shot(code if code >= 0 else 128 - code, ends[place], allowed, trainer.lines, trainer.stderr)
            for place, (code, trainer) in enumerate(zip(codes, trainers, strict=True))
        ]


def note_ends(trainers: Sequence[Trainer], ends: dict[int, float], started: float) -> dict[int, float]:
    for place, trainer in enumerate(trainers):
        if place not in ends and trainer.process.poll() is not None:
            ends[place] = time.monotonic() - started
    return ends


def queued_ends(uri: str, uuid: str) -> list[dict[str, Any]]:
    """What the journal of a run says of its end."""
    found = [record.body for record in read_journal(store_folder(uri).run(uuid).journal) if record.body]
    return [body for body in found if body["kind"] == "end"]


@SIGNALS
def test_a_signal_kills_the_run_and_then_the_process(number: signal.Signals, uri: str, tmp_path: Path):
    names = [f"{form.__name__}-{number.name}" for form in FORMS]
    for end in shot([form(name) for form, name in zip(FORMS, names, strict=True)], number, uri, tmp_path):
        assert end.code == 128 + number, end.shown
        assert end.took < end.allowed
    for name in [*names, *(f"{name}-{inner}" for name in names[2:] for inner in ("middle", "inner"))]:
        run = ended_run(uri, name)
        assert (name, run.info.status, run.data.tags["agentnn.end_reason"]) == (name, "KILLED", REASONS[number])


@SIGNALS
def test_with_the_store_down_the_end_is_queued(number: signal.Signals, down: str, tmp_path: Path):
    for end in shot([form("down") for form in FORMS], number, down, tmp_path):
        assert end.code == 128 + number, end.shown
        assert end.took < end.allowed
        [queued] = queued_ends(down, end.lines[0])
        assert (queued["status"], queued["reason"]) == ("KILLED", REASONS[number])
        assert "records of the run" in end.shown
        assert "agentnn run sync" in end.shown


def test_a_second_signal_changes_nothing_but_that_it_goes_faster(down: str, tmp_path: Path):
    for end in shot([form("twice") for form in FORMS], signal.SIGTERM, down, tmp_path, times=3):
        assert end.code == 143, end.shown
        assert end.took < end.allowed
        [queued] = queued_ends(down, end.lines[0])
        assert queued["status"] == "KILLED"
        assert "Traceback" not in end.shown


def test_a_wait_for_a_store_that_hangs_is_cut_short(tmp_path: Path):
    waits = (
        "run.flush()",
        "run.run_id",
        "run.end()",
        "thread = threading.Thread(target=run.flush, daemon=True)\nthread.start()\nthread.join()",
    )
    scripts = [within("waits", f"print('ready')\n{one}\ntime.sleep(60)") for one in waits]
    with FaultyProxy("http://127.0.0.1:9") as proxy:
        proxy.mode = "hang"
        for end in shot(scripts, signal.SIGTERM, proxy.url, tmp_path):
            assert end.code == 143, end.shown
            assert end.took < end.allowed


# -- whose signals they are --------------------------------------------------------------------------------


def test_a_handler_of_the_users_own_is_left_alone(uri: str, tmp_path: Path):
    handler = (
        "def handler(*_):\n"
        "    print('mine', signal.getsignal(signal.SIGTERM) is handler)\n"
        "    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, handler)\n"
    )
    [end] = shot([handler + within("own-handler")], signal.SIGTERM, uri, tmp_path)
    assert (end.code, end.lines[1:]) == (7, ["ready", "mine True"])
    run = ended_run(uri, "own-handler")
    assert (run.info.status, run.data.tags["agentnn.end_reason"]) == ("FAILED", "exit code 7")


def test_a_hang_up_that_is_ignored_as_by_nohup_stays_ignored(uri: str, tmp_path: Path):
    script = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with start_run('nohup') as run:\n"
        "    print('ready')\n"
        "    sys.stdin.readline()\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("ready")
        trainer.process.send_signal(signal.SIGHUP)
        trainer.go_on()
        assert trainer.wait() == 0
    assert ended_run(uri, "nohup").info.status == "FINISHED"


@pytest.mark.parametrize(
    "where", ["run.end()", "thread = threading.Thread(target=run.end)\nthread.start()\nthread.join()"]
)
def test_after_the_run_a_signal_does_what_it_did_before(where: str, uri: str, tmp_path: Path):
    script = outside("over", f"{where}\nprint('ready')\ntime.sleep(60)\n")
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("ready")
        trainer.process.send_signal(signal.SIGTERM)
        assert trainer.wait() == -signal.SIGTERM
        assert trainer.stderr == ""


def test_a_run_of_another_thread_does_not_hide_that_of_the_main_thread(uri: str, tmp_path: Path):
    other = (
        "def train():\n"
        "    with start_run('of thread'):\n"
        "        opened.set()\n"
        "        time.sleep(60)\n"
        "opened = threading.Event()\n"
        "threading.Thread(target=train, daemon=True).start()\n"
        "opened.wait()\n"
    )
    [end] = shot([other + within("of main")], signal.SIGTERM, uri, tmp_path)
    assert end.code == 143, end.shown
    assert ended_run(uri, "of main").info.status == "KILLED"
    assert ended_run(uri, "of thread").info.status == "KILLED"


def test_a_signal_that_is_caught_on_purpose_does_not_end_the_run(uri: str, tmp_path: Path):
    script = within("caught", "try:\n" + indented(LOOP) + "except SystemExit: pass\nrun.log_metric('loss', 0.25)\n")
    [end] = shot([script], signal.SIGTERM, uri, tmp_path)
    run = ended_run(uri, "caught")
    assert (end.code, run.info.status, run.data.metrics) == (0, "FINISHED", {"loss": 0.25})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_that_is_terminated_dies_at_once_and_the_run_goes_on(method: str, uri: str, tmp_path: Path):
    (tmp_path / "work.py").write_text(
        "import time\n"
        "def work(run):\n"
        "    run.log_metric('of worker', 1.0)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n",
        encoding="utf-8",
    )
    script = (
        "import multiprocessing, work\n"
        "if __name__ == '__main__':\n"
        f"    with start_run('terminates-{method}') as run:\n"
        f"        worker = multiprocessing.get_context({method!r}).Process(target=work.work, args=(run,))\n"
        "        worker.start()\n"
        "        sys.stdin.readline()\n"
        "        worker.terminate()\n"
        "        worker.join(60)\n"
        "        print(worker.exitcode)\n"
        "        run.log_metric('of main', 2.0)\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("ready")
        trainer.go_on()
        assert (trainer.wait(), trainer.lines) == (0, ["ready", "-15"]), trainer.stderr
    run = ended_run(uri, f"terminates-{method}")
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"of worker": 1.0, "of main": 2.0})


def test_ctrl_c_in_the_trainers_terminal_is_not_for_the_sender(uri: str, tmp_path: Path):
    with Trainer(START + within("group"), uri=uri, cwd=tmp_path) as trainer:
        trainer.wait_for_line("ready")
        wait_until(lambda: sender_pid(uri), "the sender")
        assert os.getsid(sender_pid(uri)) != os.getsid(trainer.process.pid)
        assert os.getpgid(sender_pid(uri)) != os.getpgid(trainer.process.pid)
