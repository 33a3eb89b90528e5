"""A process that runs trials for the driver that started it, until that one closes the connection or dies.

``python -m agentnn.training.hpo.engines.worker CONNECTION WORK`` is started by
:mod:`agentnn.training.hpo.engines.local_engine`; both are file descriptors. One thread does nothing but read what the
driver says, so that the driver's death is noticed in the middle of a trial too: the trial's run then ends as KILLED,
and so does the process.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentnn.training.hpo.engines.engine import TrialTask, Work

READY, BROKEN, REPORT, END = "ready", "broken", "report", "end"
"""What a worker says; it is told tasks, and the answers to its reports as booleans."""

GRACE_S = 5.0
"""How long a trial has for its end, once the driver is dead."""


class Worker:
    """Runs the trials that come over a connection.

    Args:
        connection: To the driver.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: SimpleQueue[TrialTask | None] = SimpleQueue()
        self._answers: SimpleQueue[bool] = SimpleQueue()
        self._is_busy = False

    def serve(self, work: Work) -> None:
        """Run trials until the driver is gone."""
        threading.Thread(target=self._listen, name="driver", daemon=True).start()
        self._say(READY)
        while (task := self._tasks.get()) is not None:
            self._is_busy = True
            outcome = work(task, self._report)
            self._is_busy = False
            self._say(END, outcome)

    def _report(self, step: int, value: float) -> bool:
        self._say(REPORT, step, value)
        return self._answers.get()

    def _say(self, *said: Any) -> None:
        try:
            self._connection.send(said)
        except OSError:  # the driver is dead
            raise SystemExit(128 + signal.SIGTERM) from None

    def _listen(self) -> None:
        """Hand on what the driver says, until it says nothing more."""
        while True:
            try:
                said = self._connection.recv()
            except (EOFError, OSError):
                break
            if isinstance(said, bool):
                self._answers.put(said)
            else:
                self._tasks.put(said)
        self._tasks.put(None)
        if self._is_busy:
            threading.Thread(target=_end_by_force, daemon=True).start()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def save_work(work: Work, descriptor: int) -> None:
    """Write the work for workers, and where this process finds its modules.

    Functions of ``__main__`` and of notebooks are written as a whole, others by their names.

    Raises:
        Exception: Something in it can't be pickled.
    """
    import cloudpickle

    with os.fdopen(os.dup(descriptor), "wb") as file:
        pickle.dump((sys.path, sys.argv), file)
        cloudpickle.dump(work, file)


def load_work(descriptor: int) -> Work:
    """Read what :func:`save_work` wrote; several processes may share the file."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as file:
        sys.path[:], sys.argv[:] = pickle.load(file)
        work: Work = pickle.load(file)
    return work


def main() -> None:
    """Become a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's matter
    os.dup2(2, 1)  # what an objective prints is no result of a command
    connection = Connection(int(sys.argv[1]))
    try:
        work = load_work(int(sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - the boundary: whatever a user's module raises when it is imported
        connection.send((BROKEN, f"{type(error).__name__}: {error}"))
        sys.exit(1)
    Worker(connection).serve(work)


def _end_by_force() -> None:
    threading.Event().wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)  # with whatever the trial has started


if __name__ == "__main__":
    main()
