"""Trials in processes of this machine, which are started once and live as long as the study.

Each worker is a process group of its own at the other end of a socket. A worker that dies is noticed at once, by the
end of its socket and by its process; the next trial gets a new one. When the driver dies, the workers see the end of
their sockets and leave.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from agentnn.errors import StoreUnavailable, TrainingError, UsageError
from agentnn.training.hpo.engines.engine import TrialEnd
from agentnn.training.hpo.engines.worker import BROKEN, END, READY, REPORT, save_work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentnn.training.hpo.engines.engine import OnReport, TrialTask, Work

_LEAVE_S = 5.0
"""How long an idle worker has to leave by itself."""

_INTERRUPTED_S = 2.0
"""How long a trial has to end its run, once the study is broken off."""

_POLL_S = 0.2
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class LocalEngine:
    """Runs trials in worker processes of this machine.

    Args:
        work: Runs a trial.
        on_report: Answers its reports.
        workers: How many run at once.
        threads: How many threads each worker's libraries use; the processors' share of each worker without it, unless
            the environment says how many.

    Raises:
        UsageError: The work can't be sent to another process.
        StoreUnavailable: There is no room for it.
    """

    def __init__(self, work: Work, on_report: OnReport, workers: int, *, threads: int | None = None) -> None:
        self._on_report = on_report
        self._most = workers
        self._threads = threads
        self._workers: list[_Process] = []
        self._work_file = tempfile.TemporaryFile(prefix="agentnn-work-")  # noqa: SIM115 - as long as the engine
        try:
            save_work(work, self._work_file.fileno())
        except OSError as error:
            self._work_file.close()
            raise StoreUnavailable(
                f"there is no room for what the workers need: {error.strerror or error}", hint="TMPDIR says where it is"
            ) from error
        except Exception as error:  # whatever a user's objects raise when they are pickled
            self._work_file.close()
            raise UsageError(
                f"the objective can't be sent to a worker process: {type(error).__name__}: {error}",
                hint="an objective holds no open file, lock or connection; or take one worker: --workers 1",
            ) from error

    @property
    def capacity(self) -> int:
        """The number of workers."""
        return self._most

    def submit(self, task: TrialTask) -> None:
        """Give a trial to a worker that has none; a new one is started where there is none."""
        for worker in [one for one in self._workers if one.task is None]:
            if worker.begin(task):
                return
            self._remove(worker)  # it died while it had nothing to do
        if not self._started().begin(task):
            raise TrainingError("a worker process ended as soon as it was started", hint="see what it wrote above")

    def wait(self, timeout_s: float) -> list[TrialEnd]:
        """Wait for the end of a trial, and answer reports."""
        deadline = time.monotonic() + timeout_s
        while True:
            signs = {sign: worker for worker in self._workers for sign in worker.signs}
            left = max(0.0, deadline - time.monotonic())
            touched = dict.fromkeys(signs[sign] for sign in wait(list(signs), min(left, _POLL_S)))
            ended = [end for worker in touched or self._dead() for end in self._hear(worker)]
            if ended or time.monotonic() >= deadline:
                return ended

    def close(self, *, interrupted: bool = False) -> None:
        """End the workers: those that have no trial leave by themselves, the others get SIGTERM."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.dismiss()
        deadline = time.monotonic() + (_INTERRUPTED_S if interrupted else _LEAVE_S)
        try:
            for worker in workers:
                worker.wait_for_end(deadline)
        finally:
            for worker in workers:
                worker.kill()
            self._work_file.close()

    def _started(self) -> _Process:
        worker = _Process(self._work_file.fileno(), self._environment())
        self._workers.append(worker)
        return worker

    def _environment(self) -> dict[str, str]:
        threads = self._threads or threads_of_worker(self._most)
        said = {} if self._threads is None and any(name in os.environ for name in _THREADS) else _THREADS
        return {**os.environ, **dict.fromkeys(said, str(threads))}

    def _hear(self, worker: _Process) -> list[TrialEnd]:
        """What a worker has to say, and whether it is dead."""
        ended: list[TrialEnd] = []
        for said in worker.messages():
            if said[0] == READY:
                worker.is_ready = True
            elif said[0] == REPORT and worker.task is not None:
                worker.answer(self._on_report(worker.task.number, *said[1:]))
            elif said[0] == END and worker.task is not None:
                ended.append(TrialEnd(worker.task.number, said[1]))
                worker.task = None
            elif said[0] == BROKEN:
                raise UsageError(
                    f"the objective can't be loaded in a worker process: {said[1]}",
                    hint="its modules are looked for where this process finds its own; or take one worker: --workers 1",
                )
        if worker.is_gone:
            self._remove(worker)
            if worker.task is not None:
                ended.append(TrialEnd(worker.task.number, None, f"its worker {worker.how_it_ended()}"))
        return ended

    def _dead(self) -> Sequence[_Process]:
        """Those that have died without a sign, where the kernel gives none but the end of the socket."""
        return [worker for worker in self._workers if worker.has_died()]

    def _remove(self, worker: _Process) -> None:
        worker.kill()
        self._workers.remove(worker)


class _Process:
    """A worker, as the driver sees it."""

    def __init__(self, work_file: int, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file called queue.py in the working directory is not Python's.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "agentnn.training.hpo.engines.worker",
                    str(theirs.fileno()),
                    str(work_file),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), work_file),
                process_group=0,
            )
        self._connection = Connection(ours.detach())
        self._pidfd = -1
        with suppress(AttributeError, OSError):  # Linux 5.3
            self._pidfd = os.pidfd_open(self._process.pid)
        self.task: TrialTask | None = None
        self.is_ready = self.is_gone = False

    @property
    def signs(self) -> list[Any]:
        """What becomes readable when the worker says something, or dies."""
        return [self._connection, *([self._pidfd] if self._pidfd >= 0 else [])]

    def begin(self, task: TrialTask) -> bool:
        """Give it a trial; whether it took it."""
        try:
            self._connection.send(task)
        except OSError:
            return False
        self.task = task
        return True

    def answer(self, answer: bool) -> None:
        """Answer its report."""
        with suppress(OSError):  # it died meanwhile
            self._connection.send(answer)

    def messages(self) -> list[tuple[Any, ...]]:
        """What it has said by now."""
        found = []
        try:
            while self._connection.poll():
                found.append(self._connection.recv())
        except (EOFError, OSError):
            self.is_gone = True
        self.is_gone = self.is_gone or (not found and self.has_died())
        return found

    def has_died(self) -> bool:
        """Whether its process has ended."""
        if self._pidfd < 0:
            return self._process.poll() is not None
        return bool(wait([self._pidfd], 0))  # without taking its number from it, which its group has too

    def how_it_ended(self) -> str:
        """In words."""
        code = self._process.wait()
        name = signal.Signals(-code).name if code < 0 else ""
        hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"(process {self._process.pid}) was killed by {name}{hint}" if name else f"left with exit code {code}"

    def dismiss(self) -> None:
        """Tell it to leave: by the end of the socket, or in the middle of what it does by SIGTERM."""
        if self.task is not None or not self.is_ready:
            self._process.terminate()
        self._connection.close()

    def wait_for_end(self, deadline: float) -> None:
        """Wait for its end."""
        while not self.has_died() and (left := deadline - time.monotonic()) > 0:
            wait([self._pidfd] if self._pidfd >= 0 else [], min(left, _POLL_S))

    def kill(self) -> None:
        """End it and what it has started, if that is still there."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def threads_of_worker(workers: int) -> int:
    """A worker's share of the processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // workers)
