"""How a process ends while a run is open, so that the run is closed with the truth about it.

While the main thread has a run open, SIGTERM and SIGHUP raise SystemExit with 128 + n in it instead of killing on the
spot, so that ``with`` blocks end; a handler of the user's own is left alone. A run that is not in a ``with`` block is
closed when the interpreter or a worker of multiprocessing leaves: FAILED after an error or an exit with one, KILLED
after a signal. Only ``raise SystemExit(n)`` outside of ``with`` leaves no trace that could be seen then, as
``sys.exit(n)`` does. What ends without any of this is closed by the sender.
"""

from __future__ import annotations

import atexit
import builtins
import os
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

REASON_TAG = "agentnn.end_reason"
"""The tag of a run that says why it did not finish."""

_CAUGHT = (signal.SIGTERM, signal.SIGHUP)
_KILLERS = {128 + one: one.name for one in (*_CAUGHT, signal.SIGINT)}
_EXITS = ((sys, "exit"), (builtins, "exit"), (builtins, "quit"))


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a run.

    Attributes:
        status: MLflow's word: ``FINISHED``, ``FAILED`` or ``KILLED``.
        reason: Why, in one line; empty when it finished.
    """

    status: str = "FINISHED"
    reason: str = ""

    @classmethod
    def of(cls, error: BaseException | None) -> Ending:
        """The ending of code that raised this, or nothing."""
        if error is None:
            return cls()
        if isinstance(error, KeyboardInterrupt):
            return cls("KILLED", "interrupted (SIGINT)")
        if isinstance(error, SystemExit):
            return cls.of_exit(error.code)
        return cls("FAILED", _one_line(error))

    @classmethod
    def of_exit(cls, code: object) -> Ending:
        """The ending of a process with this exit code; 128 + n is a shell's word for an end by the signal n."""
        if code is None or code == 0:
            return cls()
        if not isinstance(code, int):  # the interpreter prints it and exits with 1
            return cls("FAILED", _first_line(str(code)) or "exit code 1")
        if code in _KILLERS:
            return cls("KILLED", f"ended by {_KILLERS[code]}")
        return cls("FAILED", f"exit code {code}")


class ProcessWatch:
    """Notes how the process is about to end, while at least one run is open."""

    def __init__(self) -> None:
        self._open: list[Callable[[Ending], None]] = []
        self._lock = threading.Lock()
        self._undo = ExitStack()
        self._noted = Ending()
        self._error_before: BaseException | None = None

    def add(self, close: Callable[[Ending], None]) -> None:
        """Have this called with the process's ending, unless it is taken away before."""
        with self._lock:
            if not self._open:
                self._noted, self._error_before = Ending(), _last_error()
                self._watch_exits()
            self._open.append(close)
            atexit.unregister(self._close_all)
            atexit.register(
                self._close_all
            )  # anew, so that what the run uses, and what that has registered, ends later
            self._catch_signals()

    def remove(self, close: Callable[[Ending], None]) -> None:
        """Forget what was added."""
        with self._lock:
            with suppress(ValueError):
                self._open.remove(close)
            if not self._open:
                self._forget()

    def forget_after_fork(self) -> None:
        """A forked process does not close its parent's runs; their signals are not its own either."""
        self._lock = threading.Lock()
        self._open.clear()
        self._forget()

    def _watch_exits(self) -> None:
        self._undo.callback(atexit.unregister, self._close_all)
        if _is_multiprocessing_worker():
            from multiprocessing.util import Finalize  # a worker that was forked leaves without atexit

            self._undo.callback(Finalize(None, self._close_all, exitpriority=0).cancel)
        for place, name in _EXITS:
            if hasattr(place, name):  # there is no builtins.exit with python -S
                self._note_calls(place, name)

    def _note_calls(self, place: Any, name: str) -> None:
        original = getattr(place, name)

        def leave(code: object = None) -> NoReturn:
            if threading.current_thread() is threading.main_thread():
                self._noted = Ending.of_exit(code)
            original(code)
            raise SystemExit(code)

        def put_back() -> None:
            if getattr(place, name, None) is leave:
                setattr(place, name, original)

        setattr(place, name, leave)
        self._undo.callback(put_back)

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in _CAUGHT:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._leave)

    def _forget(self) -> None:
        self._undo.close()
        if threading.current_thread() is threading.main_thread():
            for number in _CAUGHT:
                if signal.getsignal(number) == self._leave:
                    signal.signal(number, signal.SIG_DFL)

    def _leave(self, number: int, _: FrameType | None) -> None:
        if not self._open:  # the last run ended in another thread, which could not give the signal back
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._noted = Ending.of_exit(128 + number)
        raise SystemExit(128 + number)

    def _close_all(self) -> None:
        error = sys.exc_info()[1] or _last_error()  # a worker of multiprocessing leaves while its error is on its way
        ending = self._noted
        if ending.status != "KILLED" and error is not None and error is not self._error_before:
            ending = Ending.of(error)
        for close in reversed(self._open.copy()):
            with suppress(SystemExit, KeyboardInterrupt):  # a second signal cuts the waiting short, not the closing
                close(ending)
        if isinstance(error, KeyboardInterrupt):  # any text that was run since then has made CPython forget it
            with suppress(KeyboardInterrupt):
                exec("raise KeyboardInterrupt")  # so that the process still ends by SIGINT


def _last_error() -> BaseException | None:
    """The error that nobody caught, as the interpreter notes it before it shows it; at a prompt life goes on after."""
    return None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)


def _is_multiprocessing_worker() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _one_line(error: BaseException) -> str:
    text = ""
    with suppress(Exception):  # a __str__ of the user's that fails must not hide the error itself
        text = _first_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:500]


watch = ProcessWatch()
os.register_at_fork(after_in_child=watch.forget_after_fork)
