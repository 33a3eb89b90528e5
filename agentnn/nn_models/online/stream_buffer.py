"""The queue between a producer that must not wait and a learner that may be slow."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition, Lock
from typing import TYPE_CHECKING, NamedTuple

from agentnn.errors import ConflictError, TrainingError
from agentnn.nn_models.online.stream_events import Sample

if TYPE_CHECKING:
    from agentnn.nn_models.online.options import WhenFull
    from agentnn.nn_models.online.stream_events import Event

_ROOM_TO_WAKE = 256
"""Producers that wait are woken when there is room for so many, or for a quarter of the capacity: otherwise they and
the learner would take turns for the interpreter's lock with every sample."""


class BufferState(NamedTuple):
    """What waits, and the number of the next sample."""

    events: list[Event]
    next_ticket: int
    dropped: int


class StreamBuffer:
    """Holds up to ``capacity`` events in the order of their arrival; any thread may put and take.

    Args:
        capacity: Events that may wait.
        timeout_s: Seconds that :meth:`put` waits for room at most; the scheduling of threads comes on top.
        when_full: What it does then.
    """

    def __init__(self, capacity: int, timeout_s: float, when_full: WhenFull) -> None:
        self.capacity, self.timeout_s, self.when_full = capacity, timeout_s, when_full
        self.dropped = 0
        """Events that were given up since there was no room."""
        self.longest_wait_s = 0.0
        """The longest that a producer has waited for room."""
        self._events: deque[Event] = deque()
        self._next_ticket = 0
        self._is_open = True
        self._waiting_producers = 0
        self._full_enough = capacity - max(1, min(_ROOM_TO_WAKE, capacity // 4))
        lock = Lock()
        self._has_events, self._has_room = Condition(lock), Condition(lock)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def next_ticket(self) -> int:
        """The number of the next sample."""
        return self._next_ticket

    def put(self, event: Event, timeout: float | None = None) -> bool:
        """Append an event; a sample gets its number.

        Args:
            event: A sample, or the label of one.
            timeout: Seconds to wait for room, instead of the buffer's own.

        Returns:
            Whether it was taken.

        Raises:
            TrainingError: There is no room, and that is to be an error.
            ConflictError: The buffer is closed.
        """
        with self._has_events:
            if len(self._events) >= self.capacity and self._is_open:
                self._wait_for_room(self.timeout_s if timeout is None else timeout)
            self._check_open()
            if len(self._events) >= self.capacity and not self._make_room():
                return False
            if isinstance(event, Sample):
                event.ticket = self._next_ticket
                self._next_ticket += 1
            self._events.append(event)
            self._has_events.notify()
        return True

    def wait(self, timeout: float) -> bool:
        """Wait for an event, so many seconds or until the buffer is closed; whether there is one."""
        with self._has_events:
            if not self._events and self._is_open:
                self._has_events.wait(timeout)
            return bool(self._events)

    def take(self, most: int) -> list[Event]:
        """The oldest events, at most so many."""
        with self._has_events:
            events = self._events
            taken = [events.popleft() for _ in range(min(most, len(events)))]
            if self._waiting_producers and len(events) <= self._full_enough:
                self._has_room.notify_all()
        return taken

    def close(self) -> None:
        """Take no more; who waits here is woken."""
        with self._has_events:
            self._is_open = False
            self._has_events.notify_all()
            self._has_room.notify_all()

    def open(self) -> None:
        """Take events again."""
        with self._has_events:
            self._is_open = True

    def state(self) -> BufferState:
        """All that is in it, at one moment."""
        with self._has_events:
            return BufferState(list(self._events), self._next_ticket, self.dropped)

    def restore(self, state: BufferState) -> None:
        """Hold this instead."""
        with self._has_events:
            self._events = deque(state.events)
            self._next_ticket, self.dropped = state.next_ticket, state.dropped
            self._has_events.notify_all()
            self._has_room.notify_all()

    def _wait_for_room(self, timeout: float) -> None:
        began = time.monotonic()
        self._waiting_producers += 1
        try:
            self._has_room.wait_for(lambda: len(self._events) < self.capacity or not self._is_open, timeout)
        finally:
            self._waiting_producers -= 1
            self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began)

    def _make_room(self) -> bool:
        if self.when_full == "raise":
            raise TrainingError(
                f"{self.capacity} samples wait already, and there was no room within {self.timeout_s:g} s",
                hint="give the learner more time, a greater capacity, or when_full='drop_oldest'",
            )
        self.dropped += 1
        if self.when_full == "drop_newest":
            return False
        self._events.popleft()
        return True

    def _check_open(self) -> None:
        if not self._is_open:
            raise ConflictError("the online learner takes nothing: it is not running", hint="start it: start()")
