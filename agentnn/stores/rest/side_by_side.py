"""Several questions to a server at once, each over a connection of its own."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentnn.stores.rest.transport import Transport

Task = TypeVar("Task")
Result = TypeVar("Result")

CONNECTIONS = 4
"""As many as MLflow's server has workers, unless it is told otherwise."""


def side_by_side(
    transport: Transport, tasks: Sequence[Task], work: Callable[[Transport, Task], Result]
) -> Iterator[Result]:
    """What tasks come to, in the order in which they are done.

    The threads end with the question that they are at when the iterator is left, also by Ctrl-C, and nobody waits for
    them.

    Args:
        transport: Asks the server.
        tasks: What is to be done.
        work: Does one of them, and asks the server by the transport that it is given.

    Raises:
        BaseException: What the first task that failed has raised.
    """
    if len(tasks) < 2:
        yield from (work(transport, task) for task in tasks)
        return
    waiting: SimpleQueue[Task] = SimpleQueue()
    done: SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = SimpleQueue()
    left = Event()
    for task in tasks:
        waiting.put(task)

    def take_turns() -> None:
        own = transport.beside()
        try:
            while not left.is_set():
                done.put((work(own, waiting.get_nowait()), None))
        except Empty:
            pass
        except BaseException as error:  # noqa: BLE001 - whoever waits for the results raises it
            done.put((None, error))
        finally:
            own.close()

    for _ in range(min(CONNECTIONS, len(tasks))):
        Thread(target=take_turns, daemon=True).start()
    try:
        for _ in tasks:
            result, error = done.get()
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        left.set()
