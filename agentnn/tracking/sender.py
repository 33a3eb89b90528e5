"""The sender: a process of its own that delivers the journals of one store, for every trainer of this machine.

It is a process, not a thread, so that training never waits for the interpreter's lock or for an import of MLflow, and
so that it is still there when a trainer dies: it delivers the rest and closes the run. One holds the store's lock; it
leaves when nothing has waited for a while. ``python -m agentnn.tracking.sender`` starts it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, CorruptDataError, StoreUnavailable
from agentnn.settings import Settings
from agentnn.tracking.problem import Problem
from agentnn.tracking.sender_control import take_lock
from agentnn.tracking.state import StoreFolder, write_json

if TYPE_CHECKING:
    from agentnn.stores.mlflow_writer import MlflowWriter
    from agentnn.tracking.delivery import RunDelivery

IDLE_S = 30.0
"""How long a sender stays when nothing waits; ``AGENTNN_SENDER_IDLE_S`` changes it."""

_POLL_S = 0.1
_SEND_EVERY_S = 0.5
_MANY_BYTES = 64 << 10
_TURN = 8
_SWEEP_EVERY_S = 10.0
_KEPT_S = 60.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 10.0

_log = logging.getLogger("agentnn.sender")


class Sender:
    """Delivers the runs of one store; whoever uses it holds the store's lock.

    Args:
        store: The store's folder on this machine.
        settings: Name the store.
    """

    def __init__(self, store: StoreFolder, settings: Settings) -> None:
        self.store = store
        self._settings = settings
        self._writer: MlflowWriter | None = None
        self._runs: dict[str, RunDelivery] = {}
        self._sizes: dict[str, int] = {}

    def deliver(self, *, only_large: bool = False) -> bool:
        """Give every run that has something to deliver a turn, and close those whose processes are dead.

        Args:
            only_large: Leave small amounts for later, so that they travel together.

        Returns:
            Whether anything was delivered.

        Raises:
            StoreUnavailable: The store can't be used.
        """
        progress = False
        for run in self._look():
            living = run.has_living_writers()
            waiting = run.folder.journal.stat().st_size - run.cursor.offset
            if waiting and not run.cursor.problem and (not only_large or waiting >= _MANY_BYTES):
                progress |= self._turn(run)
            if not living and run.is_open and not run.cursor.problem and not self._has_whole_records(run):
                run.close_abandoned()
                progress = True
            elif living and run.is_open:
                run.beat()
        return progress

    def sync_files(self) -> None:
        """Have the kernel write what grew since the last time to the disk; a crash of the machine loses no more."""
        for folder in self.store.runs():
            with suppress(FileNotFoundError):
                size = folder.journal.stat().st_size
                if size != self._sizes.get(folder.uuid):
                    with folder.journal.open("rb") as file:
                        os.fdatasync(file.fileno())
                    self._sizes[folder.uuid] = size

    def is_idle(self) -> bool:
        """Whether every run has ended and is delivered, or can't be."""
        return all(run.cursor.problem or not (run.is_open or run.waits) for run in self._look())

    def waits(self) -> bool:
        """Whether something could be delivered."""
        return any(run.waits and not run.cursor.problem for run in self._look())

    def sweep(self) -> None:
        """Remove what is delivered and can't grow any more."""
        for run in self._look():
            if run.is_over(_KEPT_S):
                shutil.rmtree(run.folder.path, ignore_errors=True)
                self._runs.pop(run.folder.uuid, None)

    def _turn(self, run: RunDelivery) -> bool:
        from agentnn.tracking.delivery import ParentNotReady

        try:
            return run.deliver(_TURN) > 0
        except ParentNotReady:
            return False  # its turn comes
        except (StoreUnavailable, CorruptDataError):
            raise
        except Exception as error:  # noqa: BLE001 - one run's trouble must not keep the others waiting
            if not isinstance(error, AgentNNError):
                _log.exception("the run %s can't be delivered", run.folder.uuid)
            run.cursor.problem = Problem.of(error).to_dict()
            run.cursor.write(run.folder)
        return False

    def _has_whole_records(self, run: RunDelivery) -> bool:
        from agentnn.tracking.journal import read_journal

        return next(read_journal(run.folder.journal, run.cursor.offset), None) is not None

    def _look(self) -> list[RunDelivery]:
        """Every run that is here, the oldest first: their names begin with the time."""
        from agentnn.tracking.delivery import RunDelivery

        if self._writer is None:
            from agentnn.stores.mlflow_writer import MlflowWriter

            self._writer = MlflowWriter(self._settings)
        found = {folder.uuid: folder for folder in self.store.runs()}
        for uuid in [uuid for uuid in self._runs if uuid not in found]:
            del self._runs[uuid]
        for uuid, folder in found.items():
            if uuid not in self._runs:
                self._runs[uuid] = RunDelivery(folder, self._writer)
        return [self._runs[uuid] for uuid in found]


