"""How far the delivery of a run is, as its cursor says."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from agentnn.errors import StoreUnavailable
from agentnn.tracking.journal.journal import count_records
from agentnn.tracking.journal.state import read_json, write_json
from agentnn.tracking.sending.problem import Problem
from agentnn.tracking.sending.sender_control import sender_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.tracking.journal.state import RunFolder

_SHORTEST_NAP_S, _LONGEST_NAP_S = 0.002, 0.05


@dataclass(slots=True)
class Cursor:
    """What is delivered of a run; replaced at once, and only after the store has answered.

    Attributes:
        offset: How much of the journal is in the store, in bytes.
        run_id, experiment_id: MLflow's ids; empty until the store gave them.
        creating: Whether the store was asked to make the run: if no answer came, it may have.
        asked_again: Whether no answer came, and it was looked for: if the store was only slow, there may be two.
        name: The run's name.
        points: How many values of metrics were delivered.
        not_finite: The metrics that had a NaN or infinite value.
        refused: How many records the store refused for good.
        damaged: How many records could not be read.
        status: The run's status in the store.
        problem: Why the run itself was refused, as a :class:`~agentnn.tracking.sending.problem.Problem` in JSON.
        writers: The processes that write the run, as JSON.
    """

    offset: int = 0
    run_id: str = ""
    experiment_id: str = ""
    creating: bool = False
    asked_again: bool = False
    name: str = ""
    points: int = 0
    not_finite: list[str] = field(default_factory=list)
    refused: int = 0
    damaged: int = 0
    status: str = ""
    problem: dict[str, str] | None = None
    writers: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: RunFolder) -> Cursor:
        """A run's cursor; a new one when there is none, or none that can be read."""
        said = read_json(folder.cursor)
        known: dict[str, Any] = {one.name: said[one.name] for one in fields(cls) if one.name in said}
        return cls(**known)

    def write(self, folder: RunFolder) -> None:
        """Replace a run's cursor.

        Raises:
            StoreUnavailable: There is no room for it; the old one is as it was.
        """
        try:
            write_json(folder.cursor, asdict(self))
        except OSError as error:
            raise StoreUnavailable(
                f"{folder.cursor} can't be written: {error.strerror}", hint="make room on the disk"
            ) from error


class Delivered:
    """Looks at a run's cursor from the process that trains."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.run_id = ""
        self.experiment_id = ""

    def wait(self, timeout: float, while_unavailable: float) -> bool:
        """Wait until everything is delivered.

        Args:
            timeout: At most so long, in seconds.
            while_unavailable: At most so long while the store can't be used.

        Returns:
            Whether it is.
        """
        try:
            size = self._folder.journal.stat().st_size
        except FileNotFoundError:  # what is delivered is removed after a while
            return True
        return self._wait(lambda cursor: cursor.offset >= size, timeout, while_unavailable)

    def look(self) -> str:
        """:attr:`run_id` as the cursor has it now."""
        if not self.run_id:
            self._cursor()
        return self.run_id

    def wait_for_run_id(self, timeout: float, while_unavailable: float) -> None:
        """Wait until the store has given the run an id; :attr:`run_id` stays empty when it has not."""
        self._wait(lambda cursor: bool(cursor.run_id), timeout, while_unavailable)

    def waiting(self) -> int:
        """How many records are not in the store."""
        return count_records(self._folder.journal, self._cursor().offset)

    def refused(self) -> int:
        """How many records the store refused for good."""
        return self._cursor().refused

    def problem(self) -> Problem:
        """Why something waits."""
        found = Problem.from_dict(self._cursor().problem) or sender_status(self._folder.store).problem
        return found or Problem("StoreUnavailable", "the sender is still at it")

    def _wait(self, done: Callable[[Cursor], bool], timeout: float, while_unavailable: float) -> bool:
        started, nap = time.monotonic(), _SHORTEST_NAP_S
        while not done(cursor := self._cursor()):
            waited = time.monotonic() - started
            hopeless = bool(cursor.problem) or sender_status(self._folder.store).state in ("unavailable", "gone")
            if waited > (min(timeout, while_unavailable) if hopeless else timeout):
                return False
            time.sleep(nap)
            nap = min(nap * 1.5, _LONGEST_NAP_S)
        return True

    def _cursor(self) -> Cursor:
        cursor = Cursor.read(self._folder)
        if cursor.run_id:
            self.run_id, self.experiment_id = cursor.run_id, cursor.experiment_id
        return cursor
