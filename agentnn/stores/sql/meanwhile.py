"""A question to a large SQLite file that is answered while another one is: on a thread and a connection of its own."""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from agentnn.stores.sql.sqlite_file import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentnn.stores.sql.dialect import Database

Answer = TypeVar("Answer")

_BETWEEN_S = 0.05


@contextmanager
def meanwhile(database: Database, question: Callable[[Database], Answer]) -> Iterator[Callable[[], Answer]]:
    """Put a question while the block goes on; what comes back waits for the answer, and raises its errors.

    A small file is asked when the answer is, and so is a database that somebody looks at. Whoever leaves the block
    without the answer breaks the question off.

    Args:
        database: What others are asked of meanwhile.
        question: It is given the same database.
    """
    if not isinstance(database, ReadOnlyDatabase) or not database.is_large:
        yield partial(question, database)
        return
    with closing(ReadOnlyDatabase(database.path, required={})) as beside:
        asking = _Asking(partial(question, beside))
        asking.start()
        try:
            yield asking.answered
        finally:
            while asking.is_alive():
                beside.interrupt()
                asking.join(_BETWEEN_S)


class _Asking(Thread, Generic[Answer]):
    """Asks a question once."""

    def __init__(self, question: Callable[[], Answer]) -> None:
        super().__init__(name="agentnn-meanwhile", daemon=True)
        self._question = question
        self._answers: list[Answer] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Keep the answer, or the error."""
        try:
            self._answers.append(self._question())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is asked for
            self._error = error

    def answered(self) -> Answer:
        """The answer, as soon as it is there."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._answers[0]
