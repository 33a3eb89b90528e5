"""F06: training ends by an error, by ``sys.exit``, or just so. The run says which, and the first error is shown."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from faults.trainers import Trainer, store_folder
from shared_store import copy_of, ended_run, shared_state

from agentnn import start_run
from agentnn.tracking.journal.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = "import os, sys\nfrom agentnn import start_run\n"
ERROR = "class Custom(Exception): pass\nraise Custom('boom\\nand more')"


@pytest.fixture(scope="module", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shared_state(tmp_path_factory) as path:
        yield path


@pytest.fixture(scope="module")
def uri(template_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return copy_of(template_database, tmp_path_factory)


def train(script: str, uri: str, tmp_path: Path) -> tuple[int, str]:
    """Exit code and standard error of a training script; a code as a shell says it."""
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        code = trainer.wait()
        return (code if code >= 0 else 128 - code), trainer.stderr


def within(body: str, name: str) -> str:
    """A script that has this code in a ``with`` block."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"with start_run({name!r}) as run:\n    run.log_metric('loss', 0.5)\n{lines}"


def outside(body: str, name: str) -> str:
    """A script that starts a run, and leaves it open until it ends."""
    return f"run = start_run({name!r})\nrun.log_metric('loss', 0.5)\n{body}\n"


ENDINGS = {
    "nothing": ("pass", 0, "FINISHED", None),
    "exit": ("sys.exit()", 0, "FINISHED", None),
    "exit-0": ("sys.exit(0)", 0, "FINISHED", None),
    "exit-3": ("sys.exit(3)", 3, "FAILED", "exit code 3"),
    "exit-text": ("sys.exit('no data\\nat all')", 1, "FAILED", "no data"),
    "site-exit": ("exit(4)", 4, "FAILED", "exit code 4"),
    "error": (ERROR, 1, "FAILED", "Custom: boom"),
    "assert": ("assert 1 > 2", 1, "FAILED", "AssertionError"),
    "interrupt": ("raise KeyboardInterrupt", 130, "KILLED", "interrupted (SIGINT)"),
    "exit-130": ("sys.exit(130)", 130, "KILLED", "ended by SIGINT"),
}


@pytest.mark.parametrize("form", [within, outside], ids=["with", "plain"])
@pytest.mark.parametrize("kind", ENDINGS)
def test_a_run_ends_as_its_process_does(kind: str, form, uri: str, tmp_path: Path):
    body, code, status, reason = ENDINGS[kind]
    name = f"{form.__name__}-{kind}"
    ran = train(form(body, name), uri, tmp_path)
    run = ended_run(uri, name)
    assert (ran[0], run.info.status, run.data.tags.get("agentnn.end_reason")) == (code, status, reason), ran[1]
    assert run.info.end_time >= run.info.start_time
    assert run.data.metrics == {"loss": 0.5}


@pytest.mark.parametrize(
    ("name", "body", "code", "status", "reason"),
    [
        ("systemexit", "raise SystemExit(3)", 3, "FAILED", "exit code 3"),
        ("wide", "try: sys.exit(3)\nexcept SystemExit: pass", 0, "FINISHED", None),
        ("early", "run.end()\nsys.exit(3)", 3, "FINISHED", None),
        ("chosen", "run.end('KILLED', 'no use')\nraise ValueError", 1, "KILLED", "no use"),
    ],
)
def test_what_leaves_the_with_block_decides(
    name: str, body: str, code: int, status: str, reason: str | None, uri: str, tmp_path: Path
):
    ran = train(within(body, name), uri, tmp_path)
    run = ended_run(uri, name)
    assert (ran[0], run.info.status, run.data.tags.get("agentnn.end_reason")) == (code, status, reason), ran[1]


def test_an_error_is_known_though_somebody_else_shows_the_errors(uri: str, tmp_path: Path):
    script = outside("sys.excepthook = lambda *_: print('shown by another', file=sys.stderr)\n1 / 0", "other-hook")
    assert train(script, uri, tmp_path) == (1, "shown by another\n")
    run = ended_run(uri, "other-hook")
    assert (run.info.status, run.data.tags["agentnn.end_reason"]) == ("FAILED", "ZeroDivisionError: division by zero")


