"""The thread that works off what producers put, or the lack of it: then the caller does, at once."""

from __future__ import annotations

import time
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

from agentnn.errors import AgentNNError, ConflictError, TrainingError
from agentnn.tracking.capture.guard import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_buffer import StreamBuffer
    from agentnn.nn_models.online.stream_events import Event
    from agentnn.nn_models.online.stream_learning import StreamLearning
    from agentnn.nn_models.online.turn import Turn

_NAP_S = 0.1
_LAST_STEP_S = 0.4


class Updater:
    """Moves events from the queue to the learning, up to two steps' worth at a time.

    Args:
        learning: What takes them.
        buffer: Where they wait; it is closed until the start.
        options: How.
        turn: Held while events are worked off; whoever reads or replaces the state takes it.
        after: Called after each piece of work, within the same turn.
    """

    def __init__(
        self,
        learning: StreamLearning,
        buffer: StreamBuffer,
        options: OnlineOptions,
        turn: Turn,
        after: Callable[[], None],
    ) -> None:
        self.failure: Exception | None = None
        """What ended the thread, if something did."""
        self._learning, self._buffer, self._options = learning, buffer, options
        self._turn, self._after = turn, after
        self._has_to_stop = Flag()
        self._thread: Thread | None = None
        buffer.close()

    def start(self) -> None:
        """Take events from now on."""
        self.failure = None
        self._has_to_stop.clear()
        self._buffer.open()
        if self._options.background:
            self._thread = Thread(target=self._run, name="agentnn-online-learner", daemon=True)
            self._thread.start()

    def hand_over(self, event: Event, timeout: float | None) -> bool:
        """Put an event into the queue; whether it was taken.

        Raises:
            TrainingError: Learning has failed, or the queue is full and that is to be an error.
            ConflictError: Nothing is taken now.
        """
        self.raise_failure()
        try:
            is_taken = self._buffer.put(event, timeout)
        except ConflictError:
            self.raise_failure()
            raise
        if not self._options.background:
            self._work_off_all()
        return is_taken

    def drain(self, timeout: float | None) -> bool:
        """Wait until all events are worked off; whether they are.

        Raises:
            TrainingError: Learning has failed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        if not self._options.background:
            self._work_off_all()
        while len(self._buffer) and self.failure is None and (end is None or time.monotonic() < end):
            time.sleep(0.001)
        with self._turn:  # what was taken is worked off
            self.raise_failure()
            return not len(self._buffer)

    def finish(self) -> bool:
        """Take no more events, work off those that wait for a while, and end; whether the last step is done."""
        self._buffer.close()
        self._has_to_stop.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(self._options.stop_timeout_s + _LAST_STEP_S)
        if thread.is_alive():
            warn("the online learner is still at a step, which is not waited for")
        return not thread.is_alive()

    def raise_failure(self) -> None:
        """Raise what ended the thread.

        Raises:
            TrainingError: Something did.
        """
        if self.failure is not None:
            hint = self.failure.hint if isinstance(self.failure, AgentNNError) else ""
            raise TrainingError(f"online learning failed: {self.failure}", hint=hint) from self.failure

    def _work_off(self) -> None:
        with self._turn:
            # Up to the end of the next batch but one: where labels come on their own, that is one batch.
            self._learning.process(self._buffer.take(self._learning.room + self._options.batch_size))
            self._after()

    def _work_off_all(self) -> None:
        while len(self._buffer):
            self._work_off()

    def _run(self) -> None:
        try:
            while not self._has_to_stop.is_set():
                if self._buffer.wait(_NAP_S):
                    self._work_off()
            end = time.monotonic() + self._options.stop_timeout_s
            while len(self._buffer) and time.monotonic() < end:
                self._work_off()
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: the next call raises it
            self.failure = error
            self._buffer.close()
