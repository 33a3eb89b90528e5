"""A lock for a worker that takes it again and again, and for others that seldom need it."""

from __future__ import annotations

from threading import Lock, get_ident


class Turn:
    """Taken by one thread at a time, in the order of their asking; whoever has it may take it again within.

    One of Python's locks mostly goes back to the thread that has just let go of it, which is awake: beside a worker
    that always has something to do, the others would wait for a long time. Here, who waits stands at the gate, and the
    worker does not pass it.
    """

    def __init__(self) -> None:
        self._gate, self._lock = Lock(), Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if self._owner != (me := get_ident()):
            with self._gate:
                self._lock.acquire()
            self._owner = me
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()