class SenderProcess:
    """The life of a sender that was started in the background."""

    def __init__(self, store: StoreFolder, settings: Settings) -> None:
        self._store = store
        self._sender = Sender(store, settings)
        self._state: tuple[str, Problem | None] = ("", None)
        self._pipe = _open_pipe(store)
        self._stop = False
        self._idle_s = float(os.environ.get("AGENTNN_SENDER_IDLE_S", IDLE_S))

    def run(self) -> None:
        """Deliver until nothing has waited for a while, or until told to stop."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._say("starting")
        last_activity = last_sent = last_swept = time.monotonic()
        backoff = _FIRST_BACKOFF_S
        woken = True
        while not self._stop:
            now = time.monotonic()
            try:
                self._sender.sync_files()
                due = woken or now - last_sent >= _SEND_EVERY_S
                progress = self._sender.deliver(only_large=not due)
                if due:
                    last_sent = now
                self._say("delivering")
                backoff = _FIRST_BACKOFF_S
                idle = self._sender.is_idle()
                if now - last_swept >= _SWEEP_EVERY_S:
                    last_swept = now
                    self._sender.sweep()
            except Exception as error:  # noqa: BLE001 - the loop goes on, whatever a store answers
                if not isinstance(error, AgentNNError):
                    _log.exception("delivery failed")
                progress = idle = False
                self._say("unavailable", Problem.of(error))
                self._nap(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF_S)
            if progress or not idle or woken:
                last_activity = now
            elif now - last_activity > self._idle_s:
                break
            woken = progress or self._nap(_POLL_S)
        with suppress(AgentNNError):
            self._sender.sweep()

    def _on_term(self, *_: object) -> None:
        self._stop = True

    def _nap(self, seconds: float) -> bool:
        """Sleep, but not through a wake-up; whether there was one."""
        ready, _, _ = select.select([self._pipe], [], [], seconds)
        if ready:
            with suppress(BlockingIOError):
                os.read(self._pipe, 4096)
        return bool(ready)

    def _say(self, state: str, problem: Problem | None = None) -> None:
        if (state, problem) != self._state:
            self._state = (state, problem)
            since = time.time_ns() // 1_000_000
            said = {"pid": os.getpid(), "state": state, "since": since, "problem": problem and problem.to_dict()}
            write_json(self._store.status, said)
            _log.info("%s %s", state, problem.message if problem else "")


def main() -> None:
    """Become the sender of the store that the environment names, unless there is one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = Settings.load()
    store = StoreFolder.of(settings)
    lock = _take_lock(store)
    while lock is not None:
        os.nice(10)
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a request that is repeated unseen may be done twice
        SenderProcess(store, settings).run()
        # A trainer that saw the lock held made its journal before: whoever looks after letting go of the lock sees it.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
        lock = take_lock(store.lock) if _something_new(store) else None
    sys.exit(0)


def _take_lock(store: StoreFolder) -> int | None:
    """Take the store's lock; a trainer that looks whether there is a sender holds it for an instant."""
    for _ in range(10):
        lock = take_lock(store.lock)
        if lock is not None:
            return lock
        time.sleep(0.02)
    return None


def _something_new(store: StoreFolder) -> bool:
    from agentnn.tracking.delivered import Cursor

    return any(
        not (cursor := Cursor.read(run)).problem and run.journal.stat().st_size > cursor.offset for run in store.runs()
    )


def _open_pipe(store: StoreFolder) -> int:
    with suppress(FileExistsError):
        os.mkfifo(store.wake, 0o600)
    return os.open(store.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # as a writer too: the pipe never ends


if __name__ == "__main__":
    main()
