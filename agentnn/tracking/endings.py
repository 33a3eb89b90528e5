"""How a process ends while a run is open, so that the run is closed with the truth about it.

While a run is open in the main thread, SIGTERM and SIGHUP raise SystemExit with 128 + n instead of killing on the spot,
so that ``with`` blocks end; a handler of the user's own is left alone. A run that is not in a ``with`` block is closed
when the interpreter leaves: FAILED after an exception or a ``sys.exit`` with an error, KILLED after a signal.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


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
            return _of_exit(error.code)
        return cls("FAILED", _one_line(error))


class ProcessWatch:
    """Notes how the process is about to end, while at least one run is open."""

    def __init__(self) -> None:
        self._open: list[Callable[[Ending], None]] = []
        self._ending = Ending()
        self._handlers: dict[signal.Signals, Any] = {}
        self._exit: Callable[..., NoReturn] | None = None
        self._hook: Callable[..., Any] | None = None

    def add(self, close: Callable[[Ending], None]) -> None:
        """Have this called with the process's ending, unless it is taken away before."""
        if not self._open:
            self._install()
        self._open.append(close)

    def remove(self, close: Callable[[Ending], None]) -> None:
        """Forget what was added."""
        with suppress(ValueError):
            self._open.remove(close)
        if not self._open:
            self._uninstall()

    def forget_after_fork(self) -> None:
        """A forked process does not close its parent's runs; their signals are not its own either."""
        self._open.clear()
        self._uninstall()

    def _install(self) -> None:
        atexit.register(self._close_all)
        self._exit, sys.exit = sys.exit, self._noting_exit
        self._hook, sys.excepthook = sys.excepthook, self._noting_error
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, _leave)

    def _uninstall(self) -> None:
        atexit.unregister(self._close_all)
        if self._exit is not None and sys.exit == self._noting_exit:
            sys.exit = self._exit
        if self._hook is not None and sys.excepthook == self._noting_error:
            sys.excepthook = self._hook
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                if signal.getsignal(number) is _leave:
                    signal.signal(number, handler)
            self._handlers.clear()

    def _noting_exit(self, status: Any = None, /) -> NoReturn:
        self._ending = _of_exit(status)
        raise SystemExit(status)

    def _noting_error(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        self._ending = Ending.of(error)
        if self._hook is not None:
            self._hook(kind, error, traceback)

    def _close_all(self) -> None:
        ending = Ending.of(_signal_exit()) if _received else self._ending
        for close in reversed(self._open.copy()):
            close(ending)


_received: list[int] = []


def _leave(number: int, _: FrameType | None) -> NoReturn:
    _received.append(number)
    raise _signal_exit()


def _signal_exit() -> SystemExit:
    return SystemExit(128 + _received[-1])


def _of_exit(code: object) -> Ending:
    if code is None or code == 0:
        return Ending()
    if _received and code == 128 + _received[-1]:
        return Ending("KILLED", f"ended by {signal.Signals(_received[-1]).name}")
    return Ending("FAILED", f"exit code {code}" if isinstance(code, int) else _first_line(str(code)))


def _one_line(error: BaseException) -> str:
    text = _first_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:500]


watch = ProcessWatch()