def test_an_exit_from_another_thread_is_not_that_of_the_process(uri: str, tmp_path: Path):
    script = outside(
        "import threading\nthread = threading.Thread(target=sys.exit, args=(3,))\nthread.start()\nthread.join()",
        "exit-thread",
    )
    assert train(script, uri, tmp_path) == (0, "")
    assert ended_run(uri, "exit-thread").info.status == "FINISHED"


def test_an_exit_that_was_caught_while_another_run_was_open_is_forgotten(uri: str, tmp_path: Path):
    script = (
        "first = start_run('caught')\ntry: sys.exit(3)\nexcept SystemExit: first.end()\nstart_run('after-caught')\n"
    )
    assert train(script, uri, tmp_path)[0] == 0
    assert ended_run(uri, "after-caught").info.status == "FINISHED"


def test_all_open_runs_end_with_the_process_the_innermost_first(uri: str, tmp_path: Path):
    script = "start_run('outer')\nstart_run('inner', nested=True)\nwith start_run('done', nested=True): pass\n1 / 0\n"
    assert train(script, uri, tmp_path)[0] == 1
    outer, inner, done = (ended_run(uri, name) for name in ("outer", "inner", "done"))
    assert [run.info.status for run in (outer, inner, done)] == ["FAILED", "FAILED", "FINISHED"]
    assert [run.data.tags.get("mlflow.parentRunId") for run in (inner, done)] == [outer.info.run_id, inner.info.run_id]
    assert inner.info.end_time <= outer.info.end_time


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_run_that_a_worker_of_multiprocessing_leaves_open_ends_as_the_worker_does(
    method: str, uri: str, tmp_path: Path
):
    (tmp_path / "work.py").write_text(
        "from agentnn import start_run\n"
        "def work(name, how):\n"
        "    start_run(name).log_metric('loss', 0.5)\n"
        "    if how: raise how\n",
        encoding="utf-8",
    )
    script = (
        "import multiprocessing, work\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    ends = {'well': None, 'badly': ValueError('boom'), 'leaving': SystemExit(3)}\n"
        f"    many = [context.Process(target=work.work, args=({method!r} + '-' + one, end)) "
        "for one, end in ends.items()]\n"
        "    for one in many: one.start()\n"
        "    for one in many: one.join()\n"
        "    print(*[one.exitcode for one in many])\n"
    )
    with Trainer(START + script, uri=uri, cwd=tmp_path) as trainer:
        assert (trainer.wait(), trainer.lines) == (0, ["0 1 3"]), trainer.stderr
    ended = {one: ended_run(uri, f"{method}-{one}") for one in ("well", "badly", "leaving")}
    said = {one: (run.info.status, run.data.tags.get("agentnn.end_reason")) for one, run in ended.items()}
    assert said == {
        "well": ("FINISHED", None),
        "badly": ("FAILED", "ValueError: boom"),
        "leaving": ("FAILED", "exit code 3"),
    }


# -- the first error is the one that is shown --------------------------------------------------------------

NO_ROOM = (
    "import resource, signal\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "size = os.path.getsize(run.folder.journal)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))\n"
)
NO_DESCRIPTORS = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
NO_STATE = "import shutil\nshutil.rmtree(os.environ['AGENTNN_STATE_DIR'])\n"


@pytest.mark.parametrize("trouble", [NO_ROOM, NO_DESCRIPTORS], ids=["no-room", "no-descriptors"])
def test_the_first_error_is_the_one_that_is_shown(trouble: str, uri: str, tmp_path: Path):
    name = f"trouble-{len(trouble)}"
    code, shown = train(within(trouble + "raise ValueError('the first')", name), uri, tmp_path)
    assert (code, shown.splitlines()[-1]) == (1, "ValueError: the first")
    assert "During handling" not in shown
    run = ended_run(uri, name)
    assert run.info.status == "FAILED"
    if trouble is NO_DESCRIPTORS:
        assert run.data.tags["agentnn.end_reason"] == "ValueError: the first"


