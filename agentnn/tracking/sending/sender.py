"""The sender: a process of its own that delivers the journals of one store, for every trainer of this machine.

It is a process, not a thread, so that training never waits for the interpreter's lock or for an import of MLflow, and
so that it is still there when a trainer dies: it delivers the rest and closes the run. One holds the store's lock; it
leaves when nothing has waited for a while. ``python -m agentnn.tracking.sending.sender`` starts it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import sys
import time
from contextlib import suppress

from agentnn.errors import AgentNNError
from agentnn.settings import Settings
from agentnn.tracking.journal.state import StoreFolder, write_json
from agentnn.tracking.sending.problem import Problem
from agentnn.tracking.sending.sender_control import take_lock
from agentnn.tracking.sending.turns import TURN, Sender

IDLE_S = 30.0
"""How long a sender stays when nothing waits; ``AGENTNN_SENDER_IDLE_S`` changes it."""

GIVE_UP_S = 600.0
"""How long it tries a store that can't be used when no process logs any more; ``AGENTNN_SENDER_GIVE_UP_S`` changes it.
What waits stays on this machine: the next trainer or ``agentnn run sync`` starts another sender."""

_POLL_S = 0.1
_LARGE_BACKLOG = 16 << 20
_SWEEP_EVERY_S = 10.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 10.0

_log = logging.getLogger("agentnn.sender")


class Pace:
    """When the sender works.

    As long as somebody trains, everything but what is waited for gets a small share of one core: where MLflow delivers,
    it needs some 0.1 ms of it for every point, and would take that from training. Once nobody trains, the sender takes
    what it needs.
    """

    _SHARE, _SHARE_OF_LARGE_BACKLOG = 1 / 50, 1 / 10
    _SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0

    def __init__(self) -> None:
        self.most = TURN
        self._next = 0.0
        self._started = False

    def is_due(self) -> bool:
        """Whether it is time for a turn of all runs."""
        return time.monotonic() >= self._next

    def worked(self, seconds: float, sender: Sender) -> None:
        """Take into account how many seconds of a core a turn took."""
        if not sender.is_training():
            self._next, self.most = 0.0, TURN
            return
        share = self._SHARE if sender.backlog() < _LARGE_BACKLOG else self._SHARE_OF_LARGE_BACKLOG
        pause = seconds / share if self._started else 0.0  # the first turn has loaded its writer, once and for all
        self._started = True
        self._next = time.monotonic() + min(max(pause, self._SHORTEST_PAUSE_S), self._LONGEST_PAUSE_S)
        self.most = 1


class SenderProcess:
    """The life of a sender that was started in the background."""

    def __init__(self, store: StoreFolder, settings: Settings) -> None:
        self._store = store
        self._sender = Sender(store, settings)
        self._state: tuple[str, Problem | None] = ("", None)
        self._pipe = _open_pipe(store)
        self._pace = Pace()
        self._urgent: set[str] = set()
        self._all_urgent = True  # who wanted something before there was a sender could not say so
        self._stop = False
        self._idle_s = float(os.environ.get("AGENTNN_SENDER_IDLE_S", IDLE_S))
        self._give_up_s = float(os.environ.get("AGENTNN_SENDER_GIVE_UP_S", GIVE_UP_S))

    def run(self) -> bool:
        """Deliver until nothing has waited for a while; whether it left before: told to, or after long vain tries."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._say("starting")
        last_activity = last_swept = time.monotonic()
        backoff, answered, usable = _FIRST_BACKOFF_S, 0, time.monotonic()
        while not self._stop:
            now = time.monotonic()
            try:
                progress = self._work()
                self._say("delivering")
                usable = now
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
                if self._sender.answered != answered:
                    backoff, answered = _FIRST_BACKOFF_S, self._sender.answered
                if now - usable > self._give_up_s and self._sender.is_unattended():
                    return True
                self._nap(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF_S)
            if not progress:
                woken = self._nap(_POLL_S)
            if progress or not idle or woken:
                last_activity = now
            elif now - last_activity > self._idle_s:
                break
        with suppress(AgentNNError):
            self._sender.sweep()
        return self._stop

    def _work(self) -> bool:
        """Deliver what is waited for, and the rest when its turn is; whether there is more to do at once."""
        self._sender.sync_files()
        progress = False
        if self._all_urgent:
            self._urgent |= self._sender.waiting()
            self._all_urgent = False
        if self._urgent:
            progress = self._sender.deliver(self._urgent)
            self._urgent &= self._sender.waiting()
        if self._pace.is_due():
            started = time.process_time()
            progress |= self._sender.deliver(most=self._pace.most) and self._pace.most > 1
            self._pace.worked(time.process_time() - started, self._sender)
        return progress

    def _on_term(self, *_: object) -> None:
        self._stop = True
        with suppress(BlockingIOError):  # a nap would go on after a signal
            os.write(self._pipe, b"\n")

    def _nap(self, seconds: float) -> bool:
        """Sleep, but not through a wake-up; whether there was one."""
        ready, _, _ = select.select([self._pipe], [], [], seconds)
        if ready:
            with suppress(BlockingIOError):
                asked = set(filter(None, os.read(self._pipe, 4096).decode("ascii", "replace").split("\n")))
                self._urgent |= asked
                self._all_urgent |= not asked
        return bool(ready)

    def _say(self, state: str, problem: Problem | None = None) -> None:
        if (state, problem) == self._state:
            return
        since = time.time_ns() // 1_000_000
        said = {"pid": os.getpid(), "state": state, "since": since, "problem": problem and problem.to_dict()}
        _log.info("%s %s", state, problem.message if problem else "")
        with suppress(OSError):  # a full disk must not end the one who waits for room
            write_json(self._store.status, said)
            self._state = (state, problem)


def main() -> None:
    """Become the sender of the store that the environment names, unless there is one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = Settings.load()
    store = StoreFolder.of(settings)
    lock = take_lock(store.lock)
    while lock is not None:
        os.nice(10)
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a request that is repeated unseen may be done twice
        told_to_stop = SenderProcess(store, settings).run()
        # A trainer that saw the lock held made its journal before: whoever looks after letting go of the lock sees it.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
        lock = take_lock(store.lock) if not told_to_stop and _something_new(store) else None
    sys.exit(0)


def _something_new(store: StoreFolder) -> bool:
    from agentnn.tracking.sending.delivered import Cursor

    return any(
        not (cursor := Cursor.read(run)).problem and run.journal.stat().st_size > cursor.offset for run in store.runs()
    )


def _open_pipe(store: StoreFolder) -> int:
    with suppress(FileExistsError):
        os.mkfifo(store.wake, 0o600)
    return os.open(store.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # as a writer too: the pipe never ends


if __name__ == "__main__":
    main()
