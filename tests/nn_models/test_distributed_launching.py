"""torchrun is started from a plain process, and nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults.trainers import wait_until

from agentnn.errors import TrainingError, UsageError
from agentnn.nn_models.distributed.launching import launch

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")

LEFT_S = 60.0
"""Within which all processes have to be gone; a busy machine included."""

WAITING = """
import sys, time
from agentnn.nn_models.distributed.orphans import leave_when_orphaned
leave_when_orphaned()
time.sleep(300)
"""

LAUNCHING = """
import signal, sys
from agentnn.nn_models.distributed.launching import launch
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as while a run is open
launch(sys.argv[1:], processes=2, max_restarts=3)
"""


def script(folder: Path, text: str) -> str:
    path = folder / "worker.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def processes_of(marker: str) -> list[int]:
    """Workers and torchrun, by what their command line names."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def test_workers_are_started_again_until_they_end_well(tmp_path: Path) -> None:
    fails_twice = script(
        tmp_path,
        "import os, sys\n"
        "from pathlib import Path\n"
        "rank, attempt = os.environ['RANK'], int(os.environ['TORCHELASTIC_RESTART_COUNT'])\n"
        "said = os.environ['MASTER_ADDR'] + ' ' + os.environ['OMP_NUM_THREADS']\n"
        "Path(sys.argv[1], f'{rank}-{attempt}').write_text(said)\n"
        "sys.exit(3 if attempt < 1 and rank == '1' else 0)\n",
    )
    looked: list[int] = []
    launch([fails_twice, str(tmp_path)], processes=2, max_restarts=1, watch=lambda: looked.append(1))
    assert {"0-1", "1-0", "1-1"} <= {one.name for one in tmp_path.iterdir()}
    address, threads = (tmp_path / "1-1").read_text().split()
    assert (address, int(threads) >= 1) == ("127.0.0.1", True)
    assert looked


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("os.kill(os.getpid(), 9)", "worker 1 was ended by SIGKILL"),
        ("raise ValueError('no such number')", "worker 1 ended with exit code 1: ValueError: no such number"),
    ],
    ids=["killed", "error"],
)
def test_a_worker_that_fails_once_too_often_is_named(tmp_path: Path, trouble: str, said: str) -> None:
    dies = script(tmp_path, f"import os, time\nif os.environ['RANK'] == '1': {trouble}\ntime.sleep(300)\n")
    with pytest.raises(TrainingError, match=said):
        launch([dies], processes=2)
    assert processes_of(dies) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_no_process_outlives_the_one_that_launched_it(tmp_path: Path, how: signal.Signals) -> None:
    waits = script(tmp_path, WAITING)
    with subprocess.Popen([sys.executable, "-c", LAUNCHING, waits], stderr=subprocess.DEVNULL) as launcher:
        wait_until(lambda: len(processes_of(waits)) >= 4, "torchrun and two workers")
        launcher.send_signal(how)
        assert launcher.wait(LEFT_S) != 0
    until_gone(lambda: processes_of(waits))


def until_gone(there: Callable[[], list[int]]) -> None:
    deadline = time.monotonic() + LEFT_S
    while there():
        assert time.monotonic() < deadline, f"left behind: {there()}"
        time.sleep(0.1)


@pytest.mark.parametrize(("name", "given"), [("processes", {"processes": 0}), ("max_restarts", {"max_restarts": -1})])
def test_numbers_are_checked(name: str, given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=name):
        launch(["script.py"], **{"processes": 2, **given})
