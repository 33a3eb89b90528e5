"""When the state of an online learner is kept in a file, and how it is gone back to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import UsageError
from agentnn.nn_models.online.snapshots import read_snapshot, to_bytes, write_snapshot

if TYPE_CHECKING:
    from agentnn.nn_models.online.options import OnlineOptions
    from agentnn.nn_models.online.stream_record import StreamRecord
    from agentnn.nn_models.online.turn import Turn
    from agentnn.nn_models.online.whole_state import WholeState


class SnapshotKeeper:
    """Keeps the whole state when it is asked to, and whenever so many more samples were judged.

    Args:
        state: What is kept.
        turn: Taken while the state is copied, or replaced.
        options: Where, and how often.
        record: The run that is told of each.
    """

    def __init__(self, state: WholeState, turn: Turn, options: OnlineOptions, record: StreamRecord) -> None:
        self._state, self._turn, self._record = state, turn, record
        self._path, self._every = options.snapshot_path, options.snapshot_every
        self._next = 0

    def begin(self) -> None:
        """Count the samples until the next one from now on."""
        self._next = self._judged + (self._every or 0)

    def keep_if_due(self) -> None:
        """Keep one where so many samples were judged since the last.

        Raises:
            StoreUnavailable: The file can't be written.
        """
        if self._every is not None and self._judged >= self._next:
            self._next = self._judged + self._every
            self.keep()

    def keep(self, path: str | Path | None = None) -> str:
        """Keep one in a file, by default in that of the options; gives the SHA-256.

        Raises:
            UsageError: There is no path.
            StoreUnavailable: The file can't be written.
        """
        with self._turn:
            payload = to_bytes(self._state.read())
        place = path or self._path
        if place is None:
            raise UsageError("there is no place for a snapshot", hint="snapshot(path), or the option snapshot_path")
        digest = write_snapshot(Path(place), payload)
        if not self._record.run.ended:
            self._record.run.set_tag("snapshot_sha256", digest)
        return digest

    def restore(self, path: str | Path) -> str:
        """Go back to the state in a file; gives its SHA-256.

        Raises:
            FileNotFoundError: There is none.
            ConflictError, CorruptDataError, UnsafeError: It is of another learner, damaged, or something else.
        """
        state, digest = read_snapshot(Path(path), self._state.learning.device)
        with self._turn:
            self._state.replace(state)
        return digest

    @property
    def _judged(self) -> int:
        return self._state.learning.counts.judged