def test_the_first_error_is_the_one_that_is_shown_when_the_state_folder_is_gone(uri: str, tmp_path: Path):
    script = within(NO_STATE + "raise ValueError('the first')", "no-state")
    with Trainer(START + script, uri=uri, cwd=tmp_path, env={"AGENTNN_STATE_DIR": str(tmp_path / "state")}) as trainer:
        assert trainer.wait() == 1
        assert trainer.stderr.splitlines()[-1] == "ValueError: the first"
        assert "During handling" not in trainer.stderr


def test_without_another_error_a_journal_that_takes_no_end_is_the_error(uri: str, tmp_path: Path):
    code, shown = train(within(NO_ROOM, "no-room-only"), uri, tmp_path)
    assert code == 1
    assert "StoreUnavailable: 1 records of the run 'no-room-only' could not be written" in shown


def test_the_first_error_is_the_one_that_is_shown_when_a_strict_run_can_not_be_delivered(tmp_path: Path):
    script = (
        "with start_run('strict', strict=True) as run:\n"
        "    run.log_metric('loss', 0.5)\n"
        "    raise ValueError('the first')\n"
    )
    code, shown = train(script, "http://127.0.0.1:9", tmp_path)
    assert (code, shown.splitlines()[-1]) == (1, "ValueError: the first")
    assert "During handling" not in shown


def test_an_error_that_can_not_even_be_printed_still_ends_the_run(uri: str, tmp_path: Path):
    body = "class Odd(Exception):\n    def __str__(self): raise RuntimeError('no')\nraise Odd"
    code, shown = train(within(body, "odd"), uri, tmp_path)
    assert code == 1
    assert "During handling" not in shown
    run = ended_run(uri, "odd")
    assert (run.info.status, run.data.tags["agentnn.end_reason"]) == ("FAILED", "Odd")


# -- what is borrowed is given back ------------------------------------------------------------------------


def borrowed() -> tuple[object, ...]:
    return sys.exit, sys.excepthook, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP), exit, quit


def test_after_the_run_everything_is_as_it_was(uri: str):
    before = borrowed()
    outer = start_run("giving back", tracking_uri=uri)
    during = borrowed()
    inner = start_run("giving back too", nested=True)
    inner.end()
    assert borrowed() == during != before
    outer.end()
    assert borrowed() == before


def test_what_somebody_else_put_there_meanwhile_stays(uri: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("exit", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # put back in the end
    handler_before = signal.getsignal(signal.SIGTERM)
    run = start_run("meanwhile", tracking_uri=uri)
    theirs = [lambda *arguments, one=one: one(*arguments) for one in (sys.exit, sys.excepthook, print)]
    sys.exit, sys.excepthook, handler = theirs
    signal.signal(signal.SIGTERM, handler)
    try:
        run.end()
        assert [sys.exit, sys.excepthook, signal.getsignal(signal.SIGTERM)] == theirs
        with pytest.raises(SystemExit, match="3"):
            sys.exit(3)
    finally:
        signal.signal(signal.SIGTERM, handler_before)


def test_runs_of_many_threads_leave_nothing_behind(uri: str):
    before = borrowed()
    barrier = threading.Barrier(4)

    def train_here(number: int) -> None:
        barrier.wait()
        with start_run(f"thread-{number}", tracking_uri=uri):
            barrier.wait()

    threads = [threading.Thread(target=train_here, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert borrowed() == before
    assert all(ended_run(uri, f"thread-{number}").info.status == "FINISHED" for number in range(4))


def test_the_end_stands_in_the_journal_before_anybody_waits(uri: str):
    with start_run("journaled", tracking_uri=uri) as run:
        run.log_metric("loss", 0.5)
        journal = run.folder.journal
    last = [record.body for record in read_journal(journal)][-1]
    assert (last["kind"], last["status"], store_folder(uri).path) == ("end", "FINISHED", run.folder.store.path)
