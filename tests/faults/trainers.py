"""Trainers in processes of their own, and what the stores then hold, as MLflow's own client says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.entities import ViewType

from agentnn.settings import Settings
from agentnn.stores.run_writer import UUID_TAG
from agentnn.tracking.journal.state import StoreFolder, read_json
from agentnn.tracking.sending.sender_control import wake_sender, with_absolute_uris

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlflow.entities import Run

    from agentnn.tracking.upkeep.waiting import SyncedRun

DEADLINE_S = 120.0
"""For what is no promise: the machine may be busy."""

LONGEST_CALL_S = 0.05
"""What a logging call may take, whatever becomes of the store."""

TIMED = """
import os, sys, time
from agentnn import start_run

longest, times = 0.0, [0.0] * 10

def timed(call, *arguments, **named):
    global longest
    started = time.perf_counter()
    call(*arguments, **named)
    times[0] = max(times[0], time.perf_counter() - started)
    times.sort()
    longest = max(times[0], times[-1] / 30)
"""
"""The beginning of a script that knows how long its longest logging calls took.

A busy machine takes the processor away from anybody, now and then: it is the tenth longest call that counts, and a
thirtieth of the longest, so that waiting for a store, which takes seconds, is seen even if it happened once.
"""


class Trainer:
    """A script in a process of its own.

    Attributes:
        lines: What it has printed by now.
        start_up_s: How long it took to the first line that was waited for.
    """

    def __init__(self, script: str, *arguments: str, uri: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.start_up_s = 0.0
        self._began = time.monotonic()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", script, *arguments],
            cwd=cwd,
            env={**os.environ, "MLFLOW_TRACKING_URI": uri, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._errors.close()

    @property
    def stderr(self) -> str:
        """What it wrote to standard error by now."""
        return os.pread(self._errors.fileno(), 1 << 20, 0).decode("utf-8", "replace")  # the place is the script's too

    def wait_for_line(self, wanted: str) -> None:
        """Wait until it has printed this line."""
        wait_until(lambda: wanted in self.lines or not self._reader.is_alive(), f"the line {wanted!r}")
        assert wanted in self.lines, self.stderr
        self.start_up_s = self.start_up_s or time.monotonic() - self._began

    def go_on(self) -> None:
        """Send it the line that it waits for."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait(self, timeout: float = DEADLINE_S) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(timeout)
        self._reader.join(DEADLINE_S)
        return code

    def kill(self) -> None:
        """End it in the middle of whatever it does (SIGKILL)."""
        self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # else it was killed in the middle of a line
                self.lines.append(line.removesuffix("\n"))


def allowed_s(promised_s: float, start_up_s: float) -> float:
    """What may pass where seconds are promised: on a busy machine, twice what the start took a moment ago."""
    return max(promised_s, 2 * start_up_s)


def wait_until(done: Callable[[], object], what: str, timeout: float = DEADLINE_S) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout:g} s")
        time.sleep(0.01)


def watch_until(uri: str, done: Callable[[], object], what: str) -> None:
    """The same while the sender is told that somebody waits, as the end of a run and ``agentnn run sync`` tell it."""
    store, next_wake = store_folder(uri), 0.0

    def woken_and_done() -> object:
        nonlocal next_wake
        if time.monotonic() >= next_wake:
            next_wake = time.monotonic() + 0.2
            wake_sender(store)
        return done()

    wait_until(woken_and_done, what)


def store_folder(uri: str) -> StoreFolder:
    """Where the journals of a store wait on this machine."""
    return StoreFolder.of(with_absolute_uris(Settings.load(uri)))


def synced(uri: str) -> list[SyncedRun]:
    """How the runs stand after ``agentnn run sync``: those of which there is something to say."""
    from agentnn.tracking.upkeep.syncing import sync

    return sync(Settings.load(uri))


def sender_pid(uri: str) -> int:
    """The process that delivers to a store, as it says itself."""
    return int(read_json(store_folder(uri).status).get("pid", 0))


def kept_runs(uri: str, experiment_id: str = "0") -> list[Run]:
    """All runs of an experiment, the deleted ones too."""
    return list(MlflowClient(uri).search_runs([experiment_id], run_view_type=ViewType.ALL, max_results=1000))


def kept_run(uri: str, uuid: str) -> Run:
    """The one run of the Default experiment that bears our uuid."""
    [run] = [run for run in kept_runs(uri) if run.data.tags.get(UUID_TAG) == uuid]
    return run


def kept_steps(uri: str, run_id: str, key: str) -> list[int]:
    """The steps of all points of a metric, each as often as it is there."""
    return sorted(point.step for point in MlflowClient(uri).get_metric_history(run_id, key))
