"""Calls of a library that may hang: made one after another in a thread of their own, so that nobody waits for ever."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")


class BoundedCalls:
    """One thread, which ends with the process whatever it is doing then.

    Args:
        name: What the thread is called.
    """

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=_work, args=(self._waiting,), name=name, daemon=True).start()

    def call(self, function: Callable[[], _Answer], timeout: float | None) -> _Answer:
        """What a function returns or raises, after all that was called before.

        Args:
            function: What to call.
            timeout: Seconds; ``None`` for no limit.

        Raises:
            TimeoutError: It takes longer. It still goes on, and holds up what is called after it.
        """
        return self.start(function).result(timeout)

    def start(self, function: Callable[[], _Answer]) -> Future[_Answer]:
        """Have a function called after all that was called before, without waiting for it."""
        future: Future[_Answer] = Future()
        self._waiting.put(lambda: _settle(future, function))
        return future

    def stop(self) -> None:
        """End the thread, once everything was called."""
        self._waiting.put(_stop)


def _work(waiting: SimpleQueue[Callable[[], None]]) -> None:
    for one in iter(waiting.get, _stop):
        one()


def _settle(future: Future[_Answer], function: Callable[[], _Answer]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
        future.set_exception(error)


def _stop() -> None:
    """Marks the end of the calls."""
