"""A process that speaks with a Ray cluster for the driver of a study.

Ray ends the process that uses it when the head of the cluster is lost, and takes over its signals and its logging. So
it has a process of its own: ``python -m agentnn.training.hpo.engines.ray_bridge CONNECTION LUGGAGE`` is started by
:mod:`agentnn.training.hpo.engines.ray_engine`; both are file descriptors.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from agentnn.errors import AgentNNError
from agentnn.extras import require
from agentnn.training.hpo.engines.engine import TrialEnd
from agentnn.training.hpo.engines.ray_cluster import ClusterOptions, ClusterWatch, connect, end_without_result
from agentnn.training.hpo.engines.ray_tasks import Mailbox, Unloadable, run_trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from agentnn.training.hpo.engines.engine import TrialTask

ROOM, REPORT, END, BROKEN, REFUSED, LOST, WAITS = "room", "report", "end", "broken", "refused", "lost", "waits"
"""What the bridge says."""

TASK, ANSWER, CLOSE = "task", "answer", "close"
"""What it is told, after the options."""

_CANCEL_S = 2.0
_MOST_REPORTS = 10_000
"""How many reports may wait for their answers at once."""


class Bridge:
    """Runs the driver's trials on the cluster.

    Args:
        connection: To the driver.
        options: What it asks for.
    """

    def __init__(self, connection: Connection, options: ClusterOptions) -> None:
        self._connection = connection
        self._options = options
        self._speaking = threading.Lock()
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._running: dict[int, Any] = {}
        self._is_closing = False

    def serve(self, head: str, luggage: bytes) -> None:
        """Run trials until the driver has enough, or is gone.

        Args:
            head: The address of the cluster that this process is connected to.
            luggage: The work.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = require("ray", extra="ray")
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        beside = {"num_cpus": 0, "max_concurrency": _MOST_REPORTS, "scheduling_strategy": here}
        self._mailbox = ray.remote(Mailbox).options(**beside).remote()
        self._task = ray.remote(run_trial).options(
            num_cpus=self._options.cpus, num_gpus=self._options.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )
        self._luggage = [ray.put(luggage)]
        self._take_reports()
        watch = ClusterWatch(head, self._options, partial(self._say, ROOM), self._leave)
        for work in (watch.run, self._listen):
            threading.Thread(target=work, daemon=True).start()
        while not self._is_closing:
            self._events.get()()

    def _listen(self) -> None:
        """Do what the driver says, until it says nothing more."""
        acts: dict[str, Callable[[Any], None]] = {TASK: self._begin, ANSWER: self._answer, CLOSE: self._close}
        while True:
            try:
                kind, said = self._connection.recv()
            except (EOFError, OSError):
                kind, said = CLOSE, True
            self._events.put(partial(acts[kind], said))
            if kind == CLOSE:
                return

    def _begin(self, task: TrialTask) -> None:
        reference = self._task.remote(self._luggage, task, self._mailbox)
        self._running[task.number] = reference
        self._when_done(reference, partial(self._end, task.number))

    def _end(self, number: int, done: Future[Any]) -> None:
        del self._running[number]
        error = done.exception()
        if error is not None:
            self._say(END, end_without_result(number, error))
            return
        result = done.result()
        if isinstance(result, Unloadable):
            self._say(BROKEN, result)
            return
        if result.waits_on:
            self._say(WAITS, result.waits_on)
        self._say(END, TrialEnd(number, result.outcome))

    def _take_reports(self) -> None:
        self._when_done(self._mailbox.take.remote(), self._hand_on)

    def _hand_on(self, done: Future[Any]) -> None:
        for report in done.result():
            self._say(REPORT, *report)
        self._take_reports()

    def _answer(self, said: tuple[int, bool]) -> None:
        self._mailbox.answer.remote(*said)

    def _close(self, interrupted: bool) -> None:
        """Have the trials that still run end by themselves, for a moment."""
        ray = require("ray", extra="ray")
        self._is_closing = True
        for reference in self._running.values():
            ray.cancel(reference)  # raises KeyboardInterrupt there, so that their runs end as KILLED
        deadline = time.monotonic() + _CANCEL_S
        while self._running and interrupted and (left := deadline - time.monotonic()) > 0:
            with suppress(Empty):
                self._events.get(timeout=left)()

    def _leave(self) -> None:
        """The head is lost: what Ray would do after a minute, with a word to the driver."""
        self._say(LOST)
        os._exit(1)

    def _when_done(self, reference: Any, act: Callable[[Future[Any]], None]) -> None:
        reference.future().add_done_callback(lambda done: self._events.put(partial(act, done)))

    def _say(self, *said: Any) -> None:
        with self._speaking, suppress(OSError):  # the driver is gone, which the listener sees too
            self._connection.send(said)


def main() -> None:
    """Become a bridge."""
    # Ctrl-C does not come here. Where it was ignored, workers would ignore Ray's own interruptions of trials, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection = Connection(int(sys.argv[1]))
    with os.fdopen(int(sys.argv[2]), "rb") as file:
        options, luggage = pickle.load(file)
    try:
        head = connect(options)
    except AgentNNError as error:
        connection.send((REFUSED, error))
        return
    Bridge(connection, options).serve(head, luggage)
    require("ray", extra="ray").shutdown()


if __name__ == "__main__":
    main()
